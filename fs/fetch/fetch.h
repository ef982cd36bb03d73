/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch.h - windows of blocks from the origin, verified (DESIGN.md section 8).
 *
 * A window is a run of blocks of one version, asked for in one range request.
 * Windows wait in a queue by class (R5) for one of the connections; bytes go
 * straight into block buffers; a full block is hashed on the pool and handed
 * to the owner, or, if it is wrong, asked for again from another source. The
 * fetcher knows no files and no readers.
 *
 * It retries by itself, with back-off, for as long as the window is not
 * cancelled: an unreachable origin is not an error here (the reader has the
 * deadline). What it gives up at once: no source has right bytes (-EIO), no
 * source has the version (-ENOENT).
 *
 * Threads: fetch_* may be called from any thread and never block. Callbacks
 * come from a pool thread or the network thread, with no lock held, and may
 * call fetch_* themselves.
 */
#ifndef STAGEFS_FS_FETCH_FETCH_H
#define STAGEFS_FS_FETCH_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/manifest.h"
#include "common/pool.h"
#include "common/wire.h"
#include "fs/fetch/buf.h"
#include "fs/fetch/sources.h"

struct fetch;
struct fetch_window;

struct fetch_config {
	struct sources *sources; /* outlives the fetcher */
	struct pool *pool;	 /* for hashing; outlives the fetcher */
	const char *server;	 /* our name */
	const char *ca_file;	 /* or NULL */
	uint64_t memory_bytes;	 /* block buffers */
	unsigned max_connections;	/* 0: 32 */
	uint32_t stall_ms;	 /* a transfer without a byte: 0 is 10 s */
};

struct fetch_owner {
	/*
	 * Block `i` arrived and is verified; the callee owns one reference of
	 * `b`. Pool thread. May still come after fetch_cancel, until `end`: the
	 * bytes are right, and paid for.
	 */
	void (*block)(void *ctx, uint64_t i, struct buf *b);
	/* Block `i` cannot be had: -EIO or -ENOENT. */
	void (*lost)(void *ctx, uint64_t i, int error);
	/* The last call: every block was handed over, lost, or the window was
	 * cancelled. The window is gone. */
	void (*end)(void *ctx);
};

int fetch_new(const struct fetch_config *cfg, struct fetch **ret,
	      struct err *e);
/* Cancels what is left, waits for the last callback. The owners have put their
 * buffers back before. */
void fetch_free(struct fetch *f);

/*
 * Asks for blocks [first, first + n) of `m`. `m` has to stay valid until
 * `end`. Returns NULL when out of memory only. The window is valid until
 * `end` is called: the owner synchronises that itself.
 */
struct fetch_window *fetch_start(struct fetch *f, const struct manifest *m,
				 uint64_t first, uint64_t n,
				 enum wire_class class_, uint64_t order,
				 const struct fetch_owner *owner, void *ctx);
/* To a more urgent class; waiting or in flight. */
void fetch_promote(struct fetch *f, struct fetch_window *w,
		   enum wire_class class_);
void fetch_cancel(struct fetch *f, struct fetch_window *w);

/*
 * The manifest of a version, verified against its digest; the callback owns
 * it. error: 0, -ENOENT, -EIO (no source has a right one), -ECANCELED.
 * Returns a number for fetch_manifest_cancel; 0 when out of memory, and then
 * there is no callback.
 */
uint64_t fetch_manifest(struct fetch *f, const struct digest *digest,
			enum wire_class class_,
			void (*done)(void *ctx, struct manifest *m, int error),
			void *ctx);
void fetch_manifest_cancel(struct fetch *f, uint64_t number);

/* How many bytes a window should have now: about half a second of what one
 * connection gave lately, 1 to 16 MiB. */
uint64_t fetch_window_bytes(struct fetch *f);

struct fetch_stats {
	uint64_t requests[CLASS_COUNT];
	uint64_t bytes[CLASS_COUNT];	/* verified blocks */
	uint64_t blocks_bad, retries, wrong_status, wrong_range, short_body,
		stalls;
	uint64_t in_flight, waiting;
	uint64_t buffers_bytes;
	uint64_t rate_bps;		/* over the last seconds */
};
void fetch_stats(struct fetch *f, struct fetch_stats *ret);

#endif
