#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 11
# Answers that begin well and go wrong in the body: cut off, too short,
# no HTTP at all, wrong bytes, right bytes of another place, the manifest
# of another image. Asked for again until the reader's time is over, or EIO
# when nobody has right bytes; counted, and said once.
. "$(dirname "$0")/../../lib/common.sh"
. "$(dirname "$0")/../../lib/faults.sh"

origin init > /dev/null
random_file "$T/other" $FAULT_BYTES other
publish "$T/other" other
other=$(origin image show --json other | jq -r .image.digest)
late='timed out' none='Input/output error'
fault reset 'reset,"after":700000' "$late" .fetched.short_body "reset by peer: not used, asking again"
fault reset0 'reset,"after":-1' "$late" .fetched.retries "reset by peer|Empty reply"
fault cut 'close,"after":700000' "$late" .fetched.short_body "bytes remaining to read"
fault short truncate "$late" .fetched.wrong_range "asked for bytes"
fault garbage garbage "$late" .fetched.retries "HTTP/0.9|[Uu]nsupported"
fault headers headers "$late" .fetched.retries "endless headers|[Tt]oo large"
fault flip flip "$none" .fetched.bad_blocks "sent a wrong block .* not asked for this version for a while"
fault shift shift "$none" .fetched.bad_blocks "sent a wrong block"
fault manifest "replace,\"with\":\"/v1/manifests/$other\",\"path\":\"/v1/manifests/DIGEST\"" \
	"$none" .fetched.bad_blocks "sent a wrong manifest"
fault mbits 'flip,"path":"/v1/manifests/DIGEST"' "$none" .fetched.bad_blocks "sent a wrong manifest"
fault mcut 'close,"after":30,"path":"/v1/manifests/DIGEST"' "$late" .fetched.retries "bytes remaining to read"
faults_run io-timeout=2s
