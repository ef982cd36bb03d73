#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A second daemon on one store, a second mount on one cache or one folder, the
# cache of another origin, databases of newer programs, of others, or damaged:
# refused in one line, and what was there is as it was.
. "$(dirname "$0")/../../lib/common.sh"

# Waits until the cache is free.
leave() { timeout 120 "$STAGEFS_BIN" umount "$T/$1"; }

random_file "$T/a" 3000000 a
origin_start
publish "$T/a" a
mount_fs m
same_bytes "$T/a" "$T/m/a"
complete() { image_is m a complete; }
eventually 20 complete

# no_trace: no mount but those named, no process but theirs.
no_trace() { equal "$(mounts_below | tr '\n' ' ')" "$1" "mounts"; }
try() # NAME OPTIONS [URL]: a mount that should not come to be
{
	mkdir -p "$T/$1"
	timeout 120 "$MOUNT_BIN" "${3:-$URL}" "$T/$1" -o "name=$1,min-free=0,user=root,log=$T/$1.log,$2"
}

# ---- a second one
refused 'serve.*(running|in use|another)|another .*serve' timeout 120 "$ORIGIN_BIN" -C "$STORE" serve --listen 127.0.0.1:0
equal "$status" 1
refused "$T/m.cache is in use by another mount: give each mount a cache" try second "cache=$T/m.cache"
equal "$status" 1
no_trace "$T/m "
ln -s "$T/m.cache" "$T/alias"
refused "in use by another mount" try second "cache=$T/alias"
no_trace "$T/m "
refused 'in use \(fuse.stagefs\): umount it' try m "cache=$T/c2"
equal "$status" 1
[ ! -e "$T/c2" ] || fail "a cache was made"
# The first of each is none the worse.
curl -fsS "$URL/healthz" > /dev/null
same_bytes "$T/a" "$T/m/a"
equal "$(status_of m .cache.complete)" 1

# ---- a cache of another origin, with the catalog and without
leave m
first=$URL
cp -a "$T/m.cache" "$T/kept.cache"
STORE=$T/other PORT=''
origin_start
other=$URL
publish "$T/a" elsewhere
# (It waits two seconds for the origin, and then mounts with what it has.)
others()
{
	if try m "cache=$T/m.cache" "$other" 2> /dev/null; then
		leave m
		return 1
	fi
	refused 'cache .* of another origin .*give another' try m "cache=$T/m.cache" "$other"
	equal "$status" 1
}
eventually 60 others
rm "$T/m.cache/catalog" "$T/m.cache/key.pub"
refused 'cache .*another origin.*give another' try m "cache=$T/m.cache" "$other"
equal "$status" 1
no_trace ""
rm -rf "$T/m.cache"
cp -a "$T/kept.cache" "$T/m.cache"
# Both at once: the one that is not ours is not believed.
STORE=$T/store URL=$first
MOUNT_URL=$other,$first mount_fs m
equal "$(ls "$T/m")" a
same_bytes "$T/a" "$T/m/a"
leave m

# ---- databases that are not what they should be
sqlite3 "$T/sane.db" "PRAGMA application_id=0; CREATE TABLE t(x)"
db=$T/bad.cache/index.db
newer='PRAGMA user_version=99'
alien='PRAGMA application_id=7'
spoil() # DATABASE: its first page
{
	dd if=/dev/urandom of="$1" bs=4096 count=1 conv=notrunc status=none
}
# Each start writes to a good one, so not its bytes.
rows()
{
	sqlite3 -readonly "$db" "PRAGMA user_version; PRAGMA application_id;
		SELECT * FROM version" 2>/dev/null || sha256sum "$db"
}
# cache 'REGEX' HOW: of CACHE/index.db, on a copy.
cache()
{
	rm -rf "$T/bad.cache"
	cp -a "$T/kept.cache" "$T/bad.cache"
	rm -f "$T/bad.cache"/index.db-*
	eval "$2"
	local before
	before=$(rows)
	refused "$1" try bad "cache=$T/bad.cache"
	equal "$status" 1 "$2"
	equal "$(rows)" "$before"
	[ -s "$T/bad.cache/data/2" ] || fail "what it stores is gone"
	no_trace ""
}
cache 'newer' "sqlite3 $db '$newer' > /dev/null"
cache 'index.db.*not' "sqlite3 $db '$alien' > /dev/null"
cache 'index is damaged: remove ' "spoil $db"
cache 'index is damaged: remove ' "head -c 3000 /dev/urandom > $db"
cache 'index is damaged: remove |not' "cp $T/sane.db $db"
cache 'index is damaged: remove ' "truncate -s 8192 $db"
cache 'index is damaged: remove ' "dd if=/dev/urandom of=$db bs=4096 seek=1 count=8 conv=notrunc status=none"
cache 'index is damaged: remove ' "sqlite3 $db 'UPDATE version SET size=-5'"
cache 'index is damaged: remove ' "sqlite3 $db \"UPDATE version SET bits=x'ff00ff'\""
cache 'index is damaged: remove ' "sqlite3 $db 'UPDATE version SET block=12345'"
cache 'index is damaged: remove ' "sqlite3 $db \"UPDATE version SET digest='abc'\""

# verbs 'REGEX': every verb that opens the store.
verbs()
{
	local before
	before=$(sha256sum "$STORE/origin.db")
	for verb in serve "image list" "plan list" "server list" "order list" log \
		"image add $T/a --name b" "order reclaim m 1G"; do
		# shellcheck disable=SC2086
		refused "$1" timeout 120 "$ORIGIN_BIN" -C "$STORE" $verb
		equal "$status" 1 "$verb"
	done
	equal "$(sha256sum "$STORE/origin.db")" "$before"
	equal "$(ls "$STORE/incoming")" ""
}
origin_stop_all() { for p in "${PIDS[@]}"; do kill "$p"; wait "$p" || :; done; PIDS=(); }
origin_stop_all
cp -a "$STORE" "$T/kept.store"
store() { rm -rf "$STORE"; cp -a "$T/kept.store" "$STORE"; }
sqlite3 "$STORE/origin.db" "$newer"
verbs 'newer'
store
sqlite3 "$STORE/origin.db" "$alien"
verbs 'origin.db.*not'
store
spoil "$STORE/origin.db"
verbs 'origin.db: damaged'
store
: > "$STORE/origin.db"
verbs 'empty file, not a database'
store
rm "$STORE/secret.pem"
refused 'secret.pem' timeout 120 "$ORIGIN_BIN" -C "$STORE" serve --listen 127.0.0.1:0
head -c 119 /dev/urandom > "$STORE/secret.pem"
refused 'secret.pem' timeout 120 "$ORIGIN_BIN" -C "$STORE" serve --listen 127.0.0.1:0
refused 'is a store already|not empty' origin init
refused 'Not a directory' "$ORIGIN_BIN" -C /dev/null/x init
refused 'Not a directory' "$ORIGIN_BIN" -C "$T/a" init
eventually 10 nothing_left
