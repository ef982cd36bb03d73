#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 20
# What somebody put into CACHE while it was not mounted: links out of it,
# pipes, devices and folders in the place of files, files cut or made longer,
# foreign rows, keys and catalogs, and folders of other users. Refused in one
# line that names it, or put in order; nothing outside is touched, and not one
# byte that is read is wrong (R1, C2).
. "$(dirname "$0")/../../lib/common.sh"

for i in a b; do random_file "$T/$i" 3000000 $i; done
origin_start
publish "$T/a" a
cp -a "$STORE" "$T/older.store"
publish "$T/b" b
mount_fs m
complete() { image_is m a complete && image_is m b complete; }
cat "$T/m/a" "$T/m/b" > /dev/null
eventually 20 complete
id=$(xattr m a id)
end_fs m

mkdir "$T/victim"
echo precious > "$T/victim/file"
cp "$T/b" "$T/victim/$id"
cp -a "$T/victim" "$T/victim.was"
openssl genpkey -algorithm ed25519 2>/dev/null |
	openssl pkey -pubout -out "$T/other.pub"

C=$T/x.cache
F=$C/data/$id
mkdir "$T/x"
planted() { rm -rf "$C"; cp -a "$T/m.cache" "$C"; eval "$1"; }
try()
{
	: > "$T/x.log"
	timeout 120 "$MOUNT_BIN" "$URL" "$T/x" -o \
		"name=x,cache=$C,capacity=1G,min-free=0,user=root,log=$T/x.log${1:+,$1}"
}
unharmed() { diff -r "$T/victim" "$T/victim.was" || fail "outside was touched: $1"; }

# no 'REGEX' HOW: the mount does not come to be.
no()
{
	planted "$2"
	refused "$1" try
	equal "$status" 1 "$2"
	equal "$(mounts_below)" ""
	unharmed "$2"
}
# yes FETCHED 'LOG' HOW: it does, and reads right; of image a's three blocks
# so many are fetched, of b none; a line of the log matches.
yes()
{
	planted "$3"
	try 2> "$T/x.err" || fail "$3: $(cat "$T/x.err")"
	for i in a b; do same_bytes "$T/$i" "$T/x/$i"; done
	equal "$(status_of x '.fetched.bytes | add')" "$1" "$3"
	grep -Eq "$2" "$T/x.log" || fail "$3: the log does not say /$2/"
	end_fs x
	unharmed "$3"
}

# ---- not a file: links, pipes, folders
no "x.cache/data is not a folder .*: remove it" 'rm -r $C/data; ln -s $T/victim $C/data'
no "x.cache/data is not a folder .*: remove it" 'rm -r $C/data; mkfifo $C/data'
for name in lock index.db catalog key.pub; do
	for as in "ln -s $T/victim/file" mkfifo mkdir "ln -s nowhere"; do
		no "x.cache/$name is not a plain file .*: remove it" "rm $C/$name; $as $C/$name"
	done
done
for name in index.db-wal index.db-journal; do
	no "x.cache/$name is not a plain file .*: remove it" "ln -s $T/victim/file $C/$name"
done
yes 0 serving 'ln -s $T/victim/file $C/catalog.new'
for as in "ln -s $T/victim/$id" mkfifo "mknod -m 666" "ln -s /dev/zero"; do
	type=
	[[ $as = mknod* ]] && type='b 7 250'
	yes 3000000 "data/$id \(a\) is gone: its image will be fetched again" "rm $F; $as $F $type"
	[ -f "$F" ] && [ ! -L "$F" ]
	same_bytes "$T/a" "$F"
done
yes 3000000 "data/$id is a folder: remove it" 'rm $F; mkdir $F; touch $F/x'
[ -e "$F/x" ]

# ---- files of another length: with passthrough the kernel reads them itself
yes $((3000000 - (1 << 20))) serving 'truncate -s 1048586 $F'
yes 3000000 serving ': > $F'
yes 0 "data/$id \(a\) is longer than its image: cut" 'cat $T/b >> $F'
equal "$(stat -c %s "$F")" 3000000
yes 0 serving 'cp $T/b $C/data/999; cp $T/b $C/data/0$id; cp $T/b $C/data/x'
equal "$(ls "$C/data" | wc -l)" 2

