/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.h - the inside of the fetcher, shared by its files:
 *
 *	fetch.c     what others call: tasks come, change, go
 *	net.c       the network thread: which task gets a connection, who pauses
 *	transfer.c  one HTTP transfer: request, checks, bytes into blocks
 *	outcome.c   how a transfer went: who is to blame, when to try again
 *	verify.c    hashing on the pool, and what follows from its result
 *
 * A task is a window of blocks or a manifest:
 *
 *	  fetch_start         net_start           last byte
 *	------------> QUEUED ----------> RUNNING ----------> CHECKING --> end
 *	                ^                   |                   |
 *	                +-------------------+-------------------+
 *	                  lost connection, bad block: what is missing
 *
 * and from everywhere, when cancelled, to its end as soon as no transfer and
 * no thread of the pool has it in hand. Only the network thread takes it out
 * of QUEUED and RUNNING; whoever sees the last check end in CHECKING goes on.
 */
#ifndef STAGEFS_FS_FETCH_TASK_H
#define STAGEFS_FS_FETCH_TASK_H

#include <stdatomic.h>

#include <curl/curl.h>

#include "common/lock.h"
#include "fs/fetch/fetch.h"
#include "fs/fetch/rate.h"

enum task_state {
	TASK_QUEUED,
	TASK_RUNNING,  /* a slot has it, or the network thread ends it */
	TASK_CHECKING, /* nothing to fetch, threads of the pool hash */
};

struct task {
	/* set once */
	struct fetch *f;
	bool is_window;
	const struct digest *digest; /* of the version */
	uint64_t order;

	/* f->lock */
	enum wire_class class_;
	enum task_state state;
	bool cancelled;
	bool cut;	      /* end the running transfer: its source lied */
	size_t source;	      /* of the running transfer */
	unsigned checks;      /* jobs on the pool */
	uint32_t absent;      /* sources that do not have it */
	uint32_t useless;     /* that answered in vain, this time round */
	unsigned fails;	      /* answers in a row that were no use */
	uint64_t not_before_ns;
	struct task *prev, *next;	  /* queue of its class */
	struct task *all_prev, *all_next; /* all of f */
};

struct fetch_window {
	struct task task;

	/* set once */
	const struct manifest *m;
	uint64_t first, n;
	const struct fetch_owner *owner;
	void *ctx;

	/* f->lock */
	uint8_t got[]; /* per block: arrived (perhaps unverified) or lost */
};

struct manifest_task {
	struct task task;

	/* set once */
	struct digest digest;
	uint64_t number;
	void (*done)(void *ctx, struct manifest *m, int error);
	void *ctx;

	/* who has the task in hand */
	struct manifest *m;
	int error; /* -ECANCELED until it is known better */
};

/* A block on its way from the socket through the hash to the owner. */
struct piece {
	struct pool_job job;
	struct fetch_window *w;
	uint64_t i;	/* of the image */
	uint32_t length;
	size_t source;
	struct buf *buf;
};

/* What ended a transfer early. */
enum fault {
	FAULT_NONE,
	FAULT_STATUS,
	FAULT_RANGE,
	FAULT_ENCODED,
	FAULT_ABSENT,
	FAULT_LONG,	/* more bytes than announced */
	FAULT_HEADERS,	/* endless headers */
	FAULT_STALL,
	FAULT_CUT,	/* by us, nobody's fault */
	FAULT_MEMORY,
	FAULT_COUNT
};

/* One connection's worth of work. Network thread only. */
struct slot {
	struct fetch *f;
	CURL *easy;
	struct task *task; /* NULL: free */
	size_t source;
	enum wire_class class_;	    /* the task's, as of this round */
	enum wire_class sent_class; /* what the source was told */
	uint64_t first, last, total; /* bytes of the image, inclusive */
	uint64_t pos;		     /* next byte */
	bool head_ok, worked;
	bool ended; /* in good order, as far as HTTP goes */
	bool paused;
	bool dry; /* paused for lack of a buffer */
	enum fault fault;
	uint64_t header_bytes, refused_bytes, got_bytes;
	uint64_t start_ns, last_ns, paused_ns, paused_since_ns;
	uint64_t mark_ns, mark_bytes; /* of the body: see trickles() */

