/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule_orders.c - which orders follow from the tasks.
 *
 * Every order is compared with what was ordered before, never with what was
 * decided before: a run that is repeated, or that a crash cut short between
 * two orders, goes on from the orders themselves.
 *
 * Room is made first and the prefetch follows when it is there: an order that
 * the server has to refuse would tell nobody anything. One reclaim per server
 * at a time, for all that is about to begin. A reclaim asks for so many bytes
 * to *be* free, so delivering it twice evicts nothing twice.
 *
 * A server gets the prefetch that is due first, and the next ones only while
 * little is left of those before. It fetches all that it was told at a time
 * and shares its line among them, so a long list would come by no deadline;
 * what is planned late and due early would wait behind it. With nothing in
 * reserve, on the other hand, the line would be idle between two orders.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "origin/schedule/schedule_impl.h"

/* Of one server: prefetches that are ordered at a time, and the bytes that
 * those before may have left when one more is. */
#define AT_A_TIME 16
#define IN_RESERVE_BYTES (UINT64_C(256) << 20)
/* After a reclaim that was done, until the descriptor shows it. */
#define RECLAIM_SETTLE_S 5
#define RECLAIM_RETRY_S 60

static int add_action(struct plan_run *p, const struct sched_action *a)
{
	struct schedule *out = p->out;

	if (out->n_actions == p->actions_room) {
		size_t room = p->actions_room ? 2 * p->actions_room : 64;
		void *more = realloc(out->action, room * sizeof(*out->action));

		if (!more)
			return -ENOMEM;
		out->action = more;
		p->actions_room = room;
	}
	out->action[out->n_actions++] = *a;
	return 0;
}

/* The first of the server's tasks for this version. */
static const struct task *task_for(const struct plan_run *p, size_t s,
				   uint64_t id)
{
	size_t lo = p->first_task[s], hi = p->first_task[s + 1];

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->task[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == p->first_task[s + 1] || p->task[lo].id != id)
		return NULL;
	return &p->task[lo];
}

/* ---- what nobody wants any more ---------------------------------------- */

static int cancel_unwanted(struct plan_run *p, size_t s)
{
	int rc = 0;

	for (size_t i = p->first_order[s]; i < p->first_order[s + 1] && !rc;
	     i++) {
		const struct sched_order *o = &p->in->order[p->by_order[i]];

		if (o->state != SCHED_OPEN || o->job == 0 ||
		    (o->kind != ORDER_PREFETCH && o->kind != ORDER_HOLD) ||
		    task_for(p, s, o->id))
			continue;
		rc = add_action(p, &(struct sched_action){
					   .kind = ORDER_CANCEL,
					   .server = s,
					   .want = SIZE_MAX,
					   .id = o->id,
					   .cancels = o->number});
	}
	return rc;
}

/* ---- holds ------------------------------------------------------------- */

/* The last order on the hold of this version, or NULL. */
static const struct sched_order *last_hold(const struct plan_run *p, size_t s,
					   uint64_t id)
{
	const struct sched_order *last = NULL;

	for (size_t i = p->first_order[s]; i < p->first_order[s + 1]; i++) {
		const struct sched_order *o = &p->in->order[p->by_order[i]];

		if (o->id == id && (o->kind == ORDER_PREFETCH ||
				    o->kind == ORDER_HOLD ||
				    o->kind == ORDER_RELEASE))
			last = o;
	}
	return last;
}

/* Is an order on its way whose effect has to be seen first? */
static bool unsettled(struct plan_run *p, const struct sched_order *o)
{
	int64_t until = 0;

	if (!o)
		return false;
	if (o->state == SCHED_OPEN)
		return true;
	if (o->state == SCHED_DONE)
		until = o->updated_s + SETTLE_S;
	else if (o->state == SCHED_FAILED)
		until = o->updated_s + RETRY_FIRST_S;
	run_sooner(p, until);
	return until > p->in->now_s;
}

static int release_unwanted(struct plan_run *p, size_t s)
{
	const struct sched_server *srv = &p->in->server[s];
	int rc = 0;

	for (size_t i = 0; i < srv->n_images && !rc; i++) {
		const struct sched_image *m = &srv->image[i];
		const struct sched_order *last;
		const struct task *t;

		if (!m->held_by_plan || m->held_until_s <= p->in->now_s)
			continue;
		t = task_for(p, s, m->id);
		if (t && t->hold_now_s)
			continue;
		last = last_hold(p, s, m->id);
		/* An open prefetch or hold is cancelled in this same run. */
		if (last && last->kind == ORDER_RELEASE && unsettled(p, last))
			continue;
		rc = add_action(p, &(struct sched_action){
					   .kind = ORDER_RELEASE,
					   .server = s,
					   .want = SIZE_MAX,
					   .id = m->id});
	}
	return rc;
}

static const struct sched_image *image_of(const struct plan_run *p,
					  const struct task *t)
{
	const struct sched_server *srv = &p->in->server[t->server];

	for (size_t i = 0; i < srv->n_images; i++)
		if (srv->image[i].id == t->id)
			return &srv->image[i];
	return NULL;
}

static int set_hold(struct plan_run *p, const struct task *t)
{
	const struct sched_image *m;
	const struct sched_order *last;

	if (!t->complete || t->hold_now_s <= p->in->now_s)
		return 0;
	last = t->last_hold == SIZE_MAX ? NULL : &p->in->order[t->last_hold];
	m = image_of(p, t);
	if (!m || m->held_until_s == t->hold_now_s)
		return 0;
	/* Longer by somebody's hand: that stays. */
	if (m->held_until_s > t->hold_now_s && !m->held_by_plan)
		return 0;
	if (last && last->hold_until_s == t->hold_now_s && unsettled(p, last))
		return 0;
	/* Another value is on its way: this one would overtake it or not. */
	if (last && last->state == SCHED_OPEN && last->kind == ORDER_PREFETCH)
		return 0;
	return add_action(p, &(struct sched_action){
				     .kind = ORDER_HOLD,
				     .server = t->server,
				     .want = p->by_key[t->want],
				     .id = t->id,
				     .hold_until_s = t->hold_now_s});
}

