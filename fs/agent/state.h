/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - what the agent's parts share.
 *
 *	channel.c	thread "agent": asks for orders, syncs the catalog
 *	orders.c	thread "orders": their table and queue
 *	carry.c		carries out one of them
 *	report.c	thread "report": results, progress, descriptor
 *	descriptor.c	makes descriptors (report thread only)
 *	agent.c		life, the questions of others, one HTTP exchange
 */
#ifndef STAGEFS_FS_AGENT_STATE_H
#define STAGEFS_FS_AGENT_STATE_H

#include <pthread.h>
#include <uthash.h>

#include "common/clock.h"
#include "common/lock.h"
#include "common/said.h"
#include "fs/agent/agent.h"

#define REPORT_EVERY_NS NS_PER_S /* progress of one order */
#define ANSWER_MS 30000		 /* longest time of a short exchange */
#define REFUSED_RETRY_S 15	 /* after an answer that was refused */

/* Ended orders that are remembered, so that one that is ordered again is
 * answered and not done again; and orders in work. */
#define WORK_ENDED_MAX 2000u
#define WORK_OPEN_MAX 10000u

enum work_stage { WORK_QUEUED, WORK_RUNNING, WORK_ENDED };

/* One order. All of it is under the agent's lock, but for `o`, set once. */
struct work {
	struct agent *a;
	struct wire_order o;
	enum work_stage stage;
	unsigned holds; /* who will touch it: the orders thread, the reader */
	bool cancelled;
	bool over;		   /* its prefetch has ended */
	struct prefetch *prefetch; /* until then */
	struct wire_report report;
	unsigned version;  /* counts changes of `report` */
	unsigned reported; /* the last version the origin has */
	uint64_t reported_ns;
	struct work *next; /* in the queue */
	UT_hash_handle hh;
};

/* What the origin was told last of one image. Report thread only. */
struct told {
	uint64_t id;
	uint64_t stored_bytes;
	int64_t held_until_s;
	enum wire_image_state state;
	bool open, seen;
	UT_hash_handle hh;
};

struct dirty {
	uint64_t id;
	UT_hash_handle hh;
};

struct agent {
	struct agent_config cfg; /* set once */
	char *name;
	struct sign_public pin;
	char boot[UUID_TEXT], time_zone[64];
	pthread_t channel, orders, reporter;
	unsigned n_threads;

	struct lock lock; /* protects what follows */
	struct wait_cond channel_wake, orders_wake, report_wake, state_wake;
	bool stop;

	struct work *works; /* by number */
	struct work *queue, **queue_end;
	unsigned n_open, n_ended;

	uint32_t doubted; /* sources whose answer was refused: a bit each */
	uint64_t doubted_until_ns;

	struct dirty *dirty; /* ids whose descriptor may have changed */
	bool need_full, dirty_head;

	bool connected, synced, refused;
	int sync_error;
	struct err sync_why;
	struct agent_stats stats;

	/* the channel thread's: why answers were refused; several reasons may
	 * come in turn, of the catalog and of orders, of one source and
	 * another */
	struct said refusals;

	/* the report thread's */
	struct told *told;
	uint64_t seq, base;
	struct wire_descriptor last; /* figures as told last; no lists */
};

/* ---- agent.c ----------------------------------------------------------- */

struct ask {
	const char *method;
	const char *path; /* "/v1/..." */
	const char *body, *content_type, *etag;
	size_t body_n, max_bytes;
	uint32_t timeout_ms;
	uint64_t when_ns; /* of -EAGAIN: no source may be asked before */
	size_t source;	  /* that was asked */
};

/*
 * Asks a source that is fit to be asked. 0: *ret is an answer (clear it) with
 * a status below 500. -EAGAIN: see when_ns. Else the exchange failed, which
 * the sources have been told; -ECANCELED: stopping.
 */
int agent_ask(struct agent *a, struct ask *q, struct http_answer *ret,
	      struct err *e);
/*
 * What this source answered was refused: others are asked for a while, if any
 * of them answers. False if that is no news, or there are no others.
 */
bool agent_doubt(struct agent *a, size_t source);
bool agent_stopping(struct agent *a);
/* Its threads come round within this; one whole catalog takes long. */
#define AGENT_ROUND_NS (300 * NS_PER_S)
/* Until woken, until then, or for a round of the pulse. */
void agent_wait_locked(struct agent *a, struct wait_cond *c, uint64_t ns);
/* Sleeps until then, or until stopping. */
void agent_sleep_until(struct agent *a, struct wait_cond *c, uint64_t ns);

/* ---- channel.c, orders.c, report.c ------------------------------------- */

void *channel_main(void *agent);
void *orders_main(void *agent);
void *report_main(void *agent);

/* Orders as they came: new ones are queued, known ones reported again. */
void orders_take(struct agent *a, struct wire_orders *o);
/* Cancels all that is in work and waits for the last callback. */
void orders_end(struct agent *a);
void orders_free(struct agent *a);
/* Its result; harmless if it has one. */
void work_end_locked(struct work *w, bool done, const char *message);
void work_run(struct work *w);
/* Notes a change of w->report; wakes the report thread. */
void work_changed_locked(struct work *w);

/* ---- channel.c --------------------------------------------------------- */

/* How long to wait after so many answers in a row that came at once and had
 * nothing new: 0 for the first, then 0.1 s and doubled, up to 5 s. */
uint64_t channel_pause_ns(unsigned in_vain);

/* ---- descriptor.c ------------------------------------------------------ */

/*
 * Makes the next one: full, or of these ids, or (`scan`) of all that differ
 * from what was told. 0; -EALREADY: there is nothing to tell; -ENOMEM.
 */
int descriptor_make(struct agent *a, bool full, bool scan, const uint64_t *id,
		    size_t n, struct wire_descriptor *ret);
/* The origin has it. */
void descriptor_told(struct agent *a, const struct wire_descriptor *d);
/* Marks as changed what was told as open or fetching: that ends without a
 * callback. */
void descriptor_recheck(struct agent *a);
void descriptor_forget(struct agent *a);
void descriptor_time_zone(char *out, size_t size);

#endif
