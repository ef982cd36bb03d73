/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule.c - from wants to tasks, and from tasks to the states of jobs.
 *
 * The steps: (1) wants of one server and version whose spans meet become one
 * task; (2) how late may each begin (backwards through the rates); (3) is
 * there room then, and who has to go; (4) when will each end (forwards);
 * (5) which orders follow. Each step is a file of its own and looks at all
 * tasks at once: deciding per entry, as first tried, cannot know that two
 * entries share a line, a disk or a version.
 */
#include "origin/schedule/schedule.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "origin/schedule/schedule_impl.h"

/* ---- wants to tasks ---------------------------------------------------- */

int task_cmp(const struct task *a, const struct task *b)
{
	if (a->deadline_s != b->deadline_s)
		return a->deadline_s < b->deadline_s ? -1 : 1;
	if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	if (a->entry != b->entry)
		return a->entry < b->entry ? -1 : 1;
	/* One entry, two dates or versions: the order is fixed all the same. */
	return a < b ? -1 : a > b;
}

static int key_cmp(size_t s1, uint64_t id1, int64_t t1, size_t s2, uint64_t id2,
		   int64_t t2)
{
	if (s1 != s2)
		return s1 < s2 ? -1 : 1;
	if (id1 != id2)
		return id1 < id2 ? -1 : 1;
	return t1 < t2 ? -1 : t1 > t2;
}

static int want_order(const void *a, const void *b, void *arg)
{
	const struct sched_input *in = arg;
	const struct sched_want *x = &in->want[*(const size_t *)a];
	const struct sched_want *y = &in->want[*(const size_t *)b];
	int c = key_cmp(x->server, x->id, x->at_s, y->server, y->id, y->at_s);

	return c ? c : key_cmp(0, 0, x->entry, 0, 0, y->entry);
}

