/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.h - what the files of fs/read share; nobody else includes it.
 *
 * Life of a block, as a stream sees it:
 *
 *	missing --want.c--> in a window --arrive.c--> held in memory
 *	   ^                    |                       |      |
 *	   |                    | lost, cancelled       |      | store.c
 *	   +--------------------+                       |      v
 *	   +---- pushed out of the ring (not stored) ---+    stored
 *
 * A read is parked (park.c) under the blocks it lacks. It collects a reference
 * to each block's buffer as it arrives and is answered with the last one.
 *
 * Space is reserved when a block is about to be written, not when it is asked
 * for: a reader that waits must not wait for a victim to be deleted as well
 * (R3). Blocks for which no space can be had stay in memory, in a ring of
 * bounded size, and are then forgotten (C5).
 *
 * References of a stream: the table (until it is swept: once nobody else has
 * one), each open, each parked read, each window, each held block being
 * stored, each prefetch, the fill, the asking for the manifest, the pump's
 * queue.
 */
#ifndef STAGEFS_FS_READ_STREAM_H
#define STAGEFS_FS_READ_STREAM_H

#include <pthread.h>
#include <uthash.h>

#include "common/lock.h"
#include "common/said.h"
#include "fs/read/reader.h"
#include "fs/read/runs.h"

#define WINDOWS_MAX 8		/* look-ahead and fill, per image */
#define WINDOWS_DEMAND_MAX 32	/* demand, per image */
#define PAST_MAX 4096
#define PREFETCH_REPORT_NS (UINT64_C(500) * 1000000)
#define FILL_RETRY_NS (UINT64_C(30) * 1000000000)
#define SPACE_RETRY_NS (UINT64_C(5) * 1000000000)
#define SAY_AGAIN_NS (UINT64_C(60) * 1000000000)

/* A run of blocks in flight. */
struct window {
	struct stream *s;
	uint64_t first, n;
	enum wire_class class_;
	struct fetch_window *fetch;
	struct window *prev, *next;
};

/* A verified block in memory: on its way to the disk, or in the ring. */
struct held {
	struct stream *s;
	uint64_t block;
	struct buf *buf;
	enum wire_class class_;
	struct pool_job job;
	UT_hash_handle hh;
	struct held *prev, *next; /* ring */
	bool in_ring;
};

/* A parked read. */
struct wait {
	struct stream *s;
	struct read_request *req;
	uint64_t offset;
	uint32_t size;
	uint64_t first;	   /* block */
	unsigned n;	   /* blocks */
	unsigned missing;  /* of them not yet to be had */
	bool whole;	   /* waits for the complete version (R9) */
	unsigned tries;    /* stored blocks that could not be read */
	int error;
	uint64_t parked_ns, deadline_ns;
	struct wait *prev, *next;
	struct buf *buf[]; /* n; NULL: stored or missing */
};

struct prefetch {
	struct stream *s;
	uint64_t order;
	enum wire_class class_;
	const struct prefetch_owner *owner;
	void *ctx;
	bool cancelled;
	bool over; /* ended: waits for the pump to say so */
	int error;
	uint64_t reported_ns;
	struct prefetch *prev, *next;
};

struct stream {
	/* set once */
	struct reader *r;
	uint64_t id;
	struct version *v;
	uint64_t n_blocks, size_bytes;
	uint32_t block_bytes;

	UT_hash_handle hh; /* reader's lock */
	unsigned refs;	   /* atomic */

	struct lock lock; /* the rest */
	unsigned opens;
	uint64_t engaged_bytes; /* how much it was read in earnest: R7 */
	struct runs runs;
	bool filling;	/* the whole version is wanted; pinned */
	bool no_store;	/* no space: blocks go to the ring (C5) */
	uint64_t space_retry_ns, fill_retry_ns;
	uint64_t progress_ns;  /* last block that arrived */
	uint64_t timed_out_ns; /* last read that waited in vain */

	bool manifest_asked;
	uint64_t manifest_call; /* of fetch_manifest, 0: none under way */
	struct pool_job manifest_job;
	struct manifest *manifest_new; /* from the call to the job */

