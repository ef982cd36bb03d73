/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader.h - reads that wait, and what is fetched for them (R2 to R9).
 *
 * A stream is a version in use: its parked reads, its windows in flight, its
 * look-ahead. All opens of one version share one stream, so a block is
 * fetched once (R2) and look-ahead belongs to the image (R6). A read whose
 * blocks are all stored never comes here: see stream_stored.
 *
 * Parking costs no thread (R4). One thread, the pump, turns what streams want
 * into reserved space and fetch windows; FUSE threads only park and ring its
 * bell. Answers come from pool threads, as soon as the last block that a read
 * waits for is verified (R3); the block is stored after that.
 *
 * The reader knows no FUSE: an answer is a callback.
 */
#ifndef STAGEFS_FS_READ_READER_H
#define STAGEFS_FS_READ_READER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/pool.h"
#include "fs/cache/cache.h"
#include "fs/fetch/fetch.h"

struct reader;
struct stream;

struct reader_config {
	struct cache *cache; /* these three outlive the reader */
	struct fetch *fetch;
	struct pool *pool;
	uint64_t fill_after_bytes; /* R7; UINT64_MAX: never fill */
	uint32_t io_timeout_ms;
	uint64_t look_ahead_bytes; /* 0: 32 MiB */
	/* Verified blocks of all images that are kept in memory because they
	 * cannot be stored (C5); well below the fetcher's memory_bytes, out
	 * of which they are. 0: 64 MiB. */
	uint64_t ring_bytes;
	bool serve_complete;	   /* R9 */
};

int reader_new(const struct reader_config *cfg, struct reader **ret);
/* Answers all parked reads with -EIO, ends all work, joins. */
void reader_free(struct reader *r);

/* One open of a version: pins it. Touches neither network nor disk. */
int reader_open(struct reader *r, const struct version_ident *ident,
		struct stream **ret);
void reader_close(struct stream *s);
struct version *stream_version(struct stream *s);

/* Are all bytes of [offset, offset + size) in the cache file (and, with
 * serve=complete, the whole version)? Then read them from version_fd. Also
 * counts the read for R7 and look-ahead. */
bool stream_stored(struct stream *s, uint64_t offset, uint32_t size);

/*
 * A read that waits. The caller owns the memory and keeps it until `answer`,
 * which is called exactly once, from this call or from another thread, with
 * no lock held. On success `iov` covers exactly the bytes asked for (cut at
 * the end of the image) and is valid during the call. error: 0, -EIO,
 * -ETIMEDOUT, -EINTR, -ENOENT (the origin has it no more).
 */
struct read_request {
	uint64_t offset;
	uint32_t size;
	void (*answer)(struct read_request *r, const struct iovec *iov,
		       int n_iov, int error);
	void *parked; /* the reader's */
};
void stream_read(struct stream *s, struct read_request *r);
/* Answers it with `error` if it is still parked; harmless if it is not. The
 * caller makes sure that the memory is still there. */
void stream_cancel(struct stream *s, struct read_request *r, int error);
enum stream_fault {
	STREAM_LOST,	   /* no source has right bytes */
	STREAM_UNSTORED,   /* served from memory */
	STREAM_UNREADABLE, /* what is stored cannot be read */
	STREAM_FAULTS
};
/* May a line about it go to the log? Not one for each block, and not about each
 * of all images. Any lock below LOCK_PUMP is fine. */
bool stream_says(struct stream *s, enum stream_fault what);
/* Reading stored bytes failed or they are known bad: forget these blocks, so
 * that a stream_read fetches them again (C6, C7). */
void stream_forget(struct stream *s, uint64_t offset, uint32_t size);

/* ---- prefetch (orders, `stagefs fetch`) -------------------------------- */

struct prefetch;

struct prefetch_owner {
	/* Now and then (at most twice a second), and at the end: error 0 with
	 * stored == size when every block is verified and on disk; -ENOSPC
	 * (does not fit without evicting what is held or open), -EIO, -ENOENT,
	 * -ECANCELED. No lock held; not from reader_prefetch itself. */
	void (*progress)(void *ctx, uint64_t stored, uint64_t size);
	void (*end)(void *ctx, uint64_t stored, uint64_t size, int error);
};

int reader_prefetch(struct reader *r, const struct version_ident *ident,
		    uint64_t order, enum wire_class class_,
		    const struct prefetch_owner *owner, void *ctx,
		    struct prefetch **ret);
/* `end` follows with -ECANCELED, or has been called already. The handle is
 * valid until `end`. */
void reader_prefetch_cancel(struct reader *r, struct prefetch *p);

/* ---- fills --------------------------------------------------------------- */

/* Fetches all that is missing of a version, for nobody in particular, as if
 * it had been read enough (R7): what a scrub found bad, for one. */
int reader_fill(struct reader *r, const struct version_ident *ident);
/* Goes on with all fills that an earlier process had begun. */
void reader_resume(struct reader *r);

/* The same error as a line of text; returns it. */
int prefetch_why(struct cache *c, uint64_t stored, uint64_t size, int error,
		 struct err *e);

/* Is anything fetching this version (state "fetching")? */
bool reader_active(struct reader *r, uint64_t id);

/* Who wants a version just now, beside those who have it open. */
struct reader_wants {
	unsigned parked;     /* reads that wait */
	unsigned prefetches;
	unsigned windows;    /* range requests in flight */
	bool filling;
	uint64_t retry_ms;   /* what failed is tried again after so long */
};
/* All 0 if nobody does. */
void reader_wants(struct reader *r, uint64_t id, struct reader_wants *ret);

struct reader_stats {
	uint64_t reads_stored, reads_waited, reads_failed, reads_timed_out;
	uint64_t bytes_stored, bytes_waited;
	uint64_t parked, streams;
	uint64_t wait_ns_total; /* of reads_waited */
	uint64_t from_memory;	/* blocks served without being stored */
};
void reader_stats(struct reader *r, struct reader_stats *ret);

#endif
