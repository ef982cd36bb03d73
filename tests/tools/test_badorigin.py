#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_badorigin.py - does badorigin.py do the faults that it lists?"""
import base64
import gzip
import http.client
import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import badorigin  # noqa: E402

FILE = bytes((i * 7 + i // 256) % 256 for i in range(4 << 20))
STORE = "6b1c2c3e-0000-4000-8000-000000000001"


def envelope(revision):
    doc = json.dumps({"store": STORE, "revision": revision}).encode()
    return b"stagefs-signed 1 " + b"K" * 43 + b"= " + \
        base64.b64encode(bytes(64)) + b"\n" + doc


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    revision = 1

    def log_message(self, *args):
        pass

    def answer(self, status, body, more=()):
        self.send_response(status)
        for k, v in more:
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/v1/catalog"):
            self.answer(200, envelope(Upstream.revision))
        elif self.path.startswith("/v1/manifests/"):
            self.answer(200, self.path.encode())
        elif self.headers.get("Range"):
            a, b = self.headers["Range"][6:].split("-")
            a, b = int(a), int(b)
            self.answer(206, FILE[a:b + 1], [
                ("Content-Range", "bytes %d-%d/%d" % (a, b, len(FILE)))])
        else:
            self.answer(200, FILE)

    def do_PUT(self):
        self.answer(200, self.rfile.read(int(self.headers["Content-Length"])))


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                                     Upstream)
        cls.server.daemon_threads = True
        cls.server.handle_error = lambda request, address: None
        threading.Thread(target=cls.server.serve_forever,
                         daemon=True).start()
        cls.listener, cls.control = badorigin.start(
            "http://127.0.0.1:%d" % cls.server.server_port)

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()

    def setUp(self):
        Upstream.revision = 1
        self.tell("/_reset", None)

    def tell(self, path, doc, status=200):
        c = http.client.HTTPConnection("127.0.0.1", self.control.port)
        c.request("POST", path, json.dumps(doc))
        r = c.getresponse()
        r.read()
        c.close()
        self.assertEqual(r.status, status)

    def log(self, path="/_log"):
        c = http.client.HTTPConnection("127.0.0.1", self.control.port)
        c.request("GET", path)
        doc = json.loads(c.getresponse().read())
        c.close()
        return doc

    def script(self, *rules):
        self.tell("/_script", list(rules))

    def get(self, path="/v1/data/x", a=None, b=None, method="GET", body=None,
            klass="fill"):
        """(status, headers, body); a fresh connection."""
        c = http.client.HTTPConnection("127.0.0.1", self.listener.port,
                                       timeout=10)
        headers = {"X-Stagefs-Class": klass}
        if a is not None:
            headers["Range"] = "bytes=%d-%d" % (a, b)
        try:
            c.request(method, path, body, headers)
            r = c.getresponse()
            return r.status, dict(r.getheaders()), r.read()
        finally:
            c.close()

    # -- what goes through, and the counters

    def test_through(self):
        self.assertEqual(self.get()[2], FILE)
        status, headers, body = self.get(a=100, b=199)
        self.assertEqual((status, body), (206, FILE[100:200]))
        self.assertEqual(headers["Content-Range"],
                         "bytes 100-199/%d" % len(FILE))
        self.assertEqual(self.get(method="PUT", body=b"abc")[2], b"abc")
        # What left is counted when it has.
        end = time.monotonic() + 20
        while (log := self.log())["bytes"] < len(FILE) + 103:
            self.assertLess(time.monotonic(), end)
        self.assertEqual(log["requests"], 3)
        self.assertEqual(log["bytes"], len(FILE) + 103)
        self.assertEqual(log["by_class"]["fill"]["requests"], 3)
        self.assertEqual(len(self.log("/_lines")), 3)

    def test_keep_alive(self):
        c = http.client.HTTPConnection("127.0.0.1", self.listener.port)
        for i in range(5):
            c.request("GET", "/v1/data/x", headers={"Range": "bytes=0-9"})
            self.assertEqual(c.getresponse().read(), FILE[:10])
        c.close()

    # -- which requests

    def test_matching(self):
        self.script({"path": "/v1/data/", "class": "demand", "times": 1,
                     "fault": "status", "status": 500},
                    {"range": [1000, 1999], "fault": "status",
                     "status": 501, "name": "r"},
                    {"path": "/v1/manifests/", "nth": 2, "fault": "status",
                     "status": 502})
        self.assertEqual(self.get()[0], 200)
        self.assertEqual(self.get(klass="demand")[0], 500)
        self.assertEqual(self.get(klass="demand")[0], 200)
        self.assertEqual(self.get(a=0, b=999)[0], 206)
        self.assertEqual(self.get(a=0, b=1000)[0], 501)
        self.assertEqual(self.get(a=1999, b=3000)[0], 501)
        self.assertEqual(self.get(a=2000, b=3000)[0], 206)
        self.assertEqual([self.get("/v1/manifests/a")[0] for i in range(3)],
                         [200, 502, 200])
        rules = self.log()["rules"]
        self.assertEqual(rules[1], {"name": "r", "seen": 2, "hits": 2})
        self.tell("/_script", {"fault": "no such"}, 400)
        self.tell("/_script", {"path": "/"}, 400)
        self.tell("/_nothing", {}, 400)

    # -- faults

    def test_cut_short(self):
        for fault, error in (("close", http.client.IncompleteRead),
                             ("reset", (ConnectionResetError,
                                        http.client.IncompleteRead)),
                             ("stall", socket.timeout)):
            self.script({"fault": fault, "after": 1000})
            c = http.client.HTTPConnection("127.0.0.1", self.listener.port,
                                           timeout=0.5)
            c.request("GET", "/v1/data/x", headers={"Range": "bytes=0-9999"})
            r = c.getresponse()
            self.assertEqual(r.status, 206)
            self.assertEqual(r.getheader("Content-Length"), "10000")
            with self.assertRaises(error):
                r.read()
            c.close()
        self.assertEqual(self.log()["bytes"], 3000)
        self.script({"fault": "reset", "after": -1})
        with self.assertRaises((ConnectionError, http.client.HTTPException)):
            self.get()

    def test_wrong_heads(self):
        n = len(FILE)
        for fault, status, value in (
                ("whole", 200, None), ("no-range", 206, None),
                ("wrong-total", 206, "bytes 0-99/%d" % (n + 1)),
                ("wrong-range", 206, "bytes 1048576-1048675/%d" % n)):
            self.script({"fault": fault})
            got = self.get(a=0, b=99)
            self.assertEqual(got[0], status)
            self.assertEqual(got[1].get("Content-Range"), value)
            self.assertEqual(got[2][:100], FILE[:100])
        self.script({"fault": "wrong-length"})
        self.assertEqual(self.get(a=0, b=99)[1]["Content-Length"], "99")
        self.script({"fault": "gzip"})
        got = self.get(a=0, b=99)
        self.assertEqual(got[1]["Content-Encoding"], "gzip")
        self.assertEqual(gzip.decompress(got[2]), FILE[:100])
        self.script({"fault": "long"})
        self.assertEqual(len(self.get(a=0, b=99)[2]), 1100)

    def test_wrong_bytes(self):
        self.script({"fault": "flip", "at": 5})
        got = self.get(a=0, b=99)[2]
        self.assertEqual([i for i in range(100) if got[i] != FILE[i]], [5])
        self.script({"fault": "shift"})
        self.assertEqual(self.get(a=0, b=99)[2],
                         FILE[1 << 20:(1 << 20) + 100])
        end = len(FILE)
        got = self.get(a=end - 100, b=end - 1)
        self.assertEqual(got[1]["Content-Range"],
                         "bytes %d-%d/%d" % (end - 100, end - 1, end))
        self.assertEqual(got[2], FILE[:100])

    def test_redirects(self):
        self.script({"fault": "loop"})
        self.assertEqual(self.get()[1]["Location"], "/v1/data/x")
        self.script({"fault": "redirect", "to": "ftp://x/"})
        self.assertEqual(self.get()[1]["Location"], "ftp://x/")

    def test_not_http(self):
        for fault in ("garbage", "headers"):
            self.script({"fault": fault})
            with self.assertRaises(http.client.HTTPException):
                self.get()
        self.script({"fault": "html"})
        self.assertIn(b"<title>", self.get("/v1/catalog")[2])

    def test_documents(self):
        good = self.get("/v1/catalog")[2]
        self.assertEqual(good, envelope(1))
        self.script({"fault": "forge"})
        line, text = self.get("/v1/catalog")[2].split(b"\n")
        self.assertEqual(text, good.split(b"\n")[1])
        self.assertEqual(len(line), len(good.split(b"\n")[0]))
        self.assertNotEqual(line, good.split(b"\n")[0])
        self.script({"fault": "forge-text"})
        line, text = self.get("/v1/catalog")[2].split(b"\n")
        self.assertEqual(line, good.split(b"\n")[0])
        self.assertEqual(json.loads(text)["revision"], 2)
        self.script({"fault": "truncate"})
        self.assertEqual(self.get("/v1/catalog")[2], good[:len(good) // 2])
        Upstream.revision = 5
        self.script({"fault": "replay", "path": "/v1/catalog"})
        self.assertEqual(self.get("/v1/catalog?since=4")[2], good)
        self.script({"fault": "replace", "with": "/v1/manifests/b"})
        self.assertEqual(self.get("/v1/manifests/a")[2], b"/v1/manifests/b")
        self.script({"fault": "replace", "url": "http://127.0.0.1:%d/v1/"
                     "manifests/c" % self.server.server_port})
        self.assertEqual(self.get("/v1/manifests/a")[2], b"/v1/manifests/c")

    def test_million(self):
        with tempfile.TemporaryDirectory() as d:
            key, pub = d + "/key", d + "/pub"
            subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519",
                            "-out", key], check=True)
            subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out",
                            pub], check=True)
            self.script({"fault": "million", "entries": 12, "page": 5,
                         "key": key})
            since, names = 0, []
            while True:
                body = self.get("/v1/catalog?since=%d" % since)[2]
                line, _, text = body.partition(b"\n")
                with open(d + "/t", "wb") as f:
                    f.write(text)
                with open(d + "/s", "wb") as f:
                    f.write(base64.b64decode(line.split(b" ")[3]))
                subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin",
                                "-pubin", "-inkey", pub, "-in", d + "/t",
                                "-sigfile", d + "/s"], check=True,
                               stdout=subprocess.DEVNULL)
                doc = json.loads(text)
                self.assertEqual(doc["store"], STORE)
                names += [e["name"] for e in doc["entries"]]
                since = doc["revision"]
                if not doc["more"]:
                    break
            self.assertEqual(len(set(names)), 12)
        self.script({"fault": "million", "entries": 20, "page": 0})
        doc = json.loads(self.get("/v1/catalog")[2].partition(b"\n")[2])
        self.assertEqual(len(doc["entries"]), 20)

    # -- time

    def test_slow_delay_and_cap(self):
        """Lower bounds only: those hold on the busiest machine."""
        self.script({"fault": "delay", "seconds": 0.2},
                    {"fault": "slow", "rate": 1 << 20},
                    {"fault": "status", "status": 404, "nth": 2})
        t = time.monotonic()
        self.assertEqual(self.get(a=0, b=(256 << 10) - 1)[0], 206)
        self.assertGreater(time.monotonic() - t, 0.44)
        self.assertEqual(self.get()[0], 404)
        self.script()
        self.tell("/_cap", {"rate": 4 << 20})
        t = time.monotonic()
        self.get(a=0, b=(2 << 20) - 1)
        self.assertGreater(time.monotonic() - t, 0.4)

    def test_down_and_up(self):
        for body in ({}, {"seconds": 0.1}):
            c = http.client.HTTPConnection("127.0.0.1", self.listener.port)
            c.request("GET", "/v1/manifests/a")
            c.getresponse().read()
            self.tell("/_down", body)
            refused = 0
            for i in range(500):
                try:
                    self.get("/v1/manifests/a")
                    if refused:
                        break
                except (OSError, http.client.HTTPException):
                    refused += 1
                    if not body and refused == 1:
                        self.tell("/_up", None)
                time.sleep(0.01)
            self.assertGreater(refused, 0)
            self.assertEqual(self.get("/v1/manifests/a")[0], 200)
            with self.assertRaises((OSError, http.client.HTTPException)):
                c.request("GET", "/v1/manifests/a")
                c.getresponse()
            c.close()


if __name__ == "__main__":
    unittest.main()
