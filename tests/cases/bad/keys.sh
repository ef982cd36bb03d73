#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# key= that is no key, not this kind of key, or another origin's; and an
# origin whose key changes after it was trusted: what is mounted keeps what it
# had and says so, the next mount is refused with what to do, and doing it
# helps. Orders of the new key are not carried out.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/a" 3000000 a
origin_start
publish "$T/a" a
mkdir "$T/k"
try()
{
	timeout 120 "$MOUNT_BIN" "$URL" "$T/k" -o \
		"name=k,cache=$T/k.cache,capacity=1G,min-free=0,user=root,log=$T/k.log,$1"
}
no()
{
	rm -rf "$T/k.cache"
	refused "^mount.stagefs: $1" try "key=$2"
	equal "$status" 1 "$2"
	equal "$(mounts_below)" ""
}

# ---- key=
openssl genpkey -algorithm ed25519 -out "$T/other.pem" 2>/dev/null
openssl pkey -in "$T/other.pem" -pubout -out "$T/other.pub"
openssl genpkey -algorithm ed448 2>/dev/null | openssl pkey -pubout -out "$T/448.pub"
mkfifo "$T/pipe"
: > "$T/empty"
no "option key=k.pub: give an absolute path" k.pub
no "option key: $T/none: cannot read the key: No such file" "$T/none"
no "option key: $T/k: cannot read the key: Is a directory" "$T/k"
for f in a empty pipe other.pem; do
	no "option key: $T/$f: not a PEM file with a public key" "$T/$f"
done
no "option key: $T/448.pub: not an Ed25519 key" "$T/448.pub"
no "option key: /dev/zero: not a PEM" /dev/zero
no "key=$T/other.pub is not this origin's \(its key.pub is in the store\): signed with the key" "$T/other.pub"
cp "$STORE/key.pub" "$T/first.pub"
try "key=$T/first.pub"
same_bytes "$T/a" "$T/k/a"
end_fs k
refused "cache $T/k.cache: its origin's key is .*, not that of key= .*: give another cache=" try "key=$T/other.pub"

# ---- the key changes
mount_fs m
same_bytes "$T/a" "$T/m/a"
complete() { image_is m a complete; }
eventually 20 complete
eventually 20 origin server show m
origin_stop
cp "$STORE/secret.pem" "$T/first.pem"
cp "$T/other.pem" "$STORE/secret.pem"
cp "$T/other.pub" "$STORE/key.pub"
origin_start
origin order delete m a > /dev/null
publish "$T/a" b
told() { grep -Eq '(catalog|orders) refused: signed with the key .*, not with the trusted one' "$T/m.log"; }
eventually 30 told
[ "$(status_of m '.agent.catalog_refused + .agent.orders_refused')" -gt 0 ]
equal "$(ls "$T/m")" a
same_bytes "$T/a" "$T/m/a"
complete
equal "$(status_of m .agent.orders)" 0
prints 'signed with the key' status_of m .agent.last_refusal
end_fs m
anew() { "$MOUNT_BIN" "$URL" "$T/m" -o "name=m,cache=$T/m.cache,capacity=1G,min-free=0,user=root,log=$T/m.log"; }
# It waits two seconds for the origin, and then mounts with what it has.
refused_in_time()
{
	if anew 2> /dev/null; then
		end_fs m
		return 1
	fi
	refused "cache $T/m.cache is of another origin \(give another cache=\), or the origin has a new key \(remove key.pub and catalog there to trust it\): signed with" anew
	equal "$status" 1
}
eventually 60 refused_in_time
# With the origin gone it serves what it had, as ever.
origin_stop
anew 2> "$T/err"
grep -q '^mount.stagefs: warning: ' "$T/err"
equal "$(wc -l < "$T/err")" 1
same_bytes "$T/a" "$T/m/a"
end_fs m
# What it said: nothing is fetched again.
rm "$T/m.cache/key.pub" "$T/m.cache/catalog"
origin order cancel 1 > /dev/null
origin_start
anew
equal "$(ls "$T/m" | tr '\n' ' ')" "a b "
same_bytes "$T/a" "$T/m/a"
equal "$(status_of m '.fetched.bytes | add')" 0
end_fs m