# ---- an index that does not know, or knows it otherwise
yes 6000000 serving 'rm $C/index.db'
yes 3000000 serving 'sqlite3 $C/index.db "UPDATE version SET id=77 WHERE id=$id"'
planted 'sqlite3 $C/index.db "UPDATE version SET digest=randomblob(32) WHERE id=$id"'
try
refused 'Input/output error' cat "$T/x/a"
eventually 10 grep -q "a: its id $id is stored here with another digest: not served: .*give this mount a new cache=" "$T/x.log"
same_bytes "$T/b" "$T/x/b"
end_fs x
# Damage that is seen only when a row is changed: its page of the index by id.
# (Where nothing is, it is in nobody's way.)
yes 0 serving 'truncate -s -1 $C/index.db'
page=$(sqlite3 "$T/m.cache/index.db" "SELECT rootpage FROM sqlite_master WHERE name='sqlite_autoindex_version_1'")
planted 'dd if=/dev/urandom of=$C/index.db bs=4096 seek=$((page - 1)) count=1 conv=notrunc status=none'
try
for i in a b; do same_bytes "$T/$i" "$T/x/$i"; done
"$STAGEFS_BIN" evict "$T/x" a > /dev/null
for i in a b; do same_bytes "$T/$i" "$T/x/$i"; done
eventually 10 grep -q "a: not stored, served from memory: the cache's index is damaged: unmount, and remove index.db\* and data there" "$T/x.log"
end_fs x
no "index is damaged: remove" 'head -c 4096 /dev/urandom | dd of=$C/index.db conv=notrunc status=none'

# ---- keys and catalogs
no "cache .*x.cache is of another origin \(give another cache=\), or the origin has a new key \(remove key.pub and catalog" \
	'cp $T/other.pub $C/key.pub'
no "x.cache: key.pub is damaged: remove it and catalog" ': > $C/key.pub'
no "x.cache: key.pub is damaged: remove it and catalog" 'head -c 100000 /dev/urandom > $C/key.pub'
yes 0 serving 'rm $C/key.pub'
yes 0 serving 'rm $C/key.pub $C/catalog'
yes 0 serving 'head -c 300 $T/m.cache/catalog > $C/catalog'
bad="catalog is damaged: set aside as catalog.bad"
yes 0 "$bad" 'head -c 600 /dev/urandom > $C/catalog'
yes 0 "$bad" 'sed -i "s/\"name\":\"a\"/\"name\":\"c\"/" $C/catalog'
yes 0 "$bad" 'sed -i "s/^page .*/page 99999999999/" $C/catalog'
[ -e "$C/catalog.bad" ]

# ---- whose folder it is
no "cache .*x.cache belongs to user 65534, not to root: chown it" 'chown -R 65534 $C'
yes 0 serving 'chmod 777 $C $C/data $C/index.db'
equal "$(stat -c %a "$C")" 700

# ---- not a cache at all: nothing in it is deleted, handed over or closed
rm -rf "$C"
mkdir -p "$C/data"
echo precious > "$C/data/7"
chmod -R 755 "$C"
cp -a "$C" "$T/theirs"
for user in root nobody; do
	refused "cache .*x.cache is no cache of stagefs, and not empty \('data'\): give a folder of its own" \
		try user=$user
	equal "$(cd "$C"; find . -printf '%p %m %u %s ')" "$(cd "$T/theirs"; find . -printf '%p %m %u %s ')"
	equal "$(cat "$C/data/7")" precious
done
# A disk of its own is empty, and so is what a start leaves that was cut short.
for there in lost+found lock 'lock data'; do
	rm -rf "$C"
	mkdir "$C"
	for name in $there; do if [ $name = lock ]; then touch "$C/lock"; else mkdir "$C/$name"; fi; done
	try
	same_bytes "$T/a" "$T/x/a"
	end_fs x
done

# ---- a good catalog that is older than what the origin has: caught up with;
# and the same with the origin gone: what it knows is shown.
origin_stop
mv "$STORE" "$T/now.store"
cp -a "$T/older.store" "$STORE"
origin_start
mount_fs o
end_fs o
origin_stop
rm -r "$STORE"
mv "$T/now.store" "$STORE"
origin_start
yes 0 serving 'cp $T/o.cache/catalog $C/catalog'
origin_stop
planted 'cp $T/o.cache/catalog $C/catalog'
try 2> "$T/x.err"
equal "$(ls "$T/x")" a
same_bytes "$T/a" "$T/x/a"
end_fs x
