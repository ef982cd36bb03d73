#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# serial
# upgrades.sh a hundred times in a row.
UPGRADES=100 exec bash "$(dirname "$0")/upgrades.sh"
