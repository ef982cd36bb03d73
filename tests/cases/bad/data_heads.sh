#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Answers to a request of data whose head already shows that they are no use:
# a whole image in place of a range, a web page, an error, bytes of another
# place or size, compressed ones, redirects to nowhere. Asked for again until
# the reader's time is over; counted, and said once.
. "$(dirname "$0")/../../lib/common.sh"
. "$(dirname "$0")/../../lib/faults.sh"

origin init > /dev/null
late='timed out'
fault whole whole "$late" .fetched.wrong_status "it answered 200: not used, asking again"
fault html html "$late" .fetched.wrong_status "it answered 200"
fault error 'status,"status":500' "$late" .fetched.wrong_status "it answered 500"
fault gone 'status,"status":404' 'Stale file handle' .reads.failed "does not have this version any more"
fault range wrong-range "$late" .fetched.wrong_range "asked for bytes .*, answered 'bytes [0-9]*-"
fault total wrong-total "$late" .fetched.wrong_range "asked for bytes .*/$FAULT_BYTES, answered '.*/$((FAULT_BYTES + 1))'"
fault norange no-range "$late" .fetched.wrong_range "asked for bytes .*, answered ''"
fault length wrong-length "$late" .fetched.wrong_range "asked for bytes"
fault gzip gzip "$late" .fetched.wrong_range "it compressed the data"
fault loop loop "$late" .fetched.retries "[Mm]aximum \(3\) redirects"
fault ftp 'redirect,"to":"ftp://127.0.0.1/x"' "$late" .fetched.retries "ftp.*(not supported|disabled)"
fault file 'redirect,"to":"file:///etc/passwd"' "$late" .fetched.retries "file.*(not supported|disabled)"
faults_run io-timeout=2s
