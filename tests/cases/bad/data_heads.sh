#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Answers whose head already shows that they are no use.
. "$(dirname "$0")/../../lib/common.sh"
. "$(dirname "$0")/../../lib/faults.sh"

origin init > /dev/null
late='timed out'
fault whole whole "$late" .fetched.wrong_status "it answered 200"
fault html html "$late" .fetched.wrong_status "it answered 200"
fault error status,'"status":500' "$late" .fetched.wrong_status "it answered 500"
fault gone status,'"status":404' 'Stale file handle' .reads.failed "does not have this version any more"
fault range wrong-range "$late" .fetched.wrong_range "asked for bytes 0-.*, answered 'bytes 1048576-.*: not used, asking again"
fault total wrong-total "$late" .fetched.wrong_range "asked for bytes .*/$FAULT_BYTES, answered '.*/$((FAULT_BYTES + 1))'"
fault norange no-range "$late" .fetched.wrong_range "asked for bytes .*, answered ''"
fault length wrong-length "$late" .fetched.wrong_range "asked for bytes"
fault gzip gzip "$late" .fetched.wrong_range "it compressed the data"
faults_run
