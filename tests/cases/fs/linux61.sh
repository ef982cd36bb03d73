#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# Cases that matter most to an older kernel, under Linux 6.1: no RESEND, no
# passthrough, libfuse's own version of the protocol.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/uml.sh"

[[ $(uname -r) = 6.1.* ]] || fail "this is Linux $(uname -r)"
for c in ${CASES:-fs/old_kernel fs/upgrade fs/umount}; do
	KILLS=4 ROUNDS=3 timeout 200 bash "$TESTS/cases/$c.sh" || fail "$c"
	say "$c"
done
