/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule_rate.c - time and bandwidth, both by the same simulation (flow.h).
 *
 * Run backwards, from the last deadline to now, it says how late each
 * transfer may begin at most: latest deadline first, each as late as it can.
 * Run forwards, with those (or the lead time) as starts, it says when each
 * will end. A formula of size over rate knows nothing of the other transfers
 * that share the line that night.
 *
 * What is measured now (demand, other traffic) says little about tomorrow: it
 * is taken off the line for a quarter of an hour only.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "common/units.h"
#include "origin/schedule/flow.h"
#include "origin/schedule/schedule_impl.h"

#define DAY_S 86400.0
#define NEAR_S 900
#define AHEAD_S (60 * DAY_S) /* further nothing is foretold */
/* Of one table: 27 years of two a day. What lies beyond has its last rate. */
#define STEPS_MAX 20000

struct lines {
	struct flow_line shared, unlimited;
	const struct rates **table; /* distinct ones */
	struct flow_line *line;	    /* of each */
	size_t n;
	const struct flow_line **of_server;
};

static double bps_of(uint64_t bps)
{
	return bps == RATE_UNLIMITED ? INFINITY : (double)bps;
}

static int line_of_table(const struct rates *r, int64_t now_s, double to,
			 struct flow_line *ret)
{
	int64_t t = now_s;
	int rc = 0;

	while (!rc && (double)(t - now_s) <= to && ret->n < STEPS_MAX) {
		rc = flow_line_add(ret, (double)(t - now_s),
				   bps_of(rates_at(r, t)));
		t = rates_next_change(r, t);
		if (t == INT64_MAX)
			break;
	}
	return rc;
}

/* What all prefetch together may use: the table, and what the interface has
 * left. Never unlimited. */
static int shared_line(const struct sched_input *in, double to,
		       struct flow_line *ret)
{
	static const struct rates none;
	const struct rates *r = in->rates ? in->rates : &none;
	double link = in->link_bps ? (double)in->link_bps : INFINITY;
	double busy = (double)in->demand_bps + (double)in->other_bps;
	double assumed = in->assumed_bps ? (double)in->assumed_bps : 1;
	struct flow_line table = {0};
	double near = fmax(0, link - busy);
	int rc;

	rc = line_of_table(r, in->now_s, to, &table);
	for (size_t i = 0; i < table.n && !rc; i++) {
		double t = table.t[i], bps = fmin(table.bps[i], link);
		double end = i + 1 < table.n ? table.t[i + 1] : INFINITY;

		bps = isinf(bps) ? assumed : bps;
		if (t < NEAR_S)
			rc = flow_line_add(ret, t, fmin(bps, near));
		if (!rc && end > NEAR_S)
			rc = flow_line_add(ret, fmax(t, NEAR_S), bps);
	}
	flow_line_free(&table);
	return rc;
}

static void lines_free(struct lines *l)
{
	flow_line_free(&l->shared);
	flow_line_free(&l->unlimited);
	for (size_t i = 0; i < l->n; i++)
		flow_line_free(&l->line[i]);
	free(l->table);
	free(l->line);
	free(l->of_server);
}

static int by_address(const void *a, const void *b)
{
	const struct rates *x = *(const struct rates *const *)a;
	const struct rates *y = *(const struct rates *const *)b;

	return x < y ? -1 : x > y;
}

static int server_lines(const struct sched_input *in, double to,
			struct lines *l)
{
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < in->n_servers; i++)
		if (in->server[i].rates)
			l->table[n++] = in->server[i].rates;
	qsort(l->table, n, sizeof(*l->table), by_address);
	for (size_t i = 0; i < n && !rc; i++) {
		if (l->n && l->table[l->n - 1] == l->table[i])
			continue;
		l->table[l->n] = l->table[i];
		rc = line_of_table(l->table[l->n], in->now_s, to,
				   &l->line[l->n]);
		l->n++;
	}
	for (size_t i = 0; i < in->n_servers && !rc; i++) {
		const struct rates *r = in->server[i].rates;
		const struct rates **at = NULL;

		if (r)
			at = bsearch(&r, l->table, l->n, sizeof(*l->table),
				     by_address);
		l->of_server[i] = at ? &l->line[at - l->table] : &l->unlimited;
	}
	return rc;
}

/* In place: of_server points into the struct. */
static int lines_make(const struct sched_input *in, double to, struct lines *l)
{
	int rc;

	*l = (struct lines){0};
	l->table = calloc(in->n_servers + 1, sizeof(*l->table));
	l->line = calloc(in->n_servers + 1, sizeof(*l->line));
	l->of_server = calloc(in->n_servers + 1, sizeof(*l->of_server));
	rc = l->table && l->line && l->of_server ? 0 : -ENOMEM;
	if (!rc)
		rc = flow_line_add(&l->unlimited, 0, INFINITY);
	if (!rc)
		rc = shared_line(in, to, &l->shared);
	if (!rc)
		rc = server_lines(in, to, l);
	if (rc)
		lines_free(l);
	return rc;
}

