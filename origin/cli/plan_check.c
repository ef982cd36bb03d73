/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_check.c - `plan check`: the schedule, run ahead, as a table of dates
 * with what will become of each.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "origin/cli/plan.h"

#define DAY_S 86400
#define AHEAD_DEFAULT_S (7 * DAY_S)
#define AHEAD_MAX_S (366 * DAY_S)

enum {
	COL_ENTRY,
	COL_SERVER,
	COL_IMAGE,
	COL_AT,
	COL_OK,
	COL_FITS,
	COL_START,
	COL_READY,
	COL_LATE,
	COL_EVICTS,
	COL_VERDICT
};

const struct table_column plan_check_columns[] = {
	{"ENTRY", "number of the entry", TABLE_NUMBER, true},
	{"SERVER", "production server", TABLE_TEXT, true},
	{"IMAGE", "name of the image", TABLE_TEXT, true},
	{"AT", "when it has to be there", TABLE_TEXT, true},
	{"OK", "it will be there in time", TABLE_BOOL, true},
	{"FITS", "there is room for it, or will be", TABLE_BOOL, false},
	{"START", "when its transfer begins, or began", TABLE_TEXT, true},
	{"READY", "when it will be, or was, staged", TABLE_TEXT, true},
	{"LATE", "by how much; seconds in JSON", TABLE_NUMBER, false},
	{"EVICTS", "what has to go for it", TABLE_TEXT, false},
	{"VERDICT", "all of it in words", TABLE_TEXT, true},
	{0},
};

const struct cli_option plan_check_options[] = {
	{"ahead", 0, "SPAN", "how far to look (default: 7d, at most 366d)"},
	{0},
};

/* Returns whether all is well with it. */
static bool check_row(struct table *t, bool json, const struct view *v,
		      size_t i)
{
	const struct sched_want *w = &v->in.want[i];
	const struct sched_job *j = &v->out.job[i];
	const struct plan_entry *p = &v->entry[v->entry_of[i]];
	void *row = table_row(t);
	char text[VERDICT_TEXT];
	bool ok = plan_verdict(v, i, text);

	table_text(t, row, COL_VERDICT, text);
	table_u64(t, row, COL_ENTRY, (uint64_t)p->entry);
	table_text(t, row, COL_SERVER, v->in.server[w->server].name);
	table_text(t, row, COL_IMAGE, w->image);
	plan_time_cell(t, row, COL_AT, json, w->at_s, p->zone);
	table_bool(t, row, COL_OK, ok);
	table_bool(t, row, COL_FITS, j->fits);
	plan_time_cell(t, row, COL_START, json, j->start_s, p->zone);
	plan_time_cell(t, row, COL_READY, json, j->expected_s, p->zone);
	if (j->late_s) {
		if (json)
			snprintf(text, sizeof(text), "%" PRId64, j->late_s);
		else
			units_span((uint64_t)j->late_s * 1000, text);
		table_text(t, row, COL_LATE, text);
	}
	if (j->n_victims)
		table_text(t, row, COL_EVICTS, plan_victims(v, i, text));
	return ok;
}

static int check_view(struct cli_context *c, const struct view *v,
		      int64_t entry, int64_t to_s)
{
	CLEAN_TABLE struct table *t = NULL;
	bool ok = true, found = false;
	int r = cli_table(c, "check", plan_check_columns, &t);

	if (r)
		return r;
	for (size_t i = 0; i < v->in.n_wants; i++) {
		const struct sched_want *w = &v->in.want[i];

		if (entry ? w->entry != entry : w->at_s > to_s)
			continue;
		found = true;
		ok = check_row(t, c->table.json, v, i) && ok;
	}
	if (entry && !found)
		return cli_fail(c, "the plan has no date to come of an entry "
				"%" PRId64 ": see `stagefs-origin plan list`",
				entry);
	r = cli_table_print(c, t);
	return r ? r : !ok;
}

int plan_check_run(struct cli_context *c)
{
	const char *ahead = cli_value(c, "ahead");
	uint64_t ms = (uint64_t)AHEAD_DEFAULT_S * 1000;
	int64_t entry = 0;
	struct view *v;
	struct db *db;
	struct err e;
	int r = 0;

	if (ahead && units_parse_span(ahead, &ms, &e))
		return cli_usage(c, "--ahead: %s", e.text);
	if (ms / 1000 > AHEAD_MAX_S)
		return cli_usage(c, "--ahead: at most 366d");
	if (c->n_args)
		r = plan_number(c, c->arg[0], &entry);
	if (!r)
		r = verb_open_db(c, &db);
	if (r)
		return r;
	r = plan_view(c, db, (int64_t)(ms / 1000), &v);
	if (!r) {
		r = check_view(c, v, entry, v->in.now_s + (int64_t)(ms / 1000));
		view_free(v);
	}
	db_close(db);
	return r;
}
