#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# What matters most on an older kernel, under Linux 6.1: no RESEND, no
# passthrough, libfuse's own version of the protocol.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/uml.sh"

[[ $(uname -r) = 6.1.* ]] || fail "this is Linux $(uname -r)"
for c in fs/old_kernel; do
	KILLS=4 timeout 250 bash "$TESTS/cases/$c.sh" || fail "$c"
	say "$c"
done
