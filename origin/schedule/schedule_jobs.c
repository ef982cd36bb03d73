/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule_jobs.c - what the tasks mean for each want: its state, when it will
 * be there, and in words what is in the way.
 *
 * A state says what is, not what will be: a job that will come late is staging
 * until its time has passed; `late_s` tells the rest ahead of time.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "origin/schedule/schedule_impl.h"
#include "origin/servers/servers.h"

/* While anything is staged, expectations are worked out anew so often. */
#define REFRESH_S 30
#define NEXT_MAX_S 3600
/* An end that is above a full second by less than this is on it. */
#define ROUND_S 1e-3

const char *job_state_name(enum job_state s)
{
	static const char *const name[] = {"waiting", "staging", "staged",
					   "late", "failed"};

	return (unsigned)s < JOB_STATE_COUNT ? name[s] : "?";
}

static void say_room(const struct plan_run *p, const struct task *t,
		     struct sched_job *j)
{
	const struct sched_server *s = &p->in->server[t->server];
	char size[UNITS_TEXT], capacity[UNITS_TEXT], need[UNITS_TEXT];

	units_size(t->size_bytes, size);
	units_size(s->capacity_bytes, capacity);
	units_size(t->missing_bytes, need);
	if (t->blocked == ROOM_UNKNOWN && s->name[0] == '@')
		snprintf(j->message, sizeof(j->message),
			 "group %s has no servers", s->name);
	else if (t->blocked == ROOM_UNKNOWN)
		snprintf(j->message, sizeof(j->message),
			 "server %s has not reported yet", s->name);
	else if (t->blocked == ROOM_NEVER &&
		 t->size_bytes > s->capacity_bytes)
		snprintf(j->message, sizeof(j->message),
			 "does not fit: needs %s, capacity %s", size, capacity);
	else if (t->blocked == ROOM_NEVER)
		snprintf(j->message, sizeof(j->message),
			 "does not fit: needs %s more than could be freed "
			 "beside the other jobs and the space kept free", need);
	else if (t->blocked == ROOM_HELD || t->blocked == ROOM_LATER)
		snprintf(j->message, sizeof(j->message),
			 "no room yet: needs %s; in the way: %s", need,
			 t->holders);
}

static void say_reach(const struct plan_run *p, const struct task *t,
		      struct sched_job *j)
{
	const struct sched_server *s = &p->in->server[t->server];
	char span[UNITS_TEXT];

	if (p->in->now_s - s->seen_s > SERVER_SILENT_S)
		snprintf(j->message, sizeof(j->message),
			 "server %s was last seen %s ago", s->name,
			 units_span((uint64_t)(p->in->now_s - s->seen_s) * 1000,
				    span));
}

static bool last_try_failed(const struct plan_run *p, const struct task *t)
{
	return t->last_prefetch != SIZE_MAX && t->open_prefetch == SIZE_MAX &&
	       p->in->order[t->last_prefetch].state == SCHED_FAILED;
}

/* State and message of one that is not staged, its time not considered. */
static void unstaged(const struct plan_run *p, const struct task *t,
		     struct sched_job *j)
{
	j->state = JOB_WAITING;
	say_room(p, t, j);
	if (t->blocked == ROOM_NEVER) {
		j->state = JOB_FAILED;
		j->fits = false;
	} else if (last_try_failed(p, t)) {
		j->state = JOB_FAILED;
		snprintf(j->message, sizeof(j->message), "order %llu: %.256s",
			 (unsigned long long)p->in->order[t->last_prefetch]
				 .number,
			 p->in->order[t->last_prefetch].message);
	} else if (t->open_prefetch != SIZE_MAX &&
		   p->in->order[t->open_prefetch].sent) {
		j->state = JOB_STAGING;
	}
	if (t->blocked == ROOM_HELD)
		j->fits = false;
	if (j->state != JOB_FAILED && p->in->server[t->server].known &&
	    task_begun(p, t))
		say_reach(p, t, j);
}

