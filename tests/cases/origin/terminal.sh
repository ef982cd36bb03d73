#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `image add` as a person sees it: on a terminal a bar with part, rate and time
# left, and Ctrl-C that leaves nothing; in a pipe one line at the end.
. "$(dirname "$0")/../../lib/common.sh"

origin init > /dev/null
# Large enough to be interrupted, and nothing on the disk.
truncate -s 200G "$T/large"
random_file "$T/small" 100000 1
cat > "$T/person.py" <<'PY'
import os, pty, re, sys
argv = sys.argv[2:]
out = b""
pid, fd = pty.fork()
if pid == 0:
    os.execv(argv[0], argv)
pressed = False
while True:
    try:
        d = os.read(fd, 4096)
    except OSError:
        break
    if not d:
        break
    out += d
    if sys.argv[1] == "ctrl-c" and not pressed and b"%" in out:
        os.write(fd, b"\x03")
        pressed = True
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
text = out.decode()
bar = re.search(r"\r(\S+) +\[#*-*\] +(\d+)% +\S+/200G +\S+/s +\S+ left", text)
if sys.argv[1] == "ctrl-c":
    assert bar and bar[1] == "big/large.raw", text[-400:]
    assert status == 1, status
    last = text.replace("\x1b[K", "").rstrip().split("\r")[-1]
    assert last.endswith("interrupted: nothing was added"), repr(text[-200:])
else:
    assert status == 0, (status, text)
    assert text.replace("\x1b[K", "").rstrip().split("\r")[-1].startswith("small: "), repr(text)
PY
person() { /usr/bin/python3 "$T/person.py" "$1" "$ORIGIN_BIN" -C "$STORE" image add "$2" --name "$3"; }
person ctrl-c "$T/large" big/large.raw
equal "$(ls "$STORE/incoming" "$STORE/objects" | grep -vc ':$' | tr -d ' ')" 1 "only the blank line between them"
refused "no image named big/large.raw" origin image show big/large.raw
equal "$(origin image list --json | jq -c .)" '{"images":[]}'
person done "$T/small" small

# In a pipe: no bar, neither there nor on stderr.
origin image add "$T/small" --name again 2> "$T/err" | cat > "$T/out"
[ ! -s "$T/err" ] || fail "said on stderr: $(cat "$T/err")"
equal "$(wc -l < "$T/out")" 1
grep -q $'[\r\x1b]' "$T/out" && fail "control characters in a pipe"
origin image verify 2> "$T/err" | cat > "$T/out"
[ ! -s "$T/err" ] || fail "verify said on stderr: $(cat "$T/err")"
grep -q $'[\r\x1b]' "$T/out" && fail "control characters in a pipe"
:

# A reader that has seen enough is no error; a disk that is full is one, also
# where little is said.
/usr/bin/python3 - "$ORIGIN_BIN" "$STORE" <<'PY'
import os, subprocess, sys
for verb in (["image", "list"], ["log", "--json"], ["image", "show", "small"], ["plan", "export"], ["plan", "--help"]):
    argv = [sys.argv[1], "-C", sys.argv[2], *verb]
    r, w = os.pipe()
    os.close(r)
    p = subprocess.run(argv, stdout=w, stderr=subprocess.PIPE, timeout=60)
    os.close(w)
    assert (p.returncode, p.stderr) == (0, b""), (verb, p)
    with open("/dev/full", "w") as full:
        p = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert p.returncode == 1 and b"cannot write" in p.stderr and p.stderr.count(b"\n") == 1, (verb, p)
PY
