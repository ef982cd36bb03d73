#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 12
# R7: an image that was being filled when the worker was killed, or the mount
# ended, becomes complete by itself afterwards, with nobody who reads; one that
# was only looked at stays as it is.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/big" 40000000 big
random_file "$T/small" 20000000 small
origin_start
publish "$T/big" big
publish "$T/small" small
proxy_start
mount_fs m fill-after=2M,scrub=off
stored() { xattr m "$1" cached_bytes; }
has() { [ "$(stored "$1")" -ge "$2" ]; }
fetching() { image_is m "$1" fetching; }

proxy _script '[{"path": "/v1/data/", "fault": "slow", "rate": 500000}]'
head -c 4096 "$T/m/small" > /dev/null
head -c 3000000 "$T/m/big" > /dev/null
eventually 60 has big 4000000
being_filled() { durable m big && [ -n "$(sqlite3 "$T/index.copy/index.db" "SELECT 1 FROM version WHERE name='big' AND wanted > 0")" ]; }
eventually 20 being_filled

kill_worker m
eventually 20 fetching big
before=$(stored big)
eventually 60 has big $((before + 1))
end_fs m
mount_fs m fill-after=2M,scrub=off
eventually 20 fetching big
if image_is m big complete; then fail "it was not in mid-fill"; fi
looked_at=$(stored small)
equal "$(xattr m small state)" partial

proxy _script '[]'
proxy _down '{"seconds": 0.2}' # cuts those that are slow
eventually 60 image_is m big complete
equal "$(status_of m .reads.waited)" 0 "nobody read it"
same_bytes "$T/big" "$T/m/big"
equal "$(stored small)" "$looked_at"
umount_fs m
