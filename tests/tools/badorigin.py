#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""badorigin.py - an origin that lies, resets and stalls, by script.

It is an HTTP proxy in front of a real stagefs-origin: what no rule touches
goes through unchanged, so a test uses the real catalog, orders and bytes and
says only what goes wrong. It counts the requests and the bytes of bodies that
leave it. Standard library only; `openssl` for documents that it signs itself.

    badorigin.py --upstream http://127.0.0.1:8420 --port-file F
                 [--listen 127.0.0.1:0] [--control-file F]

F gets the port once it listens. --control-file: the port of a second listener
that takes the control requests only, and goes on while the first is down.

CONTROL (on both listeners; answers are JSON)

    POST /_script   a rule, or a list of rules: replaces all rules. [] = none
    POST /_add      the same, added behind the others
    POST /_cap      {"rate": BYTES_PER_S}: of all bodies together; 0 = none
    POST /_down     {"seconds": S}: refuses connections (and cuts those that
                    are open) for S seconds; without S until /_up
    POST /_up
    POST /_reset    rules, counters, cap and recordings as at the start
    GET  /_log      {"requests", "bytes", "open", "by_path": {PATH: {"requests",
                    "bytes"}}, "by_class": {...}, "rules": [{"name", "seen",
                    "hits"}]}; control requests are not counted
    GET  /_lines    the last 2,000 requests: [{"method", "path", "range",
                    "class", "server", "order", "status", "bytes", "fault"}]

RULES

A rule is an object: what it matches, how often, and one fault.

    path     prefix of the path ("/v1/data/"); default: all
    method   "GET", "PUT", "POST"
    class    of X-Stagefs-Class: "demand", "lookahead", ...
    range    [A, B]: requests whose byte range touches A to B
    nth      only the nth request that matches the above, counted from 1
    every    only each Nth of them
    times    how often it strikes, then it is spent; default: always
    name     for /_log; default: the fault's name

