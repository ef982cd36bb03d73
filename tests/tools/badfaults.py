# SPDX-License-Identifier: Apache-2.0
"""badfaults.py - the rules of badorigin.py and the faults that they name; see
there for what each does."""
import base64
import gzip
import http.client
import json
import re
import subprocess
import tempfile
import threading
import time
import urllib.parse

CHUNK = 64 << 10
LINES_MAX = 2000
MODIFIERS = ("delay", "slow")
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "host", "te",
              "upgrade", "trailer", "proxy-authorization")


class Closed(Exception):
    """This connection is over."""


# ---- rules -----------------------------------------------------------------

class Rule:
    FAULTS = {}     # name -> method of Exchange, filled by @fault

    def __init__(self, spec):
        if not isinstance(spec, dict) or "fault" not in spec:
            raise ValueError("a rule is an object with a fault: %r" % (spec,))
        if spec["fault"] not in Rule.FAULTS and \
                spec["fault"] not in MODIFIERS:
            raise ValueError("no such fault: %r" % spec["fault"])
        self.spec = spec
        self.fault = spec["fault"]
        self.seen = self.hits = 0

    def matches(self, req):
        s = self.spec
        if not req.path.startswith(s.get("path", "/")):
            return False
        if "method" in s and s["method"] != req.method:
            return False
        if "class" in s and s["class"] != req.header("x-stagefs-class"):
            return False
        if "range" in s:
            span = req.span()
            if not span or span[1] < s["range"][0] or span[0] > s["range"][1]:
                return False
        return True

    def strikes(self, req):
        """Called once per request, under the state's lock."""
        if not self.matches(req):
            return False
        self.seen += 1
        s = self.spec
        if "nth" in s and self.seen != s["nth"]:
            return False
        if "every" in s and self.seen % s["every"]:
            return False
        if 0 <= s.get("times", -1) <= self.hits:
            return False
        self.hits += 1
        return True


class State:
    """What all connections share."""

    def __init__(self, upstream):
        self.upstream = urllib.parse.urlsplit(upstream)
        self.lock = threading.Lock()
        self.open = set()
        self.cleared = 0
        self.clear()

    def clear(self):
        with self.lock:
            self.cleared += 1
            self.rules = []
            self.by_path = {}
            self.by_class = {}
            self.requests = self.bytes = 0
            self.lines = []
            self.recorded = {}
            self.cap = 0
            self.cap_free_at = 0.0

    def set_rules(self, specs, add):
        rules = [Rule(s) for s in (specs if isinstance(specs, list)
                                   else [specs])]
        with self.lock:
            self.rules = self.rules + rules if add else rules

    def choose(self, req):
        """The fault and its modifiers for this request."""
        fault, modifiers = None, []
        with self.lock:
            for r in self.rules:
                if fault and r.fault not in MODIFIERS:
                    continue
                if not r.strikes(req):
                    continue
                if r.fault in MODIFIERS:
                    modifiers.append(r)
                else:
                    fault = r
        return fault, modifiers

    def count_request(self, req, fault):
        line = {"method": req.method, "path": req.target,
                "range": req.header("range"),
                "class": req.header("x-stagefs-class"),
                "server": req.header("x-stagefs-server"),
                "order": req.header("x-stagefs-order"),
                "status": 0, "bytes": 0,
                "fault": fault.fault if fault else ""}
        with self.lock:
            req.counted_since = self.cleared
            self.requests += 1
            for table, key in ((self.by_path, req.path),
                               (self.by_class, line["class"])):
                at = table.setdefault(key, {"requests": 0, "bytes": 0})
                at["requests"] += 1
            self.lines.append(line)
            del self.lines[:-LINES_MAX]
        return line

    def count_bytes(self, req, line, n):
        with self.lock:
            if req.counted_since != self.cleared:
                return  # of before a reset: its connection is still dying
            self.bytes += n
            self.by_path[req.path]["bytes"] += n
            self.by_class[line["class"]]["bytes"] += n
            line["bytes"] += n

    def wait_for_cap(self, n):
        with self.lock:
            if not self.cap:
                return
            now = time.monotonic()
            at = max(now, self.cap_free_at)
            self.cap_free_at = at + n / self.cap
        time.sleep(max(0, at - now))

    def record(self, path, body):
        with self.lock:
            self.recorded.setdefault(path, []).append(body)

    def log(self):
        with self.lock:
            return {"requests": self.requests, "bytes": self.bytes,
                    "open": len(self.open), "by_path": self.by_path,
                    "by_class": self.by_class,
                    "rules": [{"name": r.spec.get("name", r.fault),
                               "seen": r.seen, "hits": r.hits}
                              for r in self.rules]}


