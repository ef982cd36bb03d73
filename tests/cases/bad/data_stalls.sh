#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 13
# A source that falls silent, before the answer or in the middle, or that sends
# a few bytes a second for ever: given up after ten seconds, and the reader,
# who has longer, gets all from the other one.
. "$(dirname "$0")/../../lib/common.sh"
. "$(dirname "$0")/../../lib/faults.sh"

origin init > /dev/null
few="too few bytes came for too long"
fault silent 'delay,"seconds":3600' right .fetched.stalls "$few"
fault head 'stall,"after":0' right .fetched.stalls "$few"
fault middle 'stall,"after":700000' right .fetched.stalls "$few"
fault drip drip right .fetched.stalls "$few"
fault manifest 'stall,"after":10,"path":"/v1/manifests/DIGEST"' right .fetched.stalls "$few"
FAULT_SECOND_SOURCE=1
faults_run io-timeout=200s