The first rule that strikes decides, except that "delay" and "slow" may come
on top of another one. Faults and their members (with defaults):

    delay            seconds 1: before the answer
    slow             rate 65536: bytes per second of this answer
    status           status 503, text "no"
    reset            after 0: a TCP reset after so many bytes of the body;
                     -1 before any answer
    close            after 0: the same with an orderly end: a short body under
                     a right Content-Length
    stall            after 0, seconds 3600: silence after so many bytes
    drip             after 0, seconds 1: the same, then a byte each so often
    whole            200 and the whole file to a range request
    wrong-range      by 1048576: Content-Range moved by so much, right bytes
    wrong-total      Content-Range with a length that is one more
    no-range         206 without Content-Range
    wrong-length     Content-Length that is one less, connection closed
    flip             at -1: one bit of that byte of the body; -1 in the middle
    shift            by 1048576: right head, bytes of another place
    gzip             compressed, and said so
    redirect         to "/": 302 there
    loop             302 to itself
    garbage          not HTTP
    headers          headers without end
    long             chunked, with 1,000 bytes more than there are
    html             200 and a web page, as from a captive portal
    replace          with P: the answer to path P instead (another manifest);
                     or url U (another store's catalog)
    forge            a signed document: one bit of its signature
    forge-text       one bit of the text that is signed
    truncate         keep 0.5: so much of the body, with a fitting head
    replay           index 0: the nth answer of 200 that this path (whatever
                     its query) ever got here: an older revision
    million          entries 1000000, page 5000, key FILE: a catalog made here
                     of so many images, page by page; signed with that secret
                     key (PEM), else with a forged signature. "page": 0 puts
                     all into one document.
    deep             depth 1000000, key FILE: a catalog whose list of entries
                     is so many lists in lists; signed as with "million"
"""
import argparse
import http.client
import json
import os
import socket
import struct
import sys
import threading
import urllib.parse

sys.dont_write_bytecode = True
import badfaults  # noqa: E402


# ---- connections -----------------------------------------------------------

class Connection:
    def __init__(self, state, control, sock, control_only):
        self.state, self.control, self.sock = state, control, sock
        self.control_only = control_only
        self.upstream = None

    def serve(self):
        with self.state.lock:
            self.state.open.add(self)
        f = self.sock.makefile("rb")
        try:
            while True:
                req = badfaults.read_request(f)
                if not req:
                    break
                if req.path.startswith("/_") or self.control_only:
                    self.answer_control(req)
                else:
                    badfaults.Exchange(self, req).run()
        except (badfaults.Closed, OSError, ValueError,
                http.client.HTTPException):
            pass
        finally:
            with self.state.lock:
                self.state.open.discard(self)
            f.close()
            self.sock.close()
            self.drop_upstream()

    def drop_upstream(self):
        if self.upstream:
            self.upstream.close()
        self.upstream = None

    def ask_upstream(self, method, target, headers, body):
        """One upstream connection per client's; asked anew once if the
        upstream closed it between two requests."""
        for last in (False, True):
            fresh = self.upstream is None
            if fresh:
                u = self.state.upstream
                self.upstream = http.client.HTTPConnection(
                    u.hostname, u.port or 80, timeout=120)
            elif not self.drained():
                self.drop_upstream()
                continue
            try:
                self.upstream.putrequest(method, target, skip_host=True,
                                         skip_accept_encoding=True)
                self.upstream.putheader("Host", self.state.upstream.netloc)
                for k, v in headers:
                    if k.lower() not in badfaults.HOP_BY_HOP:
                        self.upstream.putheader(k, v)
                self.upstream.endheaders(body or None)
                r = self.upstream.getresponse()
                self.response = r
                return r
            except (OSError, http.client.HTTPException):
                self.drop_upstream()
                if fresh or last:
                    raise
        return self.ask_upstream(method, target, headers, body)

    def drained(self):
        """Was the answer before this one read to its end?"""
        return self.response.isclosed()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        raise badfaults.Closed

    def hold(self, seconds):
        """Silence, until the other side gives up."""
        self.sock.settimeout(seconds)
        try:
            while self.sock.recv(badfaults.CHUNK):
                pass
        except OSError:
            pass

    def cut(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def answer_control(self, req):
        try:
            status, doc = 200, self.control.do(req)
        except (ValueError, KeyError, TypeError) as e:
            status, doc = 400, {"error": str(e)}
        text = (json.dumps(doc) + "\n").encode()
        self.sock.sendall(b"HTTP/1.1 %d x\r\nContent-Type: application/json"
                          b"\r\nContent-Length: %d\r\n\r\n%s" %
                          (status, len(text), text))


class Listener:
    """A listening socket that can go away and come back on its port."""

    def __init__(self, state, control, host, port, control_only=False):
        self.state, self.control = state, control
        self.host, self.port, self.control_only = host, port, control_only
        self.sock = None
        self.up()

    def up(self):
        if self.sock:
            return
        s = socket.socket(socket.AF_INET6 if ":" in self.host
                          else socket.AF_INET)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((self.host, self.port))
        s.listen(512)
        self.port = s.getsockname()[1]
        self.sock = s
        threading.Thread(target=self.accept, args=(s,), daemon=True).start()

    def down(self):
        if not self.sock:
            return
        s, self.sock = self.sock, None
        s.shutdown(socket.SHUT_RDWR)
        s.close()
        with self.state.lock:
            conns = [c for c in self.state.open if not c.control_only]
        for c in conns:
            if c.sock is not s:
                c.cut()

    def accept(self, s):
        while True:
            try:
                sock, _ = s.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conn = Connection(self.state, self.control, sock,
                              self.control_only)
            threading.Thread(target=conn.serve, daemon=True).start()


class Control:
    def __init__(self, state):
        self.state = state
        self.listener = None
        self.timer = None

    def do(self, req):
        doc = json.loads(req.body) if req.body else None
        verb = req.method + " " + req.path
        if verb == "GET /_log":
            return self.state.log()
        if verb == "GET /_lines":
            with self.state.lock:
                return list(self.state.lines)
        if verb == "POST /_script":
            self.state.set_rules(doc, add=False)
        elif verb == "POST /_add":
            self.state.set_rules(doc, add=True)
        elif verb == "POST /_cap":
            with self.state.lock:
                self.state.cap = doc["rate"]
                self.state.cap_free_at = 0.0
        elif verb == "POST /_reset":
            self.state.clear()
        elif verb == "POST /_down":
            self.down((doc or {}).get("seconds"))
        elif verb == "POST /_up":
            self.up()
        else:
            raise ValueError("no such control request: " + verb)
        return {}

    def down(self, seconds):
        # After the answer: the request may have come through this very door.
        threading.Timer(0.05, self.listener.down).start()
        if self.timer:
            self.timer.cancel()
        self.timer = None
        if seconds is not None:
            self.timer = threading.Timer(seconds + 0.05, self.listener.up)
            self.timer.daemon = True
            self.timer.start()

    def up(self):
        if self.timer:
            self.timer.cancel()
        self.listener.up()


def write_port(path, port):
    with open(path + ".new", "w") as f:
        f.write("%d\n" % port)
    os.rename(path + ".new", path)


def start(upstream, host="127.0.0.1", port=0):
    """For tests in Python: (listener, control listener)."""
    state = badfaults.State(upstream)
    control = Control(state)
    control.listener = Listener(state, control, host, port)
    return control.listener, Listener(state, control, "127.0.0.1", 0, True)


def main():
    p = argparse.ArgumentParser(
        description="HTTP proxy in front of a stagefs-origin that does "
        "wrong by script; the rules are described at the top of the file.")
    p.add_argument("--upstream", required=True, help="http://host:port")
    p.add_argument("--listen", default="127.0.0.1:0", help="host:port")
    p.add_argument("--port-file", help="gets the port once it listens")
    p.add_argument("--control-file", help="gets the control port")
    a = p.parse_args()
    host, _, port = a.listen.rpartition(":")
    listener, control = start(a.upstream, host.strip("[]"), int(port))
    if a.control_file:
        write_port(a.control_file, control.port)
    if a.port_file:
        write_port(a.port_file, listener.port)
    else:
        print(listener.port, flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