	struct piece *piece; /* the block being filled */
	uint8_t *stash;	     /* bytes of the next one, no buffer yet */
	size_t stash_n;

	char *doc; /* body of a manifest */
	size_t doc_n, doc_room;

	struct curl_slist *headers;
	char error[CURL_ERROR_SIZE]; /* curl's own words */
	char said[128];		     /* what was wrong with the head */
};

/* Did all come that was asked for? */
static inline bool slot_complete(const struct slot *s)
{
	return s->head_ok && (s->task->is_window ? s->pos > s->last : s->ended);
}

struct fetch {
	/* set once */
	struct sources *sources;
	struct pool *pool;
	struct buf_pool *bufs;
	char *server, *ca_file;
	unsigned n_slots;
	uint32_t stall_ms;
	pthread_t thread;
	CURLM *multi;

	/* network thread only */
	struct slot *slot;
	uint64_t now_ns;
	uint64_t wait_until_ns; /* something queued becomes possible then */
	uint64_t tried_room_ns; /* when buffers were last looked for */
	/* When each kind of failure was last said, by fault or curl's code. */
	uint64_t told_ns[SOURCES_MAX][FAULT_COUNT + CURL_LAST];
	bool demand_waits; /* some transfer is for a reader who waits */
	bool demand_dry;   /* and has no buffer */

	atomic_bool woken; /* a wakeup is on its way */
	atomic_bool room;  /* buffers came back */
	atomic_uint_least64_t average_bps;

	struct lock lock; /* the rest, and what tasks say */
	struct wait_cond gone; /* n_live became 0 */
	struct task *queue[CLASS_COUNT];
	struct task *all;
	struct task *dead; /* were queued when cancelled */
	uint64_t n_live, n_queued, n_running, last_number;
	bool quit;
	struct rate rate;
	struct fetch_stats stats;
};

/* fetch.c */
void fetch_wake(struct fetch *f);
void task_enqueue_locked(struct task *t, bool front);
void task_dequeue_locked(struct task *t);
/* No transfer, no check, nothing to fetch: tells the owner, frees. No lock. */
void task_end(struct task *t);
/* What is next for a task without a transfer: queue, wait for its checks, or
 * true: end it (by the caller, without the lock). */
bool task_settle_locked(struct task *t);
bool task_missing_locked(const struct task *t, uint64_t *ret_first,
			 uint64_t *ret_end);

/* net.c */
void *net_main(void *fetch);

/* transfer.c */
int slot_init(struct slot *s, struct fetch *f);
void slot_free(struct slot *s);
/* Starts the transfer of what `t` misses: [first, end) of its blocks. */
int slot_start(struct slot *s, struct task *t, size_t source, uint64_t first,
	       uint64_t end);
/* Lets it go on if it may. */
void slot_resume(struct slot *s);
/* The transfer is over: frees the slot, moves the task on. */
void slot_end(struct slot *s, CURLcode code);

/* outcome.c */
/* Why the source is to blame, for status and log; NULL: it is not. */
const char *outcome_why(const struct slot *s, CURLcode code);
/* Tells the source's health and the speed. No lock. */
void outcome_tell(struct slot *s, CURLcode code, const char *why);
/* Counts, and says when the task may be tried again. */
void outcome_note_locked(struct slot *s, CURLcode code, const char *why);

/* verify.c */
void piece_submit(struct piece *p, enum wire_class class_);
int manifest_submit(struct manifest_task *mt, char *doc, size_t n,
		    size_t source, enum wire_class class_);

#endif
