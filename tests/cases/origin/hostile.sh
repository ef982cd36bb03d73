#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 13
# Peers that send garbage, too much, too little, too slowly, or are too many.
# The daemon answers or hangs up, and goes on serving the others.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/a" 5000000 1
origin init > /dev/null
origin image add "$T/a" --name a.img > /dev/null
# One with less patience, for those who are slow.
cp -a "$STORE" "$T/slow.store"
STORE=$T/slow.store STAGEFS_REQUEST_S=5 origin_start --threads 2
slow_port=$PORT PORT=''
slow_url=$URL
origin_start --threads 2 --max-connections 300 --max-per-address 300
cat > "$T/peers.py" <<'PY'
import os, random, select, socket, sys, time

port, digest, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]

def dial():
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(60)
    return s

def drain(s, limit=1 << 26):
    got = b""
    try:
        while len(got) < limit:
            d = s.recv(1 << 16)
            if not d:
                return got, True
            got += d
    except (ConnectionResetError, BrokenPipeError):
        return got, True
    except socket.timeout:
        pass
    return got, False

def send(s, data):
    try:
        s.sendall(data)
    except (ConnectionResetError, BrokenPipeError):
        pass

def status(got):
    return got.split(b" ", 2)[1] if got.startswith(b"HTTP/1.") else b"none"

def says(data, *want):
    s = dial()
    send(s, data)
    s.shutdown(socket.SHUT_WR) if not want else None
    got, closed = drain(s)
    assert closed, (data[:80], got[:80])
    if want:
        assert status(got) in want, (data[:80], got[:80])
    s.close()

