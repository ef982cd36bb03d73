#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The life of an image on the origin: init, add, list, show, replace, verify,
# repair, remove, and the log that tells of it.
. "$(dirname "$0")/../../lib/common.sh"

field() { origin image list --json | jq -r ".images[] | select(.name==\"$1\") | .$2"; }

origin init > "$T/init.out"
grep -q "new store" "$T/init.out"
refused "is a store already" origin init
equal "$(origin image list --json | jq -c .)" '{"images":[]}'

random_file "$T/base" 5000001 1
origin image add "$T/base" --name win11/base.wim > "$T/add.out"
grep -Eq '^win11/base.wim: 4.8M in [0-9.]+s \(.*/s\), digest [0-9a-f]{64}, version id [0-9]+$' "$T/add.out"
equal "$(wc -l < "$T/add.out")" 1
equal "$(field win11/base.wim size)" 5000001
same_bytes "$T/base" "$STORE/objects/$(field win11/base.wim digest)"
prints '5 blocks of 1M' origin image show win11/base.wim
equal "$(origin image show win11/base.wim --json | jq -r .image.size)" 5000001

# The same bytes under another name are stored once.
prints 'stored already' origin image add "$T/base" --name win11/again

# 20 GiB, and again under another name: nothing is stored twice, nor are holes.
truncate -s 20G "$T/disk"
dd if="$T/base" of="$T/disk" bs=1M seek=10000 conv=notrunc status=none
origin image add "$T/disk" --name disks/one.raw > /dev/null
stored=$(du -s -B1 "$STORE/objects" | cut -f 1)
objects=$(ls "$STORE/objects" | wc -l)
prints 'stored already' origin image add "$T/disk" --name disks/two.raw
equal "$(ls "$STORE/objects" | wc -l)" "$objects"
equal "$(du -s -B1 "$STORE/objects" | cut -f 1)" "$stored" "20 GiB under a second name"
equal "$(ls "$STORE/incoming" | wc -l)" 0
origin image remove disks/one.raw > /dev/null
origin image remove disks/two.raw > /dev/null
equal "$(ls "$STORE/objects" | wc -l)" 1
prints unchanged origin image add "$T/base" --name win11/again
equal "$(origin image list win11 --noheadings | wc -l)" 2

# A new version has a new id, and the old bytes stay for who reads them.
id=$(field win11/base.wim id)
random_file "$T/base" 5000001 2
origin image add "$T/base" --name win11/base.wim > /dev/null
[ "$(field win11/base.wim id)" -gt "$id" ] || fail "a new version needs a new id"
equal "$(ls "$STORE/objects" | wc -l)" 2

# Damage is found, named, taken out, and healed by adding again.
origin image verify > "$T/verify.out"
object=$STORE/objects/$(field win11/base.wim digest)
printf 'X' | dd of="$object" bs=1 seek=3145729 conv=notrunc status=none
refused '1 damaged' origin image verify
grep -Eq 'win11/base.wim .*damaged +bad blocks: 3$' "$T/refused.out"
equal "$status" 1
refused '1 damaged, taken out' origin image verify --repair
[ ! -e "$object" ] || fail "the damaged object is still there"
id=$(field win11/base.wim id)
origin image add "$T/base" --name win11/base.wim > /dev/null
equal "$(field win11/base.wim id)" "$id"
origin image verify > "$T/verify.out"
equal "$(origin image verify --json | jq -r '[.images[].state] | unique | .[]')" ok

# The folder goes with its last image.
origin image remove win11/again > /dev/null
origin image remove win11/base.wim > /dev/null
equal "$(origin image list --json | jq -c .)" '{"images":[]}'
equal "$(ls "$STORE/objects" "$STORE/manifests" "$STORE/incoming" | grep -c '^[^/]')" 0
equal "$(origin log --json | jq -r '[.log[].event] | join(" ")')" \
	"added added added added removed removed replaced removed removed"
equal "$(origin log --last 1 --json | jq -r '.log[].image')" win11/base.wim

# Root may add to the store of another user, who then can read it.
chown -R nobody "$STORE"
# Another user is told who may, not to make a store.
other() { setpriv --reuid=65533 --clear-groups "$ORIGIN_BIN" "$@"; }
if other --version > /dev/null 2>&1; then
	refused "may not use this store: run it as the store's owner, or as root" other -C "$STORE" image list
fi
origin image add "$T/base" --name x > /dev/null
equal "$(stat -c %U "$STORE/objects/$(field x digest)")" nobody
equal "$(stat -c %U "$STORE/manifests/$(field x digest)")" nobody
