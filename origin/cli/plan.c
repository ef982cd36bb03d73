/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - `plan remove`, and what all verbs of `plan` use.
 *
 * What they show is worked out anew by the same function that the daemon
 * schedules with (view.h), not read from what it wrote last: so a plan can be
 * made, checked and looked at while no daemon runs.
 */
#include "origin/cli/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/units.h"
#include "origin/servers/servers.h"

/* ---- shared ------------------------------------------------------------ */

int plan_view(const struct cli_context *c, struct db *db, int64_t ahead_s,
	      struct view **ret)
{
	struct err e;

	if (view_make(db, clock_unix_s(), 0, 0, ahead_s, ret, &e))
		return cli_fail(c, "%s", e.text);
	if ((*ret)->cut_entry)
		fprintf(stderr, "%s: entry %" PRId64 " stands for more than %u "
			"images on servers: only the first are looked at\n",
			c->program, (*ret)->cut_entry, VIEW_PAIRS_MAX);
	return 0;
}

const char *plan_victims(const struct view *v, size_t i,
			 char out[VERDICT_TEXT])
{
	const struct sched_job *j = &v->out.job[i];
	char size[UNITS_TEXT];
	size_t n = 0;

	*out = '\0';
	for (size_t k = 0; k < j->n_victims; k++) {
		const struct sched_victim *m = &v->out.victim[j->victim + k];
		int w;

		if (n > VERDICT_TEXT / 2) {
			snprintf(out + n, VERDICT_TEXT - n, " and %zu more",
				 j->n_victims - k);
			break;
		}
		w = snprintf(out + n, VERDICT_TEXT - n, "%s%.200s (%s)",
			     k ? ", " : "", m->name,
			     units_size(m->bytes, size));
		n += w > 0 ? (size_t)w : 0;
	}
	return out;
}

#define RETURN_TEXT 160

/* What has to happen first; "" if the server is there. */
static const char *if_it_returns(const struct view *v, size_t i,
				 char out[RETURN_TEXT])
{
	const struct sched_server *s = &v->in.server[v->in.want[i].server];
	int64_t age_s = v->in.now_s - s->seen_s;
	char age[UNITS_TEXT];

	*out = '\0';
	if (s->known && age_s > SERVER_SILENT_S)
		snprintf(out, RETURN_TEXT,
			 ", if %s comes back: it was last seen %s ago", s->name,
			 units_span((uint64_t)age_s * 1000, age));
	return out;
}

bool plan_verdict(const struct view *v, size_t i, char out[VERDICT_TEXT])
{
	const struct sched_job *j = &v->out.job[i];
	const struct plan_entry *p = &v->entry[v->entry_of[i]];
	char ready[WHEN_TEXT], late[UNITS_TEXT], victims[VERDICT_TEXT];
	char returns[RETURN_TEXT];
	bool known = v->in.server[v->in.want[i].server].known;

	if_it_returns(v, i, returns);
	when_text(j->expected_s, p->zone, ready);
	units_span((uint64_t)j->late_s * 1000, late);
	plan_victims(v, i, victims);
	if (j->state == JOB_STAGED)
		snprintf(out, VERDICT_TEXT, "staged%s%s",
			 j->late_s ? ", late by " : "",
			 j->late_s ? late : "");
	else if (!j->fits || !known || j->state == JOB_FAILED)
		snprintf(out, VERDICT_TEXT, "%s", j->message);
	else if (!j->expected_s)
		snprintf(out, VERDICT_TEXT, "will not be ready: %s",
			 j->message);
	else
		snprintf(out, VERDICT_TEXT, "%s%s, ready %s%s%.600s%s",
			 j->late_s ? "late by " : "in time",
			 j->late_s ? late : "", ready,
			 *victims ? ", evicts " : "", victims, returns);
	/* A server that is off now may be back when its transfer begins. */
	return j->state == JOB_STAGED ||
	       (j->fits && known && j->state != JOB_FAILED && j->expected_s &&
		!j->late_s && !(*returns && j->start_s <= v->in.now_s));
}

