/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_list.c - `plan list`: a line per entry, its next date.
 *
 * An entry for a group or a folder is many transfers. Its line says what a
 * planner asks of the whole: the earliest date, the worst state and why, when
 * the last one will be there, how many are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "origin/cli/plan.h"
#include "origin/servers/servers.h"

enum {
	COL_ENTRY,
	COL_SERVER,
	COL_IMAGE,
	COL_AT,
	COL_UNTIL,
	COL_PRIORITY,
	COL_STATE,
	COL_STAGED,
	COL_EXPECTED,
	COL_LATE,
	COL_STORED,
	COL_SIZE,
	COL_START,
	COL_REPEAT,
	COL_ZONE,
	COL_JOB,
	COL_MESSAGE
};

const struct table_column plan_list_columns[] = {
	{"ENTRY", "number of the entry", TABLE_NUMBER, true},
	{"SERVER", "production server, or @group", TABLE_TEXT, true},
	{"IMAGE", "name of the image, or folder/", TABLE_TEXT, true},
	{"AT", "when it has to be there", TABLE_TEXT, true},
	{"UNTIL", "how long it is held there", TABLE_TEXT, true},
	{"PRIORITY", "higher goes first if due at the same time", TABLE_NUMBER,
	 true},
	{"STATE", "waiting, staging, staged, late or failed", TABLE_TEXT, true},
	{"STAGED", "of a group or folder, how many of all are staged",
	 TABLE_TEXT, true},
	{"EXPECTED", "when it will be, or was, staged", TABLE_TEXT, true},
	{"LATE", "by how much, foreseen or so far; seconds in JSON",
	 TABLE_NUMBER, true},
	{"STORED", "verified bytes that the server has", TABLE_SIZE, true},
	{"SIZE", "size of the image", TABLE_SIZE, true},
	{"START", "when its transfer begins, or began", TABLE_TEXT, false},
	{"REPEAT", "how it comes back (RFC 5545)", TABLE_TEXT, false},
	{"ZONE", "time zone it was written in", TABLE_TEXT, false},
	{"JOB", "number of the job of this date", TABLE_NUMBER, false},
	{"MESSAGE", "why it waits, is late or failed", TABLE_TEXT, true},
	{0},
};

const struct cli_option plan_list_options[] = {
	{"server", 's', "NAME",
	 "only what is for this server, or an entry's @group"},
	{"each", 'e', NULL,
	 "a line for each server and image of an entry, not one for all"},
	{"dates", 'd', NULL,
	 "all dates that are known, not only the next; implies --each"},
	{0},
};

/* One want, or all next ones of an entry together. */
struct line {
	const struct plan_entry *p;
	const char *server, *image;
	int64_t at_s, until_s;
	int64_t expected_s, start_s; /* 0: not known */
	int64_t late_s;
	enum job_state state;
	size_t n, n_staged;
	uint64_t stored_bytes, size_bytes, job;
	bool published; /* there is an image */
	const char *message;
	size_t order; /* as it came */
};

static void line_make(const struct view *v, size_t i, struct line *l)
{
	const struct sched_want *w = &v->in.want[i];
	const struct sched_job *j = &v->out.job[i];

	*l = (struct line){.p = &v->entry[v->entry_of[i]],
			   .server = v->in.server[w->server].name,
			   .image = w->image,
			   .at_s = w->at_s,
			   .until_s = w->until_s,
			   .expected_s = j->expected_s,
			   .start_s = j->start_s,
			   .late_s = j->late_s,
			   .state = j->state,
			   .n = 1,
			   .n_staged = j->state == JOB_STAGED,
			   .stored_bytes = j->stored_bytes,
			   .size_bytes = w->size_bytes,
			   .job = w->job,
			   .published = w->id != 0,
			   .message = j->message,
			   .order = i};
}

/* The higher, the sooner somebody should look. */
static int gravity(enum job_state s)
{
	static const int of[] = {[JOB_STAGED] = 0, [JOB_WAITING] = 1,
				 [JOB_STAGING] = 2, [JOB_LATE] = 3,
				 [JOB_FAILED] = 4};

	return of[s];
}

