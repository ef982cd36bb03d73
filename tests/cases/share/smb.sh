#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Samba, with packaging/share/smb.conf, over a mount.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"

share_images
samba_start

# names FOLDER: "D win11", "R boot.iso", ... as smbclient shows them
names() { smb "cd $1; ls" | sed -n 's/^  \([^ .][^ ]*\) *\([A-Z]*\) .*/\2 \1/p' | sort | xargs; }
names_are() { [ "$(names "$1")" = "$2" ]; }
reads_as() { smb_read "$1" | cmp -s - "$2"; }
denied() { [[ $(smb "$1" 2>&1) =~ NT_STATUS_($2) ]] || fail "$1: not denied"; }

equal "$(names /)" 'DR win11 R boot.iso R far'
equal "$(names win11)" 'R base.wim'
smb 'allinfo win11/base.wim' > "$T/info"
grep -q 'attributes: R (1)' "$T/info" || fail "$(cat "$T/info")"
grep -q 'stream: \[::$DATA\], 30000000 bytes' "$T/info" || fail "$(cat "$T/info")"
# The capacity is the size of the drive that a station sees.
[[ $(smb ls) =~ $((1 << 20))' blocks of size 1024' ]] || fail "$(smb ls)"

# Windows does not care for case.
netread -n 3 "$T/a" "$(smb_url WIN11/Base.WIM)"

# Cold, then cached, from front to back and at random.
reads_as boot.iso "$T/b" || fail "boot.iso"
for bytes in 65536 262144 1048576; do
	netread -b $bytes "$T/a" "$(smb_url win11/base.wim)"
	netread -b $bytes -n 50 -s $bytes "$T/a" "$(smb_url win11/base.wim)"
done
eventually 10 image_is m win11/base.wim complete
reads_as win11/base.wim "$T/a" || fail "win11/base.wim"

info_is "$(smb_url boot.iso)" "$T/m/boot.iso" EACCES

# What no station has open can be evicted, and reads as before.
for image in boot.iso win11/base.wim; do
	eventually 10 "$STAGEFS_BIN" evict "$T/m" $image
done
forget_pages
reads_as boot.iso "$T/b" || fail "boot.iso evicted"

netread -b 4096 -n 3 -s 7 "$T/far" "$(smb_url far)"
[ "$(xattr m far cached_bytes)" -lt 30000000 ] || fail "far seeks fetched all"

# Names that come, change and go.
publish "$T/b" win11/new
eventually 10 names_are win11 'R base.wim R new'
reads_as win11/new "$T/b" || fail "a new image"
publish "$T/a" win11/new
eventually 10 reads_as win11/new "$T/a"
origin image remove win11/new > /dev/null
eventually 10 names_are win11 'R base.wim'

# A reader keeps its version when the name gets another one.
random_file "$T/v1" 5000000 v1
publish "$T/v1" changes
eventually 10 has_image m changes
in_share_bg reader "$TOOLS/netread" -l "$T/v1" "$(smb_url changes)"
is_open() { [ "$(status_of m '.counters[] | select(.name == "open_images").value')" -ge 1 ]; }
eventually 10 is_open
publish "$T/b" changes
eventually 10 reads_as changes "$T/b"
kill -USR1 "$READER_PID"
wait "$READER_PID" || fail "the old version: $(cat "$T/reader.log")"

# A station that asks for an oplock gets none: it would keep the image open, and
# its old version, when its program has closed it.
cat > "$T/oplock.py" <<'END'
import sys, time
from samba import credentials
from samba.samba3 import libsmb_samba_internal as libsmb, param
lp = param.get_context()
lp.load(sys.argv[1])
creds = credentials.Credentials()
creds.set_anonymous()
c = libsmb.Conn("127.0.0.1", "images", lp, creds=creds)
BATCH, READ, SHARE_ALL = 6, 1, 7
f = c.create("boot.iso", CreateFlags=BATCH, DesiredAccess=READ, ShareAccess=SHARE_ALL)
open(sys.argv[2], "w").close()
time.sleep(600)
END
! in_share testparm -s "$T/smb.conf" 2>&1 | grep -i unknown || fail "smb.conf"
in_share_bg oplock /usr/bin/python3 "$T/oplock.py" "$T/smb.conf" "$T/oplock.there"
eventually 20 test -e "$T/oplock.there"
equal "$(in_share smbstatus -s "$T/smb.conf" -L | awk '/boot.iso/ { print $6 }')" NONE
kill "$OPLOCK_PID"
wait "$OPLOCK_PID" || :

# Nobody writes, asked politely or not.
for what in 'put /etc/passwd new' 'put /etc/passwd boot.iso' 'del boot.iso' \
	'mkdir d' 'rmdir win11' 'rename boot.iso b'; do
	denied "$what" ACCESS_DENIED
done
sed -i 's/read only = yes/read only = no\n\tforce user = root/' "$T/stagefs.conf"
in_share smbcontrol -s "$T/smb.conf" smbd reload-config
for what in 'put /etc/passwd new' 'del boot.iso' 'mkdir d' 'rename boot.iso b'; do
	denied "$what" MEDIA_WRITE_PROTECTED
done
equal "$(smb ls | grep -cE "^  (win11|boot.iso|changes|far) ")" 4
share_end
umount_fs m