# ---- one request -----------------------------------------------------------

class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.target = method, target
        self.path = target.split("?")[0]
        self.headers, self.body = headers, body

    def header(self, name):
        for k, v in self.headers:
            if k.lower() == name:
                return v
        return ""

    def span(self):
        m = re.fullmatch(r"bytes=(\d+)-(\d+)", self.header("range"))
        return (int(m.group(1)), int(m.group(2))) if m else None


def read_request(f):
    line = f.readline(65536)
    if not line:
        return None
    parts = line.decode("latin-1").split()
    if len(parts) != 3:
        return None
    headers = []
    while True:
        line = f.readline(65536)
        if not line:
            return None
        line = line.decode("latin-1").rstrip("\r\n")
        if not line:
            break
        k, _, v = line.partition(":")
        headers.append((k, v.strip()))
    req = Request(parts[0], parts[1], headers, b"")
    n = int(req.header("content-length") or 0)
    req.body = f.read(n) if n else b""
    return req


class Answer:
    """Head of the upstream's answer; the body is still to be read."""

    def __init__(self, r):
        self.r = r
        self.status, self.reason = r.status, r.reason
        self.headers = [(k, v) for k, v in r.getheaders()
                        if k.lower() not in HOP_BY_HOP]

    def header(self, name):
        for k, v in self.headers:
            if k.lower() == name:
                return v
        return ""

    def put(self, name, value):
        self.headers = [h for h in self.headers
                        if h[0].lower() != name.lower()]
        if value is not None:
            self.headers.append((name, str(value)))


def fault(name):
    def register(method):
        Rule.FAULTS[name] = method
        return method
    return register