int plan_number(const struct cli_context *c, const char *text, int64_t *ret)
{
	char *end;
	intmax_t n;

	errno = 0;
	n = strtoimax(text, &end, 10);
	if (errno || *end || end == text || n <= 0)
		return cli_usage(c, "'%s' is not the number of an entry: see "
				 "`stagefs-origin plan list`", text);
	*ret = n;
	return 0;
}

void plan_time_cell(struct table *t, void *row, size_t col, bool json,
		    int64_t unix_s, const char *zone)
{
	char text[WHEN_TEXT];

	if (unix_s)
		table_text(t, row, col,
			   json ? when_rfc3339(unix_s, zone, text)
				: when_text(unix_s, zone, text));
}

bool plan_is_next(const struct view *v, size_t i)
{
	const struct sched_want *w = &v->in.want[i], *before = w - 1;

	return i == 0 || w->entry != before->entry ||
	       w->server != before->server || w->image != before->image;
}

/* ---- remove ------------------------------------------------------------ */

static bool among(const int64_t *entry, size_t n, int64_t one)
{
	while (n)
		if (entry[--n] == one)
			return true;
	return false;
}

static int run_remove(struct cli_context *c)
{
	CLEAN_FREE int64_t *entry = calloc((size_t)c->n_args, sizeof(*entry));
	CLEAN_DB struct db *db = NULL;
	size_t n = 0;
	struct err e;
	int r = entry ? 0 : cli_fail(c, "out of memory");

	for (int i = 0; i < c->n_args && !r; i++) {
		r = plan_number(c, c->arg[i], &entry[n]);
		n += !among(entry, n, entry[n]);
	}
	if (!r)
		r = verb_open_db(c, &db);
	if (r)
		return r;
	if (plan_remove(db, entry, n, clock_unix_s(), &e))
		return cli_fail(c, "%s%s", e.text,
				n > 1 ? "; nothing was removed" : "");
	for (size_t i = 0; i < n; i++)
		printf("entry %" PRId64 ": removed\n", entry[i]);
	return 0;
}

/* ---- the verbs --------------------------------------------------------- */

const struct cli_verb verbs_plan[] = {
	{
		.name = "add",
		.args = "--server NAME --image NAME --at TIME",
		.summary = "say that a server needs an image at a time",
		.option = plan_add_options,
		.run = plan_add_run,
		.details = when_help,
	},
	{
		.name = "list",
		.summary = "list the plan and how it goes",
		.option = plan_list_options,
		.run = plan_list_run,
		.table = plan_list_columns,
		.details = "One line per entry: its next date. For a group or "
			   "a folder that is the worst of all its servers and "
			   "images; --each has a line for each. Entries whose "
			   "dates are over are not listed; `plan show` has "
			   "them. Times are in the entry's zone.",
	},
	{
		.name = "show",
		.args = "ENTRY",
		.summary = "show an entry, its dates and its orders",
		.run = plan_show_run,
		.min_args = 1,
		.max_args = 1,
		.table = plan_show_columns,
	},
	{
		.name = "remove",
		.args = "ENTRY...",
		.summary = "take entries out of the plan",
		.run = run_remove,
		.min_args = 1,
		.max_args = -1,
		.details = "Transfers for them end, and what they held may be "
			   "evicted again. All are removed, or none.",
	},
	{
		.name = "check",
		.args = "[ENTRY]",
		.summary = "foretell what will not fit or come late",
		.option = plan_check_options,
		.run = plan_check_run,
		.max_args = 1,
		.table = plan_check_columns,
		.details = "Exit status 1 if anything does not fit or comes "
			   "late. Changes nothing.",
	},
	{
		.name = "import",
		.args = "FILE",
		.summary = "add the entries of a table",
		.option = plan_import_options,
		.run = plan_import_run,
		.min_args = 1,
		.max_args = 1,
		.details =
			"FILE (- is standard input) has a line per entry with "
			"these fields, separated by tabs: server, image, at, "
			"until, repeat, priority. The last three may be empty "
			"or missing; empty lines and lines that start with # "
			"are skipped. A line of +@GROUP and SERVER puts a "
			"server into a group, before the entries that name it. "
			"All is added, or nothing.",
	},
	{
		.name = "export",
		.summary = "print the plan as `plan import` takes it",
		.run = plan_export_run,
		.details = "Groups first, then all entries that are not over.",
	},
	{0},
};
