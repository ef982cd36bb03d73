/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locks.h - every lock of the worker, in the order in which a thread may take
 * them (lower first), and what each protects. See common/lock.h.
 *
 * None is held over disk, network, a callback or a FUSE reply. In particular
 * no lock that a request handler takes is held while the kernel is notified.
 */
#ifndef STAGEFS_FS_LOCKS_H
#define STAGEFS_FS_LOCKS_H

enum fs_lock_level {
	LOCK_LINK = 4,	     /* worker: what the supervisor has said */
	LOCK_WORKER = 5,     /* worker: whom callbacks reach */
	LOCK_AGENT = 10,     /* agent: orders in work, descriptor's dirt */
	LOCK_STATUS = 12,    /* control socket: its connections */
	LOCK_SCRUB = 14,     /* scrub: its figures */
	LOCK_LOOP = 18,	     /* kernel: end of the request threads */
	LOCK_HANDLES = 20,   /* kernel: open modes by inode */
	LOCK_BACKING = 21,   /* kernel: backing files to be closed */
	LOCK_NOTIFY = 22,    /* kernel: queue of notifications */
	LOCK_PARKED = 24,    /* kernel: list of parked reads */
	LOCK_READER = 30,    /* reader: table of streams */
	LOCK_STREAM = 32,    /* one stream: parked requests, windows, bufs */
	LOCK_PUMP = 34,	     /* reader: queue of streams to look at */
	LOCK_CATALOG = 40,   /* catalog: the tree */
	LOCK_CACHE = 50,     /* cache: table of versions, space, order */
	LOCK_VERSION = 52,   /* one version: bitmap, flags */
	LOCK_CACHE_DB = 54,  /* cache: who has the SQLite handle (cache.c) */
	LOCK_FETCH = 60,     /* fetch: queues of windows, slots */
	LOCK_SOURCES = 62,   /* sources: health and back-off */
	LOCK_BUFS = 64,      /* buffer pool */
	LOCK_HTTP = 66,      /* http: its lines (connections) */
};

#endif
