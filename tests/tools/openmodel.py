#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Opens, reads, completions, evictions, replacements, releases and worker
kills at random on a real mount, against a model of the kernel's rule
(fs/fuse/iomode.c): all opens of an inode are passthrough, with one backing
file, or none is.

    openmodel.py --mount DIR --supervisor PID --stagefs PROGRAM
                 --publish COMMAND --seed N [--rounds N | --while PID] [--kills]
                 NAME=FILE...

Three threads open, read, compare and close all the time. The main thread does
the same with files that it keeps open, and has images evicted, fetched and
(COMMAND FILE NAME) replaced. Every few rounds the others pause, and what the
kernel must have is compared with what there is:

    the session table       one slot for each file that we have open, no other
    its backing files       one per inode that is in passthrough, no other
    who reads               READ requests come for cached opens, for no others
    the metrics             the same counts

In the end, with all files closed: nothing open, nothing registered, neither in
the table nor in the kernel; and each image, complete, is in passthrough again.
No call may ever fail, and all bytes are compared.
"""

import argparse
import collections
import ctypes
import errno
import fcntl
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

SESSION_FD, FUSE_FD = 6, 3  # fs/supervisor/wire.h
MAGIC, LAYOUT = 0x73746773, 3
HEAD_BYTES, BACKINGS_MAX, OPEN_BYTES = 4096, 65536, 32
BACKING_CLOSE = 1 << 30 | 4 << 16 | 229 << 8 | 2  # _IOW(229, 2, uint32_t)
PIDFD_GETFD = 438
KEEP_MAX = 14
LONG_S = 60  # a limit for a broken program


class Wrong(Exception):
    pass


class Session:
    """The table that outlives workers, as the supervisor holds it."""

    def __init__(self, supervisor):
        with open(f"/proc/{supervisor}/fd/{SESSION_FD}", "rb") as f:
            self.map = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        if struct.unpack_from("=II", self.map) != (MAGIC, LAYOUT):
            raise Wrong("the layout of the session area has changed")

    def opens(self):
        """(id, backing id) of each slot in use."""
        end = struct.unpack_from("=I", self.map, 24)[0]
        found = []
        for i in range(end):
            at = HEAD_BYTES + BACKINGS_MAX * 4 + i * OPEN_BYTES
            word, ino, _, backing = struct.unpack_from("=QQQI", self.map, at)
            if word & 3:
                found.append((ino, backing))
        return found

    def backings(self):
        all_ids = struct.unpack_from(f"={BACKINGS_MAX}I", self.map, HEAD_BYTES)
        return sorted(i for i in all_ids if i)


class Images:
    """What each name and each id should read as."""

    def __init__(self, mount, named):
        self.mount = mount
        self.names = sorted(named)
        self.bytes_of = {}
        for name, path in named.items():
            with open(path, "rb") as f:
                self.bytes_of[os.stat(self.path(name)).st_ino] = f.read()

    def path(self, name):
        return os.path.join(self.mount, name)

    def expected(self, ino):
        end = time.monotonic() + LONG_S
        while ino not in self.bytes_of:  # just published
            if time.monotonic() > end:
                raise Wrong(f"id {ino} was never published")
            time.sleep(0.01)
        return self.bytes_of[ino]


class File:
    """An open file, and reads of it that have to be right."""

    def __init__(self, images, name, direct):
        self.name = name
        self.fd = os.open(images.path(name), os.O_RDONLY | os.O_CLOEXEC |
                          (os.O_DIRECT if direct else 0))
        self.ino = os.fstat(self.fd).st_ino
        self.right = images.expected(self.ino)
        self.room = mmap.mmap(-1, 1 << 18)

    def read(self, at, size):
        at = at // 4096 * 4096
        view = memoryview(self.room)[:size]
        n = os.preadv(self.fd, [view], at)
        if bytes(view[:n]) != self.right[at:at + size]:
            raise Wrong(f"{self.name}: wrong bytes at {at}: {n} of {size}")

    def read_anywhere(self, r):
        self.read(r.randrange(len(self.right)), r.choice([4096, 65536, 1 << 18]))

    def read_all(self):
        for at in range(0, len(self.right), 1 << 18):
            self.read(at, 1 << 18)

    def forget(self):
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self):
        os.close(self.fd)


class Pounder(threading.Thread):
    def __init__(self, images, seed, gate):
        super().__init__(daemon=True)
        self.images, self.gate, self.error = images, gate, None
        self.random = random.Random(seed)

    def run(self):
        try:
            while self.gate.enter():
                try:
                    self.once()
                finally:
                    self.gate.leave()
        except Exception as e:  # told by the main thread
            self.error = e

    def once(self):
        r = self.random
        f = File(self.images, r.choice(self.images.names), r.random() < 0.5)
        try:
            for _ in range(r.randrange(3)):
                f.read_anywhere(r)
        finally:
            f.close()


class Gate:
    """Lets the pounders in, or waits until they are out."""

    def __init__(self):
        self.cond = threading.Condition()
        self.inside, self.state = 0, "open"

    def enter(self):
        with self.cond:
            self.cond.wait_for(lambda: self.state != "shut")
            if self.state == "over":
                return False
            self.inside += 1
            return True

    def leave(self):
        with self.cond:
            self.inside -= 1
            self.cond.notify_all()

    def set(self, state):
        with self.cond:
            self.state = state
            self.cond.notify_all()
            if state == "open":
                return
            if not self.cond.wait_for(lambda: self.inside == 0, LONG_S):
                raise Wrong("a reader is stuck")


class Model:
    def __init__(self, args):
        self.args = args
        self.random = random.Random(args.seed)
        named = dict(n.split("=", 1) for n in args.image)
        self.files = list(named.values())
        self.images = Images(args.mount, named)
        self.session = Session(args.supervisor)
        self.kept = []
        self.backing_max = 0
        self.seen = collections.Counter()
        self.killed = 0
        self.gate = Gate()
        self.pounders = [Pounder(self.images, f"{args.seed}.{i}", self.gate)
                         for i in range(3)]

    # ---- what the mount says

    def verb(self, *words):
        return subprocess.run([self.args.stagefs, *words], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False)

    def metrics(self):
        end = time.monotonic() + LONG_S
        while True:  # no worker, perhaps
            out = self.verb("status", "--metrics", self.args.mount)
            if out.returncode == 0:
                break
            if time.monotonic() > end:
                raise Wrong(f"no status: {out.stderr}")
            time.sleep(0.05)
        figures = {}
        for line in out.stdout.splitlines():
            if line.startswith("stagefs_") and "{" not in line:
                name, value = line.split()
                figures[name[8:]] = float(value)
        return figures

    def reads(self):
        m = self.metrics()
        return m["reads_stored_total"] + m["reads_waited_total"]

    def eventually(self, what, truth):
        end = time.monotonic() + LONG_S
        while not truth():
            if time.monotonic() > end:
                raise Wrong(f"never came true: {what}: kept "
                            f"{[(f.name, f.ino) for f in self.kept]}, table "
                            f"{self.session.opens()}, registered "
                            f"{self.session.backings()}")
            time.sleep(0.02)

    # ---- what is done to it

    def open(self):
        if len(self.kept) < KEEP_MAX:
            self.kept.append(File(self.images,
                                  self.random.choice(self.images.names), False))

    def close(self):
        if self.kept:
            self.kept.pop(self.random.randrange(len(self.kept))).close()

    def read(self):
        if self.kept:
            self.random.choice(self.kept).read_anywhere(self.random)

    def read_all(self):
        if self.kept:
            f = self.random.choice(self.kept)
            if self.random.random() < 0.5:
                f.forget()
            f.read_all()

    def evict(self):
        """Sometimes with nobody else there, or it would hardly ever happen."""
        if self.random.random() < 0.5:
            self.gate.set("shut")
        try:
            self.evict_one(self.random.choice(self.images.names))
        finally:
            self.gate.set("open")

    def evict_one(self, name):
        ino = os.stat(self.images.path(name)).st_ino
        out = self.verb("evict", self.args.mount, name)
        if out.returncode == 0:
            self.seen["evicted"] += 1
            if any(f.ino == ino for f in self.kept):
                raise Wrong(f"{name} was evicted while it is open")
        elif "open" in out.stderr:
            self.seen["evict refused"] += 1

    def fetch(self):
        name = self.random.choice(self.images.names)
        self.verb("fetch", self.args.mount, name)

    def replace(self):
        name = self.random.choice(self.images.names)
        path = self.random.choice(self.files)
        was = os.stat(self.images.path(name)).st_ino
        with open(path, "rb") as f:
            right = f.read()
        if self.images.expected(was) == right:
            return
        subprocess.run([*self.args.publish.split(), path, name], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.eventually("the new version is seen", lambda: os.stat(
            self.images.path(name)).st_ino != was)
        self.images.bytes_of[os.stat(self.images.path(name)).st_ino] = right
        self.seen["replaced"] += 1

    def workers(self):
        with open(f"/proc/{self.args.supervisor}/task/"
                  f"{self.args.supervisor}/children", encoding="ascii") as f:
            return [int(p) for p in f.read().split()]

    def kill(self):
        if not self.args.kills:
            return
        for pid in self.workers():
            try:
                os.kill(pid, signal.SIGKILL)
                self.killed = pid
                self.seen["killed"] += 1
            except ProcessLookupError:
                pass

    def revived(self):
        now = self.workers()
        return now and self.killed not in now

    def kill_client(self):
        """One whose open is answered, or not, or not yet, or anew."""
        name = self.random.choice(self.images.names)
        client = subprocess.Popen(["head", "-c", "100000",
                                   self.images.path(name)],
                                  stdout=subprocess.DEVNULL)
        time.sleep(self.random.random() * 0.01)
        if self.random.random() < 0.3:
            self.kill()
        client.kill()
        client.wait()
        self.seen["clients killed"] += 1

    # ---- what has to be true

    def quiet(self):
        """The others are out, so the kernel has open what we have."""
        self.gate.set("shut")
        for p in self.pounders:
            if p.error:
                raise p.error
        self.eventually("there is a worker", self.revived)
        ours = collections.Counter(f.ino for f in self.kept)
        self.eventually("the table is what we have open", lambda: ours ==
                        collections.Counter(i for i, _ in self.session.opens()))
        mode = {}
        for ino, backing in self.session.opens():
            if mode.setdefault(ino, backing) != backing:
                raise Wrong(f"id {ino}: {mode[ino]} and {backing} at once")
        used = sorted(b for b in mode.values() if b)
        self.eventually("what is registered is used",
                        lambda: self.session.backings() == used)
        self.backing_max = max([self.backing_max, *used])
        self.who_reads(mode)
        m = self.metrics()  # made anew from the table after each kill
        if (m["open_images"], m["open_images_passthrough"]) != (len(mode), len(used)):
            raise Wrong(f"metrics: {m['open_images']} open, "
                        f"{m['open_images_passthrough']} passthrough, "
                        f"not {len(mode)}, {len(used)}")

    def who_reads(self, mode):
        passing = [f for f in self.kept if mode[f.ino]]
        cached = [f for f in self.kept if not mode[f.ino]]
        if self.args.during:  # figures may be lost at any time
            return
        before = self.reads()
        for f in passing:
            f.forget()
            f.read_anywhere(self.random)
        between = self.reads()
        for f in cached:
            f.forget()
            f.read_anywhere(self.random)
        after = self.reads()
        if between != before:
            raise Wrong(f"{between - before} READs of passthrough opens")
        if after - between < len(cached):
            raise Wrong(f"{after - between} READs of {len(cached)} cached opens")
        self.seen["passthrough"] += len(passing)
        self.seen["cached"] += len(cached)

    def passes(self, name):
        f = File(self.images, name, False)
        self.kept.append(f)
        self.eventually("an open is counted", lambda: self.session.opens())
        self.backing_max = max([self.backing_max, *self.session.backings()])
        passes = bool(self.session.backings())
        f.read_all()
        self.close()
        self.eventually("it is closed", lambda: not self.session.opens())
        return passes

    def nothing_left(self):
        self.gate.set("over")
        while self.kept:
            self.close()
        self.eventually("nothing is open", lambda: not self.session.opens())
        self.eventually("nothing is registered",
                        lambda: not self.session.backings())
        for name in self.images.names:
            self.eventually("complete", lambda: self.verb(
                "fetch", self.args.mount, name).returncode == 0)
            self.eventually(f"{name} is passthrough, with nobody else",
                            lambda: self.passes(name))
        self.eventually("nothing is registered",
                        lambda: not self.session.backings())
        self.kernel_has_none()

    def kernel_has_none(self):
        """Not even one that the table has lost."""
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.syscall(PIDFD_GETFD, os.pidfd_open(self.args.supervisor),
                          FUSE_FD, 0)
        if fd < 0:
            raise Wrong(os.strerror(ctypes.get_errno()))
        for i in range(1, self.backing_max + 1):
            try:
                fcntl.ioctl(fd, BACKING_CLOSE, struct.pack("=I", i))
            except OSError as e:
                if e.errno == errno.ENOENT:
                    continue
                raise
            raise Wrong(f"backing file {i} was left registered")
        os.close(fd)

    # ---- all of it

    def going_on(self, rounds):
        if self.args.during:
            return os.path.exists(f"/proc/{self.args.during}")
        return rounds < self.args.rounds

    def run(self):
        deeds = [self.open] * 6 + [self.close] * 5 + [self.read] * 6 + \
                [self.read_all, self.evict, self.evict, self.fetch, self.kill,
                 self.kill_client]
        for p in self.pounders:
            p.start()
        rounds = 0
        while self.going_on(rounds):
            rounds += 1
            self.random.choice(deeds)()
            if rounds % 40 == 0 and not self.args.during:
                self.replace()
            if rounds % 10 == 0:
                self.quiet()
                if rounds % 100 == 0:  # from none at all
                    while self.kept:
                        self.close()
                    self.quiet()
                self.gate.set("open")
        self.quiet()
        self.nothing_left()
        print(f"{rounds} rounds: {dict(self.seen)}, "
              f"{self.backing_max} files registered")


def main():
    p = argparse.ArgumentParser()
    for name in ("mount", "stagefs", "publish", "seed"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--supervisor", type=int, required=True)
    p.add_argument("--rounds", type=int, default=0)
    p.add_argument("--while", dest="during", type=int)
    p.add_argument("--kills", action="store_true")
    p.add_argument("image", nargs="+")
    model = Model(p.parse_args())
    try:
        model.run()
    except (Wrong, OSError) as e:
        sys.exit(f"openmodel: seed {model.args.seed}: {type(e).__name__}: {e}")


if __name__ == "__main__":
    main()
