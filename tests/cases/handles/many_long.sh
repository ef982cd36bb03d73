#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# many.sh with 100,000 names and a million made-up handles.
COUNT=100000 RANDOM_COUNT=1000000 exec bash "$(dirname "$0")/many.sh"
