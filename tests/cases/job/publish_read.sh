#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# Publish, mount, read through, mount again, with bootable images that line
# stations really boot.
. "$(dirname "$0")/../../lib/common.sh"

NETBOOT=/usr/lib/debian-installer/images/12/amd64/gtk/debian-installer/amd64
declare -A SOURCE=(
	[ipxe/ipxe.iso]=/usr/lib/ipxe/ipxe.iso
	[ipxe/efi/ipxe.efi]=/usr/lib/ipxe/ipxe.efi
	[debian/12/initrd.gz]=$NETBOOT/initrd.gz
	[debian/12/linux]=$NETBOOT/linux
	[debian/12/pxelinux.0]=$NETBOOT/pxelinux.0
	[memtest]=$T/memtest
)
: > "$T/memtest"
total=0
origin init > /dev/null
for name in "${!SOURCE[@]}"; do
	[ -e "${SOURCE[$name]}" ] || fail "install the packages of tests/lib/packages: ${SOURCE[$name]}"
	origin image add "${SOURCE[$name]}" --name "$name" > /dev/null
	total=$((total + $(stat -Lc %s "${SOURCE[$name]}")))
done
origin_start
mount_fs m
M=$T/m

# What a person sees: sorted, with the sizes and dates of the sources.
equal "$(cd "$M" && find . -type f | sort)" \
	"$(printf './%s\n' "${!SOURCE[@]}" | sort)"
equal "$(ls -R "$M" | sed "s|^$M||")" ":
debian
ipxe
memtest

/debian:
12

/debian/12:
initrd.gz
linux
pxelinux.0

/ipxe:
efi
ipxe.iso

/ipxe/efi:
ipxe.efi"
equal "$(ls -lR "$M" | grep -c '^-r--r--r-- 1 root root')" ${#SOURCE[@]}
equal "$(find "$M" -type d -printf '%n %P\n' | sort)" "$(printf '%s\n' '2 debian/12' '2 ipxe/efi' '3 debian' '3 ipxe' '4 ' | sort)" "links"
for name in "${!SOURCE[@]}"; do
	src=${SOURCE[$name]}
	equal "$(stat -c '%s %Y' "$M/$name")" "$(stat -Lc '%s %Y' "$src")" "$name"
	equal "$(stat -c %i "$M/$name")" "$(xattr m "$name" id)" "$name: st_ino"
done
equal "$(find "$M" -printf '%i\n' | sort | uniq -d)" "" "two with one number"
equal "$(xattr m ipxe/ipxe.iso state)" absent
equal "$(xattr m debian digest)" -
equal "$(origin_sent)" 0 "looking at names moved bytes"

# Cold: all right, and each byte once.
for name in "${!SOURCE[@]}"; do same_bytes "${SOURCE[$name]}" "$M/$name"; done
equal "$(origin_sent)" "$total" "bytes that left the origin"
for name in "${!SOURCE[@]}"; do
	[ -s "${SOURCE[$name]}" ] || continue
	eventually 10 image_is m "$name" complete
	equal "$(xattr m "$name" cached_bytes)" "$(stat -Lc %s "${SOURCE[$name]}")"
	[ "$(xattr m "$name" stored_at)" != - ] || fail "$name: no stored_at"
done

# As others read: mapped, sent by the kernel (Samba), copied in it (cp), in a
# pipe (NFS).
/usr/bin/python3 - "$M/debian/12/linux" "$NETBOOT/linux" << 'END'
import mmap, os, socket, sys, threading
path, source = sys.argv[1:]
want = open(source, "rb").read()
fd = os.open(path, os.O_RDONLY)

def take(get):
    got = bytearray()
    while data := get():
        got += data
    return got

def feed(put, close):
    at = 0
    while at < len(want):
        at += put(at)
    close()

def forget():
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

def through(put, get, close, what):
    forget()
    t = threading.Thread(target=feed, args=(put, close))
    t.start()
    assert take(get) == want, what
    t.join()

forget()
with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as m:
    assert m[:] == want, "mmap"
a, b = socket.socketpair()
through(lambda at: os.sendfile(a.fileno(), fd, at, len(want) - at),
        lambda: b.recv(1 << 20), a.close, "sendfile")
r, w = os.pipe()
through(lambda at: os.splice(fd, w, 1 << 20, offset_src=at),
        lambda: os.read(r, 1 << 20), lambda: os.close(w), "splice")
END
cp "$M/debian/12/linux" "$T/copied"
cmp "$T/copied" "$NETBOOT/linux"
used=$(df --output=used -B1 "$M" | tail -n 1)
[ "$used" -ge "$total" ] || fail "df: $used used of $total stored"
[ "$used" -lt $((total + (4 << 20))) ] || fail "df: $used used for $total"
equal "$(df --output=size -B1 "$M" | tail -n 1 | tr -d ' ')" $((1 << 30))

# The ISO that lies on the mount, as a block device, file by file. (Kernels
# without isofs: bsdtar reads it from the device.)
mkdir "$T/iso" "$T/iso.source"
bsdtar -x -f /usr/lib/ipxe/ipxe.iso -C "$T/iso.source"
if modprobe isofs 2>/dev/null || grep -qw iso9660 /proc/filesystems; then
	mount -t iso9660 -o loop,ro "$M/ipxe/ipxe.iso" "$T/iso"
	diff -r "$T/iso" "$T/iso.source"
	umount "$T/iso"
fi
loop=$(losetup --show -r -f "$M/ipxe/ipxe.iso")
bsdtar -x -f "$loop" -C "$T/iso" || { losetup -d "$loop"; fail "the ISO does not read"; }
losetup -d "$loop"
diff -r "$T/iso" "$T/iso.source"
[ "$(find "$T/iso" -type f | wc -l)" -ge 5 ] || fail "an empty ISO"
detached() { [ -z "$(losetup -O BACK-FILE -n -j "$M/ipxe/ipxe.iso")" ]; }
eventually 10 detached

# Mounted again: complete, without a transfer, also with cold pages.
end_fs m
mount_fs m
forget_pages
for name in "${!SOURCE[@]}"; do
	[ -s "${SOURCE[$name]}" ] && equal "$(xattr m "$name" state)" complete "$name"
	same_bytes "${SOURCE[$name]}" "$M/$name"
done
equal "$(origin_sent)" "$total" "a complete image was transferred again"
umount_fs m