static int order_order(const void *a, const void *b, void *arg)
{
	const struct sched_input *in = arg;
	const struct sched_order *x = &in->order[*(const size_t *)a];
	const struct sched_order *y = &in->order[*(const size_t *)b];
	int c = key_cmp(x->server, x->id, 0, y->server, y->id, 0);

	if (c)
		return c;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int alloc_all(struct plan_run *p)
{
	const struct sched_input *in = p->in;

	p->by_key = calloc(in->n_wants + 1, sizeof(*p->by_key));
	p->task_of = calloc(in->n_wants + 1, sizeof(*p->task_of));
	p->task = calloc(in->n_wants + 1, sizeof(*p->task));
	p->by_order = calloc(in->n_orders + 1, sizeof(*p->by_order));
	p->first_task = calloc(in->n_servers + 1, sizeof(*p->first_task));
	p->first_order = calloc(in->n_servers + 1, sizeof(*p->first_order));
	p->out->job = calloc(in->n_wants + 1, sizeof(*p->out->job));
	return p->by_key && p->task_of && p->task && p->by_order &&
			       p->first_task && p->first_order && p->out->job
		       ? 0
		       : -ENOMEM;
}

static void run_free(struct plan_run *p)
{
	free(p->by_key);
	free(p->task_of);
	free(p->task);
	free(p->by_order);
	free(p->first_task);
	free(p->first_order);
}

static void task_add_want(struct plan_run *p, struct task *t, size_t w)
{
	const struct sched_want *want = &p->in->want[w];

	p->task_of[w] = (size_t)(t - p->task);
	t->n_wants++;
	/* Wants come by time: the first has the deadline. */
	if (want->at_s == t->deadline_s && want->priority > t->priority)
		t->priority = want->priority;
	if (want->until_s > t->hold_end_s)
		t->hold_end_s = want->until_s;
	if (want->entry < t->entry)
		t->entry = want->entry;
}

static void make_tasks(struct plan_run *p)
{
	const struct sched_input *in = p->in;
	struct task *t = NULL;

	for (size_t i = 0; i < in->n_wants; i++)
		p->by_key[i] = i;
	qsort_r(p->by_key, in->n_wants, sizeof(*p->by_key), want_order,
		(void *)in);
	for (size_t i = 0; i < in->n_wants; i++) {
		const struct sched_want *w = &in->want[p->by_key[i]];

		if (w->id == 0) {
			p->task_of[p->by_key[i]] = SIZE_MAX;
			continue;
		}
		if (!t || t->server != w->server || t->id != w->id ||
		    w->at_s - in->lead_s > t->hold_end_s) {
			t = &p->task[p->n_tasks++];
			*t = (struct task){
				.server = w->server,
				.id = w->id,
				.name = w->image,
				.deadline_s = w->at_s,
				.priority = w->priority,
				.entry = w->entry,
				.want = i,
				.begin_s = w->at_s - in->lead_s,
				.release_s = w->at_s - in->lead_s,
				.size_bytes = w->size_bytes,
				.open_prefetch = SIZE_MAX,
				.last_prefetch = SIZE_MAX,
				.last_hold = SIZE_MAX,
				.end = INFINITY,
			};
		}
		task_add_want(p, t, p->by_key[i]);
	}
}

/* first[s] is where server s begins, among things sorted by server. */
static void index_servers(const struct plan_run *p)
{
	size_t t = 0, o = 0;

	for (size_t s = 0; s <= p->in->n_servers; s++) {
		while (t < p->n_tasks && p->task[t].server < s)
			t++;
		while (o < p->in->n_orders &&
		       p->in->order[p->by_order[o]].server < s)
			o++;
		p->first_task[s] = t;
		p->first_order[s] = o;
	}
}

/* ---- what is known of each task ---------------------------------------- */

static int image_by_id(const void *a, const void *b)
{
	const struct sched_image *x = *(const struct sched_image *const *)a;
	const struct sched_image *y = *(const struct sched_image *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int attach_images(struct plan_run *p, size_t s)
{
	const struct sched_server *srv = &p->in->server[s];
	const struct sched_image **by_id;

	by_id = calloc(srv->n_images + 1, sizeof(struct sched_image *));
	if (!by_id)
		return -ENOMEM;
	for (size_t i = 0; i < srv->n_images; i++)
		by_id[i] = &srv->image[i];
	qsort(by_id, srv->n_images, sizeof(struct sched_image *), image_by_id);
	for (size_t i = p->first_task[s]; i < p->first_task[s + 1]; i++) {
		struct task *t = &p->task[i];
		struct sched_image key = {.id = t->id}, *k = &key;
		const struct sched_image **at =
			bsearch(&k, by_id, srv->n_images,
				sizeof(struct sched_image *), image_by_id);

		t->complete = t->size_bytes == 0; /* nobody stores it */
		if (!at)
			continue;
		t->complete = (*at)->complete;
		t->stored_bytes = (*at)->stored_bytes < t->size_bytes
					  ? (*at)->stored_bytes
					  : t->size_bytes;
		if (t->complete)
			t->stored_bytes = t->size_bytes;
	}
	free(by_id);
	return 0;
}

/* The order is believed before the descriptor shows it. */
static void believe(struct task *t, const struct sched_order *o, int64_t now_s)
{
	if (o->state == SCHED_OPEN && o->stored_bytes <= t->size_bytes)
		t->reported_bytes = o->stored_bytes;
	if (o->state == SCHED_DONE && now_s - o->updated_s < SETTLE_S) {
		t->complete = true;
		t->reported_bytes = t->size_bytes;
	}
	if (t->reported_bytes > t->stored_bytes)
		t->stored_bytes = t->reported_bytes;
}

static int64_t retry_after(unsigned failures)
{
	int64_t s = RETRY_FIRST_S;

	while (--failures && s < RETRY_MAX_S)
		s *= 2;
	return s < RETRY_MAX_S ? s : RETRY_MAX_S;
}

/* o: the orders of the task's server and version, in order of number. */
static void attach_orders(struct plan_run *p, struct task *t, size_t from,
			  size_t to)
{
	unsigned failures = 0;

	for (size_t i = from; i < to; i++) {
		size_t at = p->by_order[i];
		const struct sched_order *o = &p->in->order[at];

		if (o->kind == ORDER_PREFETCH || o->kind == ORDER_HOLD ||
		    o->kind == ORDER_RELEASE)
			t->last_hold = at;
		if (o->kind != ORDER_PREFETCH)
			continue;
		t->last_prefetch = at;
		if (o->state == SCHED_OPEN)
			t->open_prefetch = at;
		failures = o->state == SCHED_FAILED ? failures + 1 : 0;
		t->retry_s = failures ? o->updated_s + retry_after(failures)
				      : 0;
		believe(t, o, p->in->now_s);
	}
}

static void attach_server_orders(struct plan_run *p, size_t s)
{
	const struct sched_order *order = p->in->order;
	size_t i = p->first_order[s], end = p->first_order[s + 1];
	uint64_t done = 0;

	for (size_t k = p->first_task[s]; k < p->first_task[s + 1]; k++) {
		struct task *t = &p->task[k];
		size_t from;

		if (t->id == done) /* they belong to the first of its tasks */
			continue;
		done = t->id;
		while (i < end && order[p->by_order[i]].id < t->id)
			i++;
		from = i;
		while (i < end && order[p->by_order[i]].id == t->id)
			i++;
		attach_orders(p, t, from, i);
	}
}

/* The holds that have begun: a want's own lead time counts, or that its
 * transfer has begun before. */
static void set_hold_now(struct plan_run *p, struct task *t)
{
	const struct sched_input *in = p->in;

	for (size_t i = t->want; i < t->want + t->n_wants; i++) {
		const struct sched_want *w = &in->want[p->by_key[i]];

		if ((w->at_s - in->lead_s <= in->now_s ||
		     (i == t->want && task_begun(p, t))) &&
		    w->until_s > t->hold_now_s)
			t->hold_now_s = w->until_s;
	}
}

static int task_pointer_cmp(const void *a, const void *b)
{
	return task_cmp(*(struct task *const *)a, *(struct task *const *)b);
}

static int set_ranks(struct plan_run *p)
{
	struct task **by = calloc(p->n_tasks + 1, sizeof(struct task *));

	if (!by)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_tasks; i++)
		by[i] = &p->task[i];
	qsort(by, p->n_tasks, sizeof(struct task *), task_pointer_cmp);
	for (size_t i = 0; i < p->n_tasks; i++)
		by[i]->rank = i;
	free(by);
	return 0;
}

static int collect(struct plan_run *p)
{
	const struct sched_input *in = p->in;
	int rc = alloc_all(p);

	if (rc)
		return rc;
	for (size_t i = 0; i < in->n_orders; i++)
		p->by_order[i] = i;
	qsort_r(p->by_order, in->n_orders, sizeof(*p->by_order), order_order,
		(void *)in);
	make_tasks(p);
	index_servers(p);
	for (size_t s = 0; s < in->n_servers && !rc; s++) {
		if (p->first_task[s] == p->first_task[s + 1])
			continue;
		rc = attach_images(p, s);
		attach_server_orders(p, s);
	}
	return rc ? rc : set_ranks(p);
}

/* ---- all of it --------------------------------------------------------- */

static int run(struct plan_run *p)
{
	int rc = collect(p);

	if (!rc)
		rc = rate_releases(p);
	for (size_t i = 0; i < p->n_tasks && !rc; i++)
		set_hold_now(p, &p->task[i]);
	if (!rc)
		rc = room_find(p);
	if (!rc)
		rc = rate_ends(p);
	if (rc)
		return rc;
	jobs_make(p);
	return orders_make(p);
}

int schedule(const struct sched_input *in, struct schedule *ret)
{
	struct schedule out = {0};
	struct plan_run p = {.in = in, .out = &out};
	int rc = run(&p);

	run_free(&p);
	if (rc) {
		schedule_clear(&out);
		return rc;
	}
	*ret = out;
	return 0;
}

void schedule_clear(struct schedule *s)
{
	free(s->job);
	free(s->victim);
	free(s->action);
	*s = (struct schedule){0};
}