static int lines_mirror(const struct sched_input *in, const struct lines *l,
			double end, struct lines *m)
{
	int rc;

	*m = (struct lines){0};
	m->line = calloc(l->n + 1, sizeof(*m->line));
	m->of_server = calloc(in->n_servers + 1, sizeof(*m->of_server));
	rc = m->line && m->of_server ? 0 : -ENOMEM;
	if (!rc)
		rc = flow_line_mirror(&l->shared, end, &m->shared);
	if (!rc)
		rc = flow_line_mirror(&l->unlimited, end, &m->unlimited);
	for (; m->n < l->n && !rc; m->n++)
		rc = flow_line_mirror(&l->line[m->n], end, &m->line[m->n]);
	for (size_t i = 0; i < in->n_servers && !rc; i++)
		m->of_server[i] = l->of_server[i] == &l->unlimited
					  ? &m->unlimited
					  : &m->line[l->of_server[i] - l->line];
	if (rc)
		lines_free(m);
	return rc;
}

/* ---- both runs --------------------------------------------------------- */

static int by_rank(const void *a, const void *b)
{
	const struct flow_task *x = a, *y = b;

	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/*
 * Ranks of a part of the tasks are made dense again, in the same order; of[]
 * leads from a rank to its task, before and after. (A rank never grows, so the
 * entry that is read has not been written yet.)
 */
static void dense_ranks(struct flow_task *f, size_t n, size_t *of)
{
	qsort(f, n, sizeof(*f), by_rank);
	for (size_t i = 0; i < n; i++) {
		of[i] = of[f[i].rank];
		f[i].rank = i;
	}
}

static bool needs_release(const struct plan_run *p, const struct task *t)
{
	return p->in->server[t->server].known && !t->complete &&
	       t->size_bytes > t->stored_bytes &&
	       t->deadline_s - p->in->margin_s > p->in->now_s;
}

/* Backwards. f[i] goes with task of[rank]. */
static int latest_starts(struct plan_run *p, const struct lines *l,
			 struct flow_task *f, size_t *of)
{
	const struct sched_input *in = p->in;
	struct lines m;
	double end = 0;
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < p->n_tasks; i++) {
		const struct task *t = &p->task[i];
		double due = (double)(t->deadline_s - in->margin_s -
				      in->now_s);

		if (!needs_release(p, t))
			continue;
		f[n].rank = p->n_tasks - 1 - t->rank;
		f[n].sink = t->server;
		f[n].start = -due;
		f[n].bytes = (double)(t->size_bytes - t->stored_bytes) *
			     (1 + in->margin);
		end = fmax(end, due);
		of[f[n++].rank] = i;
	}
	if (n == 0)
		return 0;
	dense_ranks(f, n, of);
	rc = lines_mirror(in, l, end, &m);
	if (rc)
		return rc;
	rc = flow_run(f, n, &m.shared, m.of_server, in->n_servers, -end, 0);
	lines_free(&m);
	for (size_t i = 0; i < n && !rc; i++) {
		struct task *t = &p->task[of[i]];
		int64_t latest = in->now_s;

		if (!isinf(f[i].end))
			latest += (int64_t)floor(-f[i].end);
		if (latest < t->release_s)
			t->release_s = latest;
	}
	return rc;
}

static double last_deadline(const struct plan_run *p)
{
	double last = 0;

	for (size_t i = 0; i < p->n_tasks; i++)
		last = fmax(last,
			    (double)(p->task[i].deadline_s - p->in->now_s));
	return last;
}

int rate_releases(struct plan_run *p)
{
	struct flow_task *f = calloc(p->n_tasks + 1, sizeof(*f));
	size_t *of = calloc(p->n_tasks + 1, sizeof(*of));
	struct lines l = {0};
	int rc = f && of ? 0 : -ENOMEM;

	if (!rc)
		rc = lines_make(p->in, last_deadline(p), &l);
	if (!rc) {
		rc = latest_starts(p, &l, f, of);
		lines_free(&l);
	}
	free(of);
	free(f);
	return rc;
}

static bool will_flow(const struct task *t)
{
	return (t->blocked == ROOM_FOUND || t->blocked == ROOM_LATER) &&
	       t->missing_bytes > 0;
}

static int forwards(struct plan_run *p, const struct lines *l,
		    struct flow_task *f, double stop)
{
	const struct sched_input *in = p->in;
	size_t *of = calloc(p->n_tasks + 1, sizeof(*of));
	size_t n = 0;
	int rc;

	if (!of)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_tasks; i++) {
		const struct task *t = &p->task[i];

		if (!will_flow(t))
			continue;
		f[n].rank = t->rank;
		f[n].sink = t->server;
		f[n].start = fmax(0, (double)(t->start_s - in->now_s));
		f[n++].bytes = (double)t->missing_bytes;
		of[t->rank] = i;
	}
	dense_ranks(f, n, of);
	rc = flow_run(f, n, &l->shared, l->of_server, in->n_servers, 0, stop);
	for (size_t i = 0; i < n && !rc; i++)
		p->task[of[i]].end = f[i].end;
	free(of);
	return rc;
}

int rate_ends(struct plan_run *p)
{
	struct flow_task *f = calloc(p->n_tasks + 1, sizeof(*f));
	double stop = last_deadline(p) + AHEAD_S;
	struct lines l;
	int rc = f ? 0 : -ENOMEM;

	if (!rc)
		rc = lines_make(p->in, stop, &l);
	if (!rc) {
		rc = forwards(p, &l, f, stop);
		lines_free(&l);
	}
	free(f);
	return rc;
}
