#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# random.sh where the kernel does not repeat requests (before Linux 6.9).
STAGEFS_NO_RESEND=1 exec bash "$(dirname "$0")/random.sh"
