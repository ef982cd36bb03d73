#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# serial
# umount_parked.sh on a machine that has nothing else to do: five seconds are
# five seconds.
SLACK=0 exec bash "$(dirname "$0")/umount_parked.sh"