static void expect(const struct plan_run *p, const struct task *t,
		   const struct sched_want *w, struct sched_job *j)
{
	int64_t now = p->in->now_s;

	j->start_s = t->open_prefetch == SIZE_MAX
			     ? t->start_s
			     : p->in->order[t->open_prefetch].created_s;
	if (t->blocked == ROOM_FOUND || t->blocked == ROOM_LATER) {
		if (t->missing_bytes == 0)
			j->expected_s = t->start_s;
		else if (!isinf(t->end))
			j->expected_s = now + (int64_t)ceil(t->end - ROUND_S);
		else
			snprintf(j->message, sizeof(j->message),
				 "the rates of the plan give it no end: see "
				 "the prefetch rate");
	}
	/* An unknown end is late as soon as its time has come. */
	j->late_s = (j->expected_s ? j->expected_s : now) - w->at_s;
	if (j->late_s < 0)
		j->late_s = 0;
	if (w->at_s <= now && j->state != JOB_FAILED)
		j->state = JOB_LATE;
}

static void staged(const struct plan_run *p, const struct task *t,
		   const struct sched_want *w, struct sched_job *j)
{
	int64_t now = p->in->now_s;

	j->state = JOB_STAGED;
	if (w->staged_s) {
		j->staged_s = w->staged_s;
		j->start_s = w->start_s;
	} else if (t->last_prefetch != SIZE_MAX) {
		j->staged_s = now;
		j->start_s = p->in->order[t->last_prefetch].created_s;
	} else { /* it was there before anybody asked for it */
		j->staged_s = j->start_s = now < w->at_s ? now : w->at_s;
	}
	j->expected_s = j->staged_s;
	if (j->staged_s > w->at_s)
		j->late_s = j->staged_s - w->at_s;
}

static void make_job(const struct plan_run *p, size_t i)
{
	const struct sched_want *w = &p->in->want[i];
	struct sched_job *j = &p->out->job[i];
	const struct task *t;
	int64_t now = p->in->now_s;
	bool first;

	j->fits = true;
	if (p->task_of[i] == SIZE_MAX) {
		j->state = JOB_FAILED;
		j->fits = false;
		j->late_s = w->at_s < now ? now - w->at_s : 0;
		snprintf(j->message, sizeof(j->message), "%s",
			 w->image[strlen(w->image) - 1] == '/'
				 ? "no image in this folder is published: see "
				   "`stagefs-origin image list`"
				 : "no image of this name is published: see "
				   "`stagefs-origin image list`");
		return;
	}
	t = &p->task[p->task_of[i]];
	first = p->by_key[t->want] == i;
	j->stored_bytes = t->stored_bytes;
	j->victim = t->victim;
	j->n_victims = t->n_victims;
	if (t->complete && (w->at_s - p->in->lead_s <= now ||
			    (first && task_begun(p, t)))) {
		staged(p, t, w, j);
		return;
	}
	unstaged(p, t, j);
	if (t->complete && t->missing_bytes == 0)
		snprintf(j->message, sizeof(j->message),
			 "stored already; held from its start on");
	expect(p, t, w, j);
}

/* ---- when to run again ------------------------------------------------- */

void run_sooner(struct plan_run *p, int64_t t)
{
	if (t > p->in->now_s && t < p->out->next_s)
		p->out->next_s = t;
}

static void set_next(struct plan_run *p)
{
	const struct sched_input *in = p->in;

	p->out->next_s = in->now_s + NEXT_MAX_S;
	for (size_t i = 0; i < p->n_tasks; i++) {
		const struct task *t = &p->task[i];

		run_sooner(p, t->begin_s);
		run_sooner(p, t->release_s);
		run_sooner(p, t->start_s);
		if (!t->complete)
			run_sooner(p, t->retry_s);
		if (t->open_prefetch != SIZE_MAX)
			run_sooner(p, in->now_s + REFRESH_S);
	}
	for (size_t i = 0; i < in->n_wants; i++) {
		run_sooner(p, in->want[i].at_s - in->lead_s);
		run_sooner(p, in->want[i].at_s);
		run_sooner(p, in->want[i].until_s);
	}
	for (size_t i = 0; i < in->n_orders; i++)
		if (in->order[i].state == SCHED_DONE)
			run_sooner(p, in->order[i].updated_s + SETTLE_S);
	for (size_t i = 0; i < in->n_orders; i++)
		if (in->order[i].state == SCHED_FAILED)
			run_sooner(p, in->order[i].updated_s + RETRY_FIRST_S);
}

void jobs_make(struct plan_run *p)
{
	for (size_t i = 0; i < p->in->n_wants; i++)
		make_job(p, i);
	set_next(p);
}
