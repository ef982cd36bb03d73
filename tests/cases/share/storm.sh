#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# serial
# kills.sh a thousand times.
BOUNDED=1 KILLS=1000 exec bash "$(dirname "$0")/kills.sh"