/* ---- transfers --------------------------------------------------------- */

static const struct sched_order *last_reclaim(const struct plan_run *p,
					      size_t s)
{
	const struct sched_order *last = NULL;

	for (size_t i = p->first_order[s]; i < p->first_order[s + 1]; i++) {
		const struct sched_order *o = &p->in->order[p->by_order[i]];

		if (o->kind == ORDER_RECLAIM &&
		    (o->job || o->state == SCHED_OPEN) &&
		    (!last || o->number > last->number))
			last = o;
	}
	return last;
}

static bool reclaim_waits(struct plan_run *p, const struct sched_order *o)
{
	int64_t until;

	if (!o || o->state == SCHED_CANCELLED)
		return false;
	if (o->state == SCHED_OPEN)
		return true;
	until = o->updated_s + (o->state == SCHED_DONE && o->stored_bytes
					? RECLAIM_SETTLE_S
					: RECLAIM_RETRY_S);
	run_sooner(p, until);
	return until > p->in->now_s;
}

static void say_making_room(struct plan_run *p, const struct task *t,
			    const struct sched_order *o)
{
	for (size_t i = t->want; i < t->want + t->n_wants; i++) {
		struct sched_job *j = &p->out->job[p->by_key[i]];

		if (j->state != JOB_WAITING && j->state != JOB_LATE)
			continue;
		if (o && o->state == SCHED_FAILED)
			snprintf(j->message, sizeof(j->message),
				 "order %llu, to make room: %.200s",
				 (unsigned long long)o->number, o->message);
		else if (*j->message == '\0')
			snprintf(j->message, sizeof(j->message),
				 "room is being made");
	}
}

static int rank_order(const void *a, const void *b)
{
	return task_cmp(*(struct task *const *)a, *(struct task *const *)b);
}

static bool unfinished(const struct plan_run *p, const struct task *t)
{
	return !t->complete && t->missing_bytes > 0 &&
	       (t->open_prefetch != SIZE_MAX ||
		(task_begun(p, t) && t->start_s <= p->in->now_s &&
		 t->blocked == ROOM_FOUND));
}

static int prefetch(struct plan_run *p, const struct task *t)
{
	return add_action(p, &(struct sched_action){
				     .kind = ORDER_PREFETCH,
				     .server = t->server,
				     .want = p->by_key[t->want],
				     .id = t->id,
				     .hold_until_s = t->hold_now_s,
				     .deadline_s = t->deadline_s});
}

/* `due`: the server's unfinished tasks, earliest deadline first. */
static int start_due(struct plan_run *p, size_t s, struct task **due, size_t n)
{
	const struct sched_order *reclaim = last_reclaim(p, s);
	uint64_t reserved = p->in->server[s].reserved_bytes, sum = 0, open = 0;
	uint64_t room = 0, before = 0;
	const struct task *first = NULL;
	int rc = 0;

	/* Those under way have their room, or what is left to fill of it. */
	for (size_t i = 0; i < n; i++)
		if (due[i]->open_prefetch != SIZE_MAX)
			open += due[i]->missing_bytes;
	sum = open - (reserved < open ? reserved : open);
	for (size_t i = 0; i < n && i < AT_A_TIME && !rc; i++) {
		struct task *t = due[i];

		if (before > IN_RESERVE_BYTES)
			break;
		/* One that failed is not in the way of the next. */
		if (t->retry_s <= p->in->now_s)
			before += t->missing_bytes;
		if (t->open_prefetch != SIZE_MAX ||
		    t->retry_s > p->in->now_s ||
		    p->in->want[p->by_key[t->want]].job == 0)
			continue;
		sum += t->missing_bytes;
		if (sum <= p->in->server[s].free_bytes && !first) {
			rc = prefetch(p, t);
			continue;
		}
		first = first ? first : t;
		room = sum;
		say_making_room(p, t, reclaim);
	}
	if (!first || rc || reclaim_waits(p, reclaim))
		return rc;
	return add_action(p, &(struct sched_action){
				     .kind = ORDER_RECLAIM,
				     .server = s,
				     .want = p->by_key[first->want],
				     .bytes = room});
}

static int start_server(struct plan_run *p, size_t s, struct task **due)
{
	size_t n = 0;

	for (size_t i = p->first_task[s]; i < p->first_task[s + 1]; i++)
		if (unfinished(p, &p->task[i]))
			due[n++] = &p->task[i];
	qsort(due, n, sizeof(struct task *), rank_order);
	return start_due(p, s, due, n);
}

int orders_make(struct plan_run *p)
{
	struct task **due = calloc(p->n_tasks + 1, sizeof(struct task *));
	int rc = due ? 0 : -ENOMEM;

	for (size_t s = 0; s < p->in->n_servers && !rc; s++) {
		rc = cancel_unwanted(p, s);
		if (!rc && p->in->server[s].known)
			rc = release_unwanted(p, s);
		for (size_t i = p->first_task[s];
		     i < p->first_task[s + 1] && !rc; i++)
			rc = set_hold(p, &p->task[i]);
		if (!rc && p->in->server[s].known)
			rc = start_server(p, s, due);
	}
	free(due);
	return rc;
}
