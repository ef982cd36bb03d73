#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# The same as crash.sh, often.
ROUNDS=25 exec bash "$(dirname "$0")/crash.sh"