	struct wait *parked;
	unsigned n_parked;
	struct window *windows;
	unsigned n_windows;
	struct held *held; /* hash by block */
	struct held *ring; /* oldest first */
	uint64_t ring_bytes;
	struct prefetch *prefetches;

	bool queued; /* pump's lock */
	struct stream *queue_next;
};

/* Of a version that was read and closed again. */
struct past {
	uint64_t id, engaged_bytes;
	UT_hash_handle hh;
};

struct reader {
	struct reader_config cfg; /* set once */
	unsigned n_rings; /* atomic: streams that have one */

	struct lock lock;
	struct stream *streams; /* hash by id */
	struct past *past;	/* hash by id */
	uint64_t clash_told_ns;

	struct lock pump_lock;
	struct wait_cond pump_bell;
	struct wait_cond work_gone;
	struct stream *queue, *queue_end;
	bool stop; /* atomic: nothing new is begun */
	bool quit; /* the pump ends when its queue is empty */
	unsigned work; /* windows, stores and manifest calls under way */
	struct said said[STREAM_FAULTS];
	pthread_t pump;

	/* counters, atomic */
	struct reader_stats stats;
};

#define COUNT(r, field, n) \
	__atomic_add_fetch(&(r)->stats.field, (n), __ATOMIC_RELAXED)

/* reader.c */
struct stream *stream_ref(struct stream *s);
void stream_put(struct stream *s);
/* Has the pump look at the stream soon. Any lock below LOCK_PUMP is fine. */
void stream_ring(struct stream *s);
void work_begin(struct reader *r);
void work_end(struct reader *r);
bool reader_stopping(struct reader *r);
/* What the pump does with a stream that was rung. */
void stream_look(struct stream *s);
/* If not, what is under way for it is cancelled. */
bool stream_wanted_locked(const struct stream *s);

/* park.c */
/* `missed`: not all of it was stored. True: the pump may find more to do. */
bool stream_note_read_locked(struct stream *s, uint64_t offset, uint32_t size,
			     bool missed);
/* Was it read enough to be wanted whole (R7)? */
bool stream_engaged_locked(const struct stream *s);
/* Gives a block to the reads that wait for it; those that have all are moved
 * to *ready. */
void park_deliver_locked(struct stream *s, uint64_t block, struct buf *b,
			 struct wait **ready);
/* Moves reads that wait for this block (UINT64_MAX: all), with this error. */
void park_fail_locked(struct stream *s, uint64_t block, int error,
		      struct wait **failed);
/* The block can be read from the file now: nobody needs it in memory. */
void park_stored_locked(struct stream *s, uint64_t block);
/* Reads that waited for the whole version, which is complete now, or will
 * never be. */
void park_complete_locked(struct stream *s, struct wait **ready);
void park_expire_locked(struct stream *s, uint64_t now_ns,
			struct wait **failed);
/* Answers each with its error or its bytes; frees them. No lock held. */
void park_answer(struct wait *list);

/* want.c: starts what is missing. Pump thread. */
void want_locked(struct stream *s, uint64_t now_ns);
struct window *window_of_locked(struct stream *s, uint64_t block);
void fill_stop_locked(struct stream *s);
void fill_start_locked(struct stream *s);

/* manifest.c: has the pool find it; the pump is rung then. Harmless twice. */
void manifest_want_locked(struct stream *s);
void manifest_cancel_locked(struct stream *s);

/* arrive.c */
extern const struct fetch_owner arrive_owner;

/* store.c */
void store_submit(struct held *h);
void ring_drop_locked(struct stream *s);
/* Down to its share; others may have come to share with. */
void ring_trim_locked(struct stream *s);
/* There is room now: what it has is stored after all. */
void ring_store_locked(struct stream *s);
/* What a ring may have now. */
uint64_t ring_share_bytes(const struct stream *s);
void held_free_locked(struct stream *s, struct held *h);

/* prefetch.c: pump thread, no lock held. */
void prefetch_tick(struct stream *s, uint64_t now_ns);
void prefetch_fail_locked(struct stream *s, int error);

#endif
