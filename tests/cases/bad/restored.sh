#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An origin whose store was put back from a backup: its revision is lower than
# what the servers have seen, and it gives ids and numbers of orders out again
# that were another image's. A mount keeps its last good catalog and says so,
# serves not one byte of the wrong image under an id that it knows, also when
# the origin's revision has grown past its own, and a new cache= helps.
. "$(dirname "$0")/../../lib/common.sh"

for i in kept lost new more; do random_file "$T/$i" 3000000 $i; done
origin_start
publish "$T/kept" kept
origin_stop
cp -a "$STORE" "$T/backup"
origin_start
publish "$T/lost" lost
mount_fs m
mount_fs away	# will hear nothing of it until the origin has passed it by
for m in m away; do
	for i in kept lost; do
		same_bytes "$T/$i" "$T/$m/$i"
		eventually 20 image_is $m $i complete
	done
done
revision=$(status_of m .catalog.revision)
end_fs away
id=$(xattr m lost id)
known() { origin server show m > /dev/null; }
eventually 20 known

# ---- restored: the revision is lower
origin_stop
rm -r "$STORE"
cp -a "$T/backup" "$STORE"
origin_start
older() { grep -q "catalog refused: the origin's catalog is older (revision [0-9]*) than ours ($revision): kept ours" "$T/m.log"; }
eventually 40 older
equal "$(ls "$T/m" | tr '\n' ' ')" "kept lost "
for i in kept lost; do same_bytes "$T/$i" "$T/m/$i"; done
prints older status_of m .agent.last_refusal
prints older "$STAGEFS_BIN" status "$T/m"

# ---- it gives the id out again, and grows past what was seen
publish "$T/new" new
equal "$(origin image show --json new | jq .image.id)" "$id"
publish "$T/more" more
clash() { grep -q "catalog refused: catalog: id $id ('new') has become something else: was the origin's database restored? give this mount a new cache=" "$T/m.log"; }
eventually 40 clash
equal "$(ls "$T/m" | tr '\n' ' ')" "kept lost "
for i in kept lost; do same_bytes "$T/$i" "$T/m/$i"; done
# A mount that was away meanwhile sees the same, when the origin answers in
# the two seconds that it waits for it.
says_so()
{
	mount_fs away 2> "$T/err"
	grep -q 'warning: .*restored.*: mounted with what the cache holds' "$T/err" && return
	end_fs away
	return 1
}
eventually 60 says_so
equal "$(wc -l < "$T/err")" 1
equal "$(ls "$T/away" | tr '\n' ' ')" "kept lost "
for i in kept lost; do same_bytes "$T/$i" "$T/away/$i"; done
end_fs away
# An order for the new image finds another one under its id.
origin order prefetch --force m new > /dev/null
failed() { origin order list --all --json | jq -e '.orders[] | select(.state == "failed")'; }
eventually 30 failed
prints "another version here" failed
# Without the catalog, too: what is stored under the id is not served as new.
end_fs m
rm "$T/m.cache/catalog"
mount_fs m
equal "$(ls "$T/m" | tr '\n' ' ')" "kept more new "
refused 'Input/output error' cat "$T/m/new"
for i in kept more; do same_bytes "$T/$i" "$T/m/$i"; done
eventually 10 grep -q "new: its id $id is stored here with another digest: not served: .*give this mount a new cache=" "$T/m.log"
end_fs m

# ---- what the admin does
mount_fs m "cache=$T/fresh.cache"
equal "$(ls "$T/m" | tr '\n' ' ')" "kept more new "
for i in kept more new; do same_bytes "$T/$i" "$T/m/$i"; done