static void line_add(struct line *l, const struct line *x)
{
	l->n += x->n;
	l->n_staged += x->n_staged;
	l->stored_bytes += x->stored_bytes;
	l->size_bytes += x->size_bytes;
	l->job = 0;
	l->published = l->published || x->published;
	if (strcmp(l->server, x->server) != 0)
		l->server = l->p->server;
	if (strcmp(l->image, x->image) != 0)
		l->image = l->p->image;
	if (x->at_s < l->at_s) {
		l->at_s = x->at_s;
		l->until_s = x->until_s;
	}
	if (!x->expected_s || (l->expected_s && x->expected_s > l->expected_s))
		l->expected_s = x->expected_s;
	if (!l->start_s || (x->start_s && x->start_s < l->start_s))
		l->start_s = x->start_s;
	if (x->late_s > l->late_s)
		l->late_s = x->late_s;
	if (gravity(x->state) > gravity(l->state)) {
		l->state = x->state;
		l->message = x->message;
	} else if (!*l->message && x->state == l->state) {
		l->message = x->message;
	}
}

static void line_print(struct table *t, bool json, const struct line *l)
{
	const struct plan_entry *p = l->p;
	void *row = table_row(t);
	char span[UNITS_TEXT], text[48];

	table_u64(t, row, COL_ENTRY, (uint64_t)p->entry);
	table_text(t, row, COL_SERVER, l->server);
	table_text(t, row, COL_IMAGE, l->image);
	plan_time_cell(t, row, COL_AT, json, l->at_s, p->zone);
	plan_time_cell(t, row, COL_UNTIL, json, l->until_s, p->zone);
	snprintf(text, sizeof(text), "%" PRId64, p->priority);
	table_text(t, row, COL_PRIORITY, text);
	table_text(t, row, COL_STATE, job_state_name(l->state));
	snprintf(text, sizeof(text), "%zu/%zu", l->n_staged, l->n);
	if (l->n > 1)
		table_text(t, row, COL_STAGED, text);
	plan_time_cell(t, row, COL_EXPECTED, json, l->expected_s, p->zone);
	if (l->late_s) {
		snprintf(text, sizeof(text), "%" PRId64, l->late_s);
		units_span((uint64_t)l->late_s * 1000, span);
		table_text(t, row, COL_LATE, json ? text : span);
	}
	table_u64(t, row, COL_STORED, l->stored_bytes);
	if (l->published)
		table_u64(t, row, COL_SIZE, l->size_bytes);
	plan_time_cell(t, row, COL_START, json, l->start_s, p->zone);
	if (*p->repeat)
		table_text(t, row, COL_REPEAT, p->repeat);
	table_text(t, row, COL_ZONE, p->zone);
	if (l->job)
		table_u64(t, row, COL_JOB, l->job);
	if (*l->message)
		table_text(t, row, COL_MESSAGE, l->message);
}

static int by_time(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->at_s != y->at_s)
		return x->at_s < y->at_s ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static bool is_for(const struct line *l, const char *server)
{
	return !server || strcmp(server, l->server) == 0 ||
	       strcmp(server, l->p->server) == 0;
}

static size_t choose(const struct cli_context *c, const struct view *v,
		     struct line *ret)
{
	const char *server = cli_value(c, "server");
	bool dates = cli_flag(c, "dates");
	bool each = dates || cli_flag(c, "each");
	struct line l;
	size_t n = 0;

	for (size_t i = 0; i < v->in.n_wants; i++) {
		if (!dates && !plan_is_next(v, i))
			continue;
		line_make(v, i, &l);
		if (!is_for(&l, server))
			continue;
		if (!each && n > 0 && ret[n - 1].p == l.p)
			line_add(&ret[n - 1], &l);
		else
			ret[n++] = l;
	}
	qsort(ret, n, sizeof(*ret), by_time);
	return n;
}

static int list_view(struct cli_context *c, struct db *db,
		     const struct view *v)
{
	CLEAN_FREE struct line *l = calloc(v->in.n_wants + 1, sizeof(*l));
	CLEAN_TABLE struct table *t = NULL;
	const char *server = cli_value(c, "server");
	struct server known;
	struct err e;
	size_t n;
	int r;

	if (!l)
		return cli_fail(c, "out of memory");
	r = cli_table(c, "plan", plan_list_columns, &t);
	if (r)
		return r;
	n = choose(c, v, l);
	for (size_t i = 0; i < n; i++)
		line_print(t, c->table.json, &l[i]);
	/* An empty plan and a mistyped name look the same. */
	if (n == 0 && server && !plan_is_group(server) &&
	    servers_get(db, server, &known, &e))
		return cli_fail(c, "%s", e.text);
	return cli_table_print(c, t);
}

int plan_list_run(struct cli_context *c)
{
	CLEAN_DB struct db *db = NULL;
	struct view *v;
	int r = verb_open_db(c, &db);

	if (!r)
		r = plan_view(c, db, 0, &v);
	if (r)
		return r;
	r = list_view(c, db, v);
	view_free(v);
	return r;
}
