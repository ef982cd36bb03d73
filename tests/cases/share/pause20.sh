#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# pause.sh with 20 seconds.
PAUSE_S=20 IO_TIMEOUT=30s exec bash "$(dirname "$0")/pause.sh"
