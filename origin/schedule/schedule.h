/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule.h - from plan, descriptors, rates and now to jobs and orders: a
 * pure function. It reads no clock, no database, no network; the scheduler
 * (scheduler.h) runs it on the database, `plan check` runs it ahead of time.
 *
 * Model
 *  - A *want* is one occurrence of a plan entry: a version has to be complete
 *    on a server at `at_s`, and stays held there until `until_s`. Wants of one
 *    server and version whose spans meet are served by one transfer.
 *  - A transfer begins `lead_s` before it is due, or earlier if the rates are
 *    such that it (and all others) would otherwise come late: as late as
 *    possible with `margin` more bytes and `margin_s` less time.
 *  - Transfers go earliest deadline first, then by priority (higher first),
 *    then by entry, within the shared rate and each server's own.
 *  - Space: what a server has free, then what it may evict in stored order.
 *    Nothing held or open is evicted; where that is all there is, the transfer
 *    waits for the hold to end.
 *  - Orders follow: hold, release, reclaim, prefetch, cancel. Nothing is
 *    ordered that is ordered already, so running it again changes nothing.
 */
#ifndef STAGEFS_ORIGIN_SCHEDULE_SCHEDULE_H
#define STAGEFS_ORIGIN_SCHEDULE_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire.h"
#include "origin/schedule/rates.h"

enum job_state {
	JOB_WAITING, /* its time to start has not come, or something lacks */
	JOB_STAGING, /* ordered */
	JOB_STAGED,  /* complete and verified, says the server */
	JOB_LATE,    /* its time has come and it is not staged */
	JOB_FAILED,  /* cannot be, or the last try failed: see message */
	JOB_STATE_COUNT
};
const char *job_state_name(enum job_state s);

/* ---- what goes in ------------------------------------------------------- */

/* A version that a server stores. */
struct sched_image {
	uint64_t id;
	const char *name;
	uint64_t size_bytes, stored_bytes;
	uint64_t stored_seq;
	int64_t held_until_s;
	bool complete; /* and its digest is the catalog's */
	bool open;
	bool held_by_plan; /* an order of a job gave it this hold */
};

struct sched_server {
	const char *name;
	bool known;	/* has described itself */
	int64_t seen_s; /* last */
	uint64_t capacity_bytes, free_bytes, reserved_bytes;
	const struct sched_image *image; /* in any order */
	size_t n_images;
	const struct rates *rates; /* NULL: no limit of its own. Servers with
				      the same table may share one. */
};

struct sched_want {
	int64_t entry, priority;
	int64_t at_s, until_s; /* until: of the hold; > at */
	size_t server;	       /* index */
	const char *image;     /* name */
	uint64_t id;	       /* its version now; 0: there is no such image */
	uint64_t size_bytes;
	/* From the last run */
	uint64_t job;	  /* number, for orders; 0: a trial, never ordered */
	int64_t staged_s; /* since when it is staged; 0: it is not */
	int64_t start_s;  /* if it is: when it was begun */
};

/* An order of a server: all that are open, and those that became final within
 * SCHED_ORDERS_KEPT_S. In order of their numbers. */
struct sched_order {
	uint64_t number;
	size_t server;
	enum wire_order_kind kind;
	uint64_t id;
	enum { SCHED_OPEN, SCHED_DONE, SCHED_FAILED, SCHED_CANCELLED } state;
	bool sent;
	uint64_t job; /* 0: by hand */
	int64_t hold_until_s;
	uint64_t bytes, stored_bytes;
	int64_t created_s, updated_s;
	const char *message;
};
#define SCHED_ORDERS_KEPT_S 7200

struct sched_input {
	int64_t now_s;
	const struct sched_server *server;
	size_t n_servers;
	const struct sched_want *want;
	size_t n_wants;
	const struct sched_order *order;
	size_t n_orders;
	const struct rates *rates; /* for all prefetch together; may be NULL */
	uint64_t link_bps;	   /* of the interface; 0: unknown */
	uint64_t demand_bps, other_bps; /* measured lately */
	uint64_t assumed_bps; /* where nothing limits: for estimates */
	int64_t lead_s;
	double margin;	  /* 0.2: plan for a fifth more bytes */
	int64_t margin_s; /* and to be done so much before */
};

/* ---- what comes out ----------------------------------------------------- */

#define SCHED_MESSAGE 320

struct sched_job { /* one per want, same index */
	enum job_state state;
	int64_t start_s;    /* planned, or when it was ordered; 0: unknown */
	int64_t expected_s; /* when it will be, or was, staged; 0: unknown */
	int64_t late_s;	    /* expected (or now) after `at`; 0: in time */
	int64_t staged_s;
	uint64_t stored_bytes;
	bool fits;	    /* there is or will be room */
	size_t victim, n_victims; /* in schedule.victim */
	char message[SCHED_MESSAGE]; /* why it waits, is late or failed; "" */
};

struct sched_victim { /* what will be evicted to make room */
	uint64_t id, bytes;
	const char *name; /* of the input */
};

struct sched_action {
	enum wire_order_kind kind;
	size_t server;
	size_t want;	    /* index; SIZE_MAX: of none */
	uint64_t id;	    /* of a version; not for reclaim, cancel */
	uint64_t bytes;	    /* reclaim */
	uint64_t cancels;
	int64_t hold_until_s;
	int64_t deadline_s;
};

struct schedule {
	struct sched_job *job;
	struct sched_victim *victim;
	size_t n_victims;
	struct sched_action *action; /* in the order to give them out */
	size_t n_actions;
	int64_t next_s; /* run again then, if nothing changed before */
};

/* -ENOMEM. */
int schedule(const struct sched_input *in, struct schedule *ret);
void schedule_clear(struct schedule *s);

#endif
