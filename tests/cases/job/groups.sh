#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A folder planned for a group, on real mounts: staged on each; so is what is
# published into the folder later, and a server that joins; one that leaves is
# not held to it any more.
. "$(dirname "$0")/../../lib/common.sh"

for i in 1 2 3; do random_file "$T/i$i" 4000000 "$i"; done
origin_start
publish "$T/i1" win/base.wim
publish "$T/i2" win/drivers/net.img
publish "$T/i3" other.iso
mount_fs line3
mount_fs line4
mount_fs line5
for s in line3 line4 line5; do eventually 20 origin server show "$s"; done
origin server group add hall1 line3 line4 > /dev/null
origin plan add --server @hall1 --image win/ --at "+2h" > "$T/out"
grep -q ': 4 images on servers, 4 in time$' "$T/out"

staged() { [ "$(origin plan list --each --json | jq -r '[.plan[] | select(.state == "staged") | .server + " " + .image] | join(", ")')" = "$1" ]; }
eventually 20 staged "line3 win/base.wim, line3 win/drivers/net.img, line4 win/base.wim, line4 win/drivers/net.img"
equal "$(origin plan list --json | jq -r '.plan[] | "\(.server) \(.image) \(.state) \(.staged) \(.stored)"')" \
	"@hall1 win/ staged 4/4 16000000"
same_bytes "$T/i1" "$T/line3/win/base.wim"
same_bytes "$T/i2" "$T/line4/win/drivers/net.img"

publish "$T/i3" win/drivers/gpu.img
for s in line3 line4; do
	eventually 20 image_is "$s" win/drivers/gpu.img complete
done
equal "$(xattr line3 other.iso state)" absent
equal "$(xattr line5 win/base.wim state)" absent

origin server group add hall1 line5 > /dev/null
eventually 20 image_is line5 win/base.wim complete
eventually 20 image_is line5 win/drivers/gpu.img complete
held() { [ "$(origin server show line5 --json | jq '[.images[] | select(.held_until != null)] | length')" = "$1" ]; }
eventually 20 held 3
origin server group remove hall1 line5 > /dev/null
eventually 20 held 0
equal "$(xattr line5 win/base.wim state)" complete
for s in line3 line4 line5; do umount_fs "$s"; done
