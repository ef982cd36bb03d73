#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# random.sh with 25 times as many rounds.
ROUNDS=3000 exec bash "$(dirname "$0")/random.sh"
