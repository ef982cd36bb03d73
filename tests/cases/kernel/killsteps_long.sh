#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# killsteps.sh: the first eight that come to each step.
TIMES=8 exec bash "$(dirname "$0")/killsteps.sh"