class Exchange:
    """One request on one connection, and everything that may go wrong."""

    def __init__(self, conn, req):
        self.conn, self.state, self.req = conn, conn.state, req
        self.rule, modifiers = self.state.choose(req)
        self.spec = self.rule.spec if self.rule else {}
        self.line = self.state.count_request(req, self.rule)
        self.rate = 0
        for m in modifiers:
            if m.fault == "delay":
                time.sleep(m.spec.get("seconds", 1))
            else:
                self.rate = m.spec.get("rate", 65536)

    def run(self):
        if self.rule:
            Rule.FAULTS[self.rule.fault](self)
        else:
            self.forward()

    # -- pieces

    def ask(self, target=None, headers=None):
        """Asks the upstream."""
        return Answer(self.conn.ask_upstream(
            self.req.method, target or self.req.target,
            self.req.headers if headers is None else headers, self.req.body))

    def raw(self, data):
        try:
            self.conn.sock.sendall(data)
        except OSError:
            raise Closed

    def head(self, status, reason, headers):
        self.line["status"] = status
        text = "HTTP/1.1 %d %s\r\n" % (status, reason)
        for k, v in headers:
            text += "%s: %s\r\n" % (k, v)
        self.raw((text + "\r\n").encode("latin-1"))

    def send(self, data):
        """Bytes of a body: paced and counted."""
        for i in range(0, len(data), CHUNK):
            part = data[i:i + CHUNK]
            self.state.wait_for_cap(len(part))
            if self.rate:
                time.sleep(len(part) / self.rate)
            self.raw(part)
            self.state.count_bytes(self.req, self.line, len(part))

    def whole(self, status, headers, body, reason="OK"):
        headers = [h for h in headers if h[0].lower() != "content-length"]
        self.head(status, reason, headers + [("Content-Length", len(body))])
        self.send(body)

    def forward(self, a=None, limit=None):
        """The upstream's answer, or the first `limit` bytes of its body."""
        a = a or self.ask()
        keep = self.req.path == "/v1/catalog" and a.status == 200
        kept = b""
        if not a.header("content-length") and self.req.method != "HEAD" and \
                a.status not in (204, 304):
            self.whole(a.status, a.headers, a.r.read(), a.reason)
            return
        self.head(a.status, a.reason, a.headers)
        left = limit
        while left is None or left > 0:
            data = a.r.read(CHUNK if left is None else min(CHUNK, left))
            if not data:
                break
            if left is not None:
                left -= len(data)
            if keep:
                kept += data
            self.send(data)
        if keep and limit is None:
            self.state.record(self.req.path, kept)

    def body(self, target=None, headers=None):
        """The upstream's answer with its whole body."""
        a = self.ask(target, headers)
        return a, a.r.read()

    def moved(self, first, last):
        """Bytes first to last of the file that was asked for."""
        headers = [h for h in self.req.headers if h[0].lower() != "range"]
        headers.append(("Range", "bytes=%d-%d" % (first, last)))
        return self.body(None, headers)

    # -- faults

    @fault("status")
    def f_status(self):
        text = (self.spec.get("text", "no") + "\n").encode()
        self.whole(self.spec.get("status", 503),
                   [("Content-Type", "text/plain")], text, "Scripted")

    @fault("reset")
    def f_reset(self):
        after = self.spec.get("after", 0)
        if after >= 0:
            self.forward(limit=after)
        self.conn.reset()

    @fault("close")
    def f_close(self):
        self.forward(limit=self.spec.get("after", 0))
        raise Closed

    @fault("stall")
    def f_stall(self):
        self.forward(limit=self.spec.get("after", 0))
        self.conn.hold(self.spec.get("seconds", 3600))
        raise Closed

    @fault("drip")
    def f_drip(self):
        a, body = self.body()
        after = self.spec.get("after", 0)
        self.head(a.status, a.reason, a.headers)
        self.send(body[:after])
        for i in range(after, len(body)):
            time.sleep(self.spec.get("seconds", 1))
            self.send(body[i:i + 1])

    @fault("whole")
    def f_whole(self):
        a, body = self.body(None, [h for h in self.req.headers
                                   if h[0].lower() != "range"])
        self.whole(a.status, a.headers, body)

    def changed_range(self, change):
        a, body = self.body()
        m = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)",
                         a.header("content-range"))
        if m:
            a.put("Content-Range", change(*[int(g) for g in m.groups()]))
        self.whole(a.status, a.headers, body, a.reason)

    @fault("wrong-range")
    def f_wrong_range(self):
        by = self.spec.get("by", 1 << 20)
        self.changed_range(lambda a, b, n: "bytes %d-%d/%d" %
                           (a + by, b + by, n))

    @fault("wrong-total")
    def f_wrong_total(self):
        self.changed_range(lambda a, b, n: "bytes %d-%d/%d" % (a, b, n + 1))

    @fault("no-range")
    def f_no_range(self):
        self.changed_range(lambda a, b, n: None)

    @fault("wrong-length")
    def f_wrong_length(self):
        a, body = self.body()
        a.put("Content-Length", len(body) - 1)
        self.head(a.status, a.reason, a.headers)
        self.send(body)
        raise Closed

    @fault("flip")
    def f_flip(self):
        a, body = self.body()
        body = bytearray(body)
        if body:
            at = self.spec.get("at", -1)
            body[at % len(body) if at >= 0 else len(body) // 2] ^= 1
        self.whole(a.status, a.headers, bytes(body), a.reason)

    @fault("shift")
    def f_shift(self):
        a, body = self.body()
        m = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)",
                         a.header("content-range"))
        if m:
            first, last, total = [int(g) for g in m.groups()]
            by = self.spec.get("by", 1 << 20)
            if last + by >= total:
                by = -first if first else 0
            other = self.moved(first + by, last + by)[1]
            # Nowhere to go: at least not the right order.
            body = other if by else body[1:] + body[:1]
        self.whole(a.status, a.headers, body, a.reason)

    @fault("gzip")
    def f_gzip(self):
        a, body = self.body()
        a.put("Content-Encoding", "gzip")
        self.whole(a.status, a.headers, gzip.compress(body, 1), a.reason)

    @fault("redirect")
    def f_redirect(self):
        self.whole(302, [("Location", self.spec.get("to", "/"))], b"",
                   "Found")

    @fault("loop")
    def f_loop(self):
        self.whole(302, [("Location", self.req.target)], b"", "Found")

    @fault("garbage")
    def f_garbage(self):
        self.raw(b"220 mail.example ESMTP ready\r\n250 fine\r\n")
        raise Closed

    @fault("headers")
    def f_headers(self):
        self.raw(b"HTTP/1.1 200 OK\r\n")
        while True:
            self.raw(b"".join(b"X-Endless-%d: %s\r\n" % (i, b"x" * 200)
                              for i in range(100)))

    @fault("long")
    def f_long(self):
        a, body = self.body()
        a.put("Content-Length", None)
        a.put("Transfer-Encoding", "chunked")
        self.head(a.status, a.reason, a.headers)
        for data in (body, b"x" * 1000):
            self.raw(b"%x\r\n" % len(data))
            self.send(data)
            self.raw(b"\r\n")
        self.raw(b"0\r\n\r\n")

    @fault("html")
    def f_html(self):
        self.whole(200, [("Content-Type", "text/html")],
                   b"<!DOCTYPE html><title>Welcome</title>"
                   b"<p>Please log in to use this network.\n")

    @fault("replace")
    def f_replace(self):
        if "url" in self.spec:
            u = urllib.parse.urlsplit(self.spec["url"])
            c = http.client.HTTPConnection(u.hostname, u.port or 80,
                                           timeout=30)
            c.request("GET", u.path + ("?" + u.query if u.query else ""))
            a = Answer(c.getresponse())
            body = a.r.read()
            c.close()
        else:
            a, body = self.body(self.spec["with"])
        self.whole(a.status, a.headers, body, a.reason)

    def changed_document(self, change):
        a, body = self.body()
        line, newline, text = body.partition(b"\n")
        if a.status == 200 and newline:
            body = change(line, text)
        self.whole(a.status, a.headers, body, a.reason)

    @fault("forge")
    def f_forge(self):
        def change(line, text):
            head, _, signature = line.rpartition(b" ")
            raw = bytearray(base64.b64decode(signature))
            raw[7] ^= 1
            return head + b" " + base64.b64encode(bytes(raw)) + b"\n" + text
        self.changed_document(change)

    @fault("forge-text")
    def f_forge_text(self):
        def change(line, text):
            text = re.sub(rb'("revision": ?)(\d+)',
                          lambda m: m.group(1) + b"%d" %
                          (int(m.group(2)) + 1), text, 1)
            return line + b"\n" + text
        self.changed_document(change)

    @fault("truncate")
    def f_truncate(self):
        a, body = self.body()
        keep = int(len(body) * self.spec.get("keep", 0.5))
        self.whole(a.status, a.headers, body[:keep], a.reason)

    @fault("replay")
    def f_replay(self):
        with self.state.lock:
            old = list(self.state.recorded.get(self.req.path, []))
        index = self.spec.get("index", 0)
        if not -len(old) <= index < len(old):
            self.forward()
            return
        self.whole(200, [("Content-Type", "application/octet-stream")],
                   old[index])

    @fault("million")
    def f_million(self):
        self.made(lambda store, since: many_entries(
            store, since, self.spec.get("entries", 1000000),
            self.spec.get("page", 5000)))

    @fault("deep")
    def f_deep(self):
        depth = self.spec.get("depth", 1000000)
        self.made(lambda store, since: (
            '{"format":1,"kind":"catalog","store":"%s","since":%d,'
            '"revision":%d,"more":false,"entries":%s%s,"removed":[]}' %
            (store, since, since + 1, "[" * depth, "]" * depth)).encode())

    def made(self, make):
        """A catalog that is made here: make(store, since)."""
        a, body = self.body()
        line, _, text = body.partition(b"\n")
        try:
            store = json.loads(text)["store"]
        except (ValueError, KeyError):
            store = "00000000-0000-4000-8000-000000000000"
        query = urllib.parse.parse_qs(self.req.target.partition("?")[2])
        doc = make(store, int(query.get("since", ["0"])[0]))
        if "key" in self.spec:
            key = line.split(b" ")[2] if line.count(b" ") == 3 else b""
            line = b"stagefs-signed 1 " + key + b" " + \
                sign(self.spec["key"], doc)
        self.whole(200, [("Content-Type", "application/octet-stream")],
                   line + b"\n" + doc)


def many_entries(store, since, total, page):
    """A page of a catalog: revision = how many entries have been listed."""
    first = since if page else 0
    last = min(first + page, total) if page else total
    entries = ['{"id":%d,"parent":1,"name":"image-%d.iso","mtime":1,'
               '"size":1048576,"block":1048576,"digest":"%064x"}' %
               (i + 2, i, i + 1) for i in range(first, last)]
    return ('{"format":1,"kind":"catalog","store":"%s","since":%d,'
            '"revision":%d,"more":%s,"entries":[%s],"removed":[]}' %
            (store, since, max(last, 1), "true" if last < total else "false",
             ",".join(entries))).encode()


def sign(key, data):
    """Ed25519 by openssl(1): the standard library has none."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        raw = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin",
                              "-inkey", key, "-in", f.name],
                             check=True, stdout=subprocess.PIPE).stdout
    return base64.b64encode(raw)
