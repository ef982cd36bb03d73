#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One address has its part of the connections and no more: what is above it is
# told so, or cut; who comes from elsewhere is served all the time.
. "$(dirname "$0")/../../lib/common.sh"

origin_start --threads 2 --max-connections 2000 --max-per-address 20
cat > "$T/peers.py" <<'PY'
import socket, sys, time

port = int(sys.argv[1])

def dial(source="127.0.0.1"):
    s = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
    s.settimeout(60)
    return s

def ask(s):
    """Its status; none if it was cut."""
    try:
        s.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        got = s.recv(1000)
    except (ConnectionResetError, BrokenPipeError):
        got = b""
    return got.split(b" ", 2)[1] if got else b"none"

def closed(s):
    try:
        return s.recv(1000) == b""
    except ConnectionResetError:
        return True

held = [dial() for _ in range(30)]
served = [s for s in held if ask(s) == b"200"]
assert len(served) == 20, len(served)
assert ask(dial("127.0.0.2")) == b"200"
# Those that do not ask are not kept, of very many none is.
idle = [dial() for _ in range(400)]
assert ask(dial("127.0.0.2")) == b"200"
assert all(closed(s) for s in idle)
assert all(ask(s) == b"200" for s in served)
# One that goes makes room for another.
served.pop().close()
end = time.time() + 60
while ask(dial()) != b"200":
    assert time.time() < end
    time.sleep(0.05)
PY
/usr/bin/python3 "$T/peers.py" "$PORT"
equal "$(grep -c "127.0.0.1 has as many connections as one address may have" "$T/origin.log")" 1
curl -fsS --interface 127.0.0.2 "$URL/metrics" > "$T/metrics"
grep -Eq '^stagefs_origin_connections_refused_total [1-9]' "$T/metrics"
idle() { [ "$(curl -fsS "$URL/metrics" | awk '/^stagefs_origin_connections / { print $2 }')" = 1 ]; }
eventually 30 idle
# Without the option: half of all.
origin_stop
origin_start --threads 2 --max-connections 40
/usr/bin/python3 - "$PORT" <<'PY'
import socket, sys
def ask(s):
    s.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    return s.recv(1000).split(b" ", 2)[1]
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(25)]
assert sum(ask(s) == b"200" for s in held) == 20
PY