if what == "garbage":
    rnd = random.Random(5)
    says(b"")
    says(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500))    # TLS
    for i in range(300):
        says(bytes(rnd.randrange(256) for _ in range(rnd.randrange(1, 600))) + b"\r\n\r\n")
    for cut in range(0, 60, 3):
        says((b"GET /v1/data/%s HTTP/1.1\r\nHost: x\r\n\r\n" % digest.encode())[:cut])
    close = b"Connection: close\r\n\r\n"
    says(b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 200000 + b"\r\n" + close, b"400", b"413")
    says(b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\n" + close, b"400", b"413")
    says(b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + close, b"400", b"413")
    says(b"GET /healthz HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n" + close, b"400")
    says(b"GET /healthz HTTP/1.1\r\nContent-Length: -5\r\n" + close, b"400")
    says(b"PUT /v1/servers/x/descriptor HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", b"400", b"413")
    says(b"PUT /v1/servers/x/descriptor HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400", b"413")
    says(b"PUT /v1/servers/x/descriptor HTTP/1.1\r\nExpect: something\r\nContent-Length: 5\r\n\r\n", b"417")
    says(b"GET http://elsewhere/healthz HTTP/1.1\r\n" + close, b"200")
    says(b"GET /healthz HTTP/1.0\r\n\r\n", b"200")
    says(b"GET /v1/data/" + digest.encode() + b"%00 HTTP/1.1\r\n" + close, b"404")
elif what == "pipeline":
    # Many requests at once on one connection, a held one among them.
    s = dial()
    one = b"GET /v1/data/%s HTTP/1.1\r\nRange: bytes=0-99999\r\n\r\n" % digest.encode()
    hold = b"GET /v1/servers/x/orders?wait=1&catalog=1 HTTP/1.1\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
    send(s, one * 20 + hold + one * 20 + last)
    got, closed = drain(s)
    assert closed and got.count(b"HTTP/1.1 206") == 40 and got.endswith(b"ok\n")
elif what == "flood":
    # Sends on while it is being answered and never reads: bounded memory.
    s = dial()
    send(s, b"GET /v1/servers/x/orders?wait=5&catalog=1 HTTP/1.1\r\n\r\n")
    s.settimeout(2)
    n = 0
    try:
        while n < 1 << 28:
            n += s.send(b"x" * 65536)
    except (socket.timeout, OSError):
        pass
    assert n < 1 << 27, n
elif what == "bodies":
    # What is too large for its place is thrown away as it comes, and refused
    # in words at its end.
    def resident():
        with open("/proc/%s/status" % sys.argv[4]) as f:
            return int(f.read().split("VmRSS:")[1].split()[0]) << 10
    def asks(line, length):
        before = resident()
        s = dial()
        send(s, line + b"\r\nContent-Length: %d\r\n\r\n" % length)
        for _ in range(length // 1000000 - 1):
            send(s, b"x" * 1000000)
        time.sleep(0.2)
        grown = resident() - before
        assert grown < length // 2 or sys.argv[5] == "sanitized", (line, grown)
        send(s, b"x" * 1000000)
        assert status(s.recv(1000)) == b"413"
        s.close()
    put = b"PUT /v1/servers/x/descriptor HTTP/1.1"
    asks(b"POST /v1/servers/x/orders/1 HTTP/1.1", 50000000)
    asks(b"PUT /v1/servers/x/orders HTTP/1.1", 50000000)
    s = dial()                                  # in chunks nobody says how much
    send(s, b"POST /v1/servers/x/orders/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(3):
        send(s, b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert status(s.recv(1000)) == b"413"
    s.close()
    # The bound is that of each request of a connection, also if its line comes
    # in pieces, or while another request is answered: 400 is the reader's own.
    body = b"\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n" + b"x" * 100000
    says(b"GET /healthz HTTP/1.1\r\n\r\n" + put + body, b"200")
    s = dial()
    send(s, b"GET /healthz HTTP/1.1\r\n\r\n" + put + body)
    got, closed = drain(s)
    assert closed and got.count(b"HTTP/1.1 200") == 1 and got.count(b"HTTP/1.1 400") == 1, got
    s = dial()
    for part in (b"PU", b"T /v1/servers/x/desc", b"riptor HT", b"TP/1.1"):
        send(s, part)
        time.sleep(0.2)
    send(s, body)
    got, closed = drain(s)
    assert closed and status(got) == b"400", got[:80]
    # And after a large one comes a small one.
    s = dial()
    send(s, put + b"\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000)
    assert status(s.recv(10000)) == b"400"
    send(s, b"POST /v1/servers/x/orders/1 HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000)
    assert status(s.recv(10000)) == b"413"
    s.close()
elif what == "unfinished":
    # What is kept of requests that do not end is counted: bounded for all.
    s = dial()
    send(s, b"PUT /v1/servers/x/descriptor HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(30):
        send(s, b"186a0\r\n" + b"x" * 100000 + b"\r\n")
    print("sent", flush=True)
    sys.stdin.readline()
    s.close()
elif what == "held":
    # One server name that holds many requests: the oldest are answered.
    held = []
    for i in range(10):
        s = dial()
        send(s, b"GET /v1/servers/y/orders?wait=60&catalog=1 HTTP/1.1\r\n\r\n")
        held.append(s)
        time.sleep(0.1)
    for s in held[:6]:
        assert status(s.recv(10000)) == b"200"
    time.sleep(0.5)
    assert not select.select(held[6:], [], [], 0)[0]
    for s in held:
        s.close()
elif what == "vanish":
    # Connections that end without a word, at every stage.
    for i in range(400):
        s = dial()
        if i % 4 == 1:
            send(s, b"GET /v1/da")
        elif i % 4 == 2:
            send(s, b"GET /v1/data/%s HTTP/1.1\r\n\r\n" % digest.encode())
        elif i % 4 == 3:
            send(s, b"GET /v1/servers/x/orders?wait=60&catalog=1 HTTP/1.1\r\n\r\n")
        if i % 3 == 0:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
elif what == "slow":
    # One byte a second never makes a request; a paused reader is left alone.
    slow, body, paused = dial(), dial(), dial()
    send(body, b"PUT /v1/servers/x/descriptor HTTP/1.1\r\nContent-Length: 60000000\r\n\r\n")
    send(paused, b"GET /v1/data/%s HTTP/1.1\r\nConnection: close\r\n\r\n" % digest.encode())
    first = paused.recv(1000)
    for c in b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 100:
        try:
            slow.send(bytes([c]))
            body.send(b"x")
        except OSError:
            break
        if select.select([slow], [], [], 1)[0]:
            break
    else:
        raise SystemExit("the slow one was not cut")
    assert slow.recv(100) == b""
    assert drain(body) == (b"", True)
    rest, closed = drain(paused)
    body = (first + rest).split(b"\r\n\r\n", 1)[1]
    assert closed and len(body) == 5000000, len(body)
elif what == "many":
    # Above the limit: 503, and the others go on.
    held = [dial() for _ in range(300)]
    for s in held:
        send(s, b"GET /healthz HTTP/1.1\r\n\r\n")
    held = [s for s in held if status(s.recv(1000)) == b"200"]
    assert len(held) >= 295, len(held)
    more = [dial() for _ in range(20)]
    refused = 0
    for s in more:
        send(s, b"GET /healthz HTTP/1.1\r\n\r\n")
        got, closed = drain(s)
        assert closed
        refused += status(got) == b"503"
    assert refused >= 15, refused
    send(held[0], b"GET /healthz HTTP/1.1\r\n\r\n")
    assert status(held[0].recv(1000)) == b"200"
    # Those that do not even ask are not kept; of very many none is.
    idle = [dial() for _ in range(300)]
    closed = sum(drain(s) == (b"", True) for s in idle)
    assert closed >= 295, closed
    assert not select.select(held, [], [], 0)[0]
PY
D=$(origin image show a.img --json | jq -r .image.digest)
build=$(sanitized && echo sanitized || echo plain)
peers() { /usr/bin/python3 "$T/peers.py" "${2:-$PORT}" "$D" "$1" "$ORIGIN_PID" "$build"; }
alive()
{
	equal "$(curl -fsS "$URL/healthz")" ok "after $1"
	curl -fsS "$URL/v1/data/$D" > "$T/body"
	same_bytes "$T/body" "$T/a"
}

peers slow "$slow_port" > "$T/slow.log" 2>&1 &
slow=$!
for what in garbage pipeline bodies flood held vanish; do
	peers "$what"
	alive "$what"
done
kept() { [ "$(curl -fsS "$URL/metrics" | awk '/^stagefs_origin_input_bytes / { print $2 }')" "$@" ]; }
mkfifo "$T/go"
/usr/bin/python3 "$T/peers.py" "$PORT" "$D" unfinished > "$T/unfinished.log" < "$T/go" & unfinished=$!
exec 5> "$T/go"
eventually 30 grep -q sent "$T/unfinished.log"
eventually 10 kept -gt 3000000
exec 5>&-
wait "$unfinished"
eventually 10 kept -lt 200000
wait "$slow" || { cat "$T/slow.log"; fail "slow peers"; }
curl -fsS "$slow_url/metrics" > "$T/metrics"
grep -Eq '^stagefs_origin_connections_cut_total [1-9]' "$T/metrics"
# What the others left counts until it is noticed: all 300 places are to be free.
idle() { [ "$(curl -fsS "$URL/metrics" | awk '/^stagefs_origin_connections / { print $2 }')" = 1 ]; }
eventually 30 idle
peers many
eventually 30 idle
alive many
# Memory came back: bodies, floods and parked requests are gone.
rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$ORIGIN_PID/status")
say "resident: $rss KiB"
case $(nm -D "$ORIGIN_BIN" 2>/dev/null) in
*__asan* | *__tsan*) ;;
*) [ "$rss" -lt 200000 ] || fail "resident memory is $rss KiB" ;;
esac
