/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule_impl.h - what the parts of the schedule share.
 *
 *	schedule.c	  wants -> tasks, and the steps one after the other
 *	schedule_rate.c	  when a task has to begin; when it will end
 *	schedule_room.c	  whether and when there is room, and who goes
 *	schedule_jobs.c	  tasks -> jobs: states, expectations, messages
 *	schedule_orders.c what to order
 */
#ifndef STAGEFS_ORIGIN_SCHEDULE_SCHEDULE_IMPL_H
#define STAGEFS_ORIGIN_SCHEDULE_SCHEDULE_IMPL_H

#include "origin/schedule/schedule.h"

/* A finished order and the descriptor that shows its effect come apart; so
 * long the order is believed. The server describes itself once a second. */
#define SETTLE_S 10
/* After a failure: doubles with each, up to the second. */
#define RETRY_FIRST_S 30
#define RETRY_MAX_S 600
/* An open image is asked for again after this. */
#define OPEN_S 60

enum blocked {
	ROOM_FOUND,
	ROOM_LATER,  /* at task.start, when holds end */
	ROOM_NEVER,  /* larger than all there is */
	ROOM_HELD,   /* holds that do not end before its own would */
	ROOM_UNKNOWN /* the server has not described itself */
};

/* One transfer: the wants of one server and version whose spans meet. */
struct task {
	size_t server;
	uint64_t id;
	const char *name;
	/* the key of earliest deadline first */
	int64_t deadline_s, priority, entry;
	size_t rank;

	size_t want, n_wants;	/* in plan.by_key; by at_s */
	int64_t begin_s;	/* deadline - lead */
	int64_t release_s;	/* it may begin then: begin, or earlier */
	int64_t hold_end_s;	/* of all its wants */
	int64_t hold_now_s;	/* of those that have begun; 0: none has */
	uint64_t size_bytes, stored_bytes;
	uint64_t reported_bytes; /* stored, says an order that is believed */
	bool complete;

	/* orders: index or SIZE_MAX */
	size_t open_prefetch, last_prefetch, last_hold;
	int64_t retry_s; /* not before, after a failure */

	/* room */
	enum blocked blocked;
	int64_t start_s;	/* release, or later when there is room */
	uint64_t missing_bytes; /* to transfer, when it starts */
	size_t victim, n_victims;
	char holders[160]; /* what is in the way */

	double end; /* seconds from now; INFINITY: unknown */
};

struct plan_run {
	const struct sched_input *in;
	size_t *by_key;	  /* wants by server, id, at */
	size_t *task_of;  /* by want; SIZE_MAX: it has no version */
	struct task *task; /* by server, id, deadline */
	size_t n_tasks;
	size_t *by_order;    /* orders by server, id, number */
	size_t *first_task;  /* by server, n_servers + 1 */
	size_t *first_order; /* the same, into by_order */
	struct schedule *out;
	size_t victims_room, actions_room;
};

/* -1, 0, 1 by earliest deadline first. */
int task_cmp(const struct task *a, const struct task *b);
/* 0 or -ENOMEM, all. */
int rate_releases(struct plan_run *p);
int rate_ends(struct plan_run *p);
int room_find(struct plan_run *p);
void jobs_make(struct plan_run *p);
int orders_make(struct plan_run *p);
/* Has it run again at `t`, if that is before what was asked for so far. */
void run_sooner(struct plan_run *p, int64_t t);

/* Did its time to begin come, for any of its wants? */
static inline bool task_begun(const struct plan_run *p, const struct task *t)
{
	return t->release_s <= p->in->now_s;
}

#endif
