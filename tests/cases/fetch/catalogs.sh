#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 15
# Catalogs that are forged, cut, older, of another store, no catalog at all,
# have a million entries, or a million lists in lists: the mount keeps its last
# good one, counts the refusal, goes on reading with what it has, and takes the
# next good one; its memory stays bounded.
. "$(dirname "$0")/../../lib/common.sh"

# Another store, with a key of its own.
STORE=$T/other.store
origin_start
random_file "$T/else" 1000 else
publish "$T/else" else
OTHER=$URL

STORE=$T/store
PORT=
random_file "$T/a" 3000000 a
origin init > /dev/null
publish "$T/a" a
publish "$T/a" new.0
origin_start
proxy_start
mount_fs m
equal "$(ls "$T/m" | tr '\n' ' ')" "a new.0 "
# The first catalog of all is on record now, for "replay".

FAULTS=(
	'forge'
	'forge-text'
	'truncate'
	'close,"after":100'
	'html'
	'garbage'
	'headers'
	'loop'
	'status,"status":500'
	'replay'
	"replace,\"url\":\"$OTHER/v1/catalog?since=0\""
	'million,"page":0'
	'million'
	"million,\"key\":\"$STORE/secret.pem\""
	'deep'
	"deep,\"key\":\"$STORE/secret.pem\""
)
# Refused, or no answer at all.
refusals() { status_of m '.agent.catalog_refused + ([.sources[].failures] | add)'; }
counted() { [ "$(refusals)" -gt "$had" ]; }
removed() { ! has_image m new.$((n - 1)); }
struck() { [ "$(proxy _log | jq '.rules[0].hits')" -gt 0 ]; }

n=0
for fault in "${FAULTS[@]}"; do
	n=$((n + 1))
	before=$(ls "$T/m")
	had=$(refusals)
	more=
	case $fault in *,*) more=",${fault#*,}" ;; esac
	proxy _script "{\"path\":\"/v1/catalog\",\"fault\":\"${fault%%,*}\"$more}"
	random_file "$T/new" 1000 $n
	publish "$T/new" new.$n
	eventually 30 struck
	# It was told so; what it shows is what it had.
	eventually 60 counted
	equal "$(ls "$T/m")" "$before" "$fault"
	same_bytes "$T/a" "$T/m/a"
	# The next revision is asked for at once, not after the pause that
	# follows a refusal.
	proxy _script '[]'
	origin image remove new.$((n - 1)) > /dev/null
	eventually 60 has_image m new.$n
	eventually 60 removed # may be another catalog than that one
	same_bytes "$T/new" "$T/m/new.$n"
done
equal "$(ls "$T/m" | tr '\n' ' ')" "a new.$n "
memory_bounded m
umount_fs m
