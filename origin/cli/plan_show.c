/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_show.c - `plan show ENTRY`: the entry, its dates (those to come as the
 * schedule has them now, those that are over as they ended), and the orders
 * that were given for it. For people blocks of text; as JSON one object.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "origin/cli/plan.h"
#include "origin/servers/servers.h"

enum {
	COL_SERVER,
	COL_IMAGE,
	COL_AT,
	COL_UNTIL,
	COL_STATE,
	COL_START,
	COL_EXPECTED,
	COL_LATE,
	COL_STORED,
	COL_SIZE,
	COL_JOB,
	COL_VERSION,
	COL_VERDICT
};

const struct table_column plan_show_columns[] = {
	{"SERVER", "production server", TABLE_TEXT, true},
	{"IMAGE", "name of the image", TABLE_TEXT, true},
	{"AT", "when it has to be there", TABLE_TEXT, true},
	{"UNTIL", "how long it is held there", TABLE_TEXT, true},
	{"STATE", "waiting, staging, staged, late or failed", TABLE_TEXT, true},
	{"START", "when its transfer begins, or began", TABLE_TEXT, true},
	{"EXPECTED", "when it will be, or was, staged", TABLE_TEXT, true},
	{"LATE", "by how much", TABLE_TEXT, true},
	{"STORED", "verified bytes that the server has", TABLE_SIZE, true},
	{"SIZE", "size of the image", TABLE_SIZE, true},
	{"JOB", "number of the job", TABLE_NUMBER, true},
	{"VERSION", "id of the version it stages", TABLE_NUMBER, false},
	{"VERDICT", "all of it in words", TABLE_TEXT, true},
	{0},
};

/* One date, from the schedule or from its row. */
struct date {
	struct job_row row;
	int64_t until_s, late_s;
	char verdict[VERDICT_TEXT];
};

struct show {
	struct cli_context *c;
	struct db *db;
	struct plan_entry entry;
	struct table *table;
	json_t *dates, *orders;
};

static json_t *json_time(int64_t unix_s, const char *zone)
{
	char text[WHEN_TEXT];

	return unix_s ? json_string(when_rfc3339(unix_s, zone, text))
		      : json_null();
}

static void date_json(struct show *s, const struct date *d)
{
	const char *zone = s->entry.zone;
	const struct job_row *r = &d->row;

	json_array_append_new(
		s->dates,
		json_pack("{s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:I, s:I, s:I,"
			  " s:I, s:I, s:s}",
			  "server", r->server, "image", r->image,
			  "at", json_time(r->at_s, zone), "until",
			  json_time(d->until_s, zone), "state",
			  job_state_name(r->state), "start",
			  json_time(r->start_s, zone), "expected",
			  json_time(r->expected_s, zone), "late",
			  (json_int_t)d->late_s, "stored",
			  (json_int_t)r->stored_bytes, "size",
			  (json_int_t)r->size_bytes, "job",
			  (json_int_t)r->job, "version", (json_int_t)r->id,
			  "verdict", d->verdict));
}

static void add_date(struct show *s, const struct date *d)
{
	const struct job_row *r = &d->row;
	const char *zone = s->entry.zone;
	char span[UNITS_TEXT];
	void *row;

	if (s->c->table.json) {
		date_json(s, d);
		return;
	}
	row = table_row(s->table);
	table_text(s->table, row, COL_SERVER, r->server);
	table_text(s->table, row, COL_IMAGE, r->image);
	plan_time_cell(s->table, row, COL_AT, false, r->at_s, zone);
	plan_time_cell(s->table, row, COL_UNTIL, false, d->until_s, zone);
	table_text(s->table, row, COL_STATE, job_state_name(r->state));
	plan_time_cell(s->table, row, COL_START, false, r->start_s, zone);
	plan_time_cell(s->table, row, COL_EXPECTED, false, r->expected_s, zone);
	if (d->late_s)
		table_text(s->table, row, COL_LATE,
			   units_span((uint64_t)d->late_s * 1000, span));
	table_u64(s->table, row, COL_STORED, r->stored_bytes);
	table_u64(s->table, row, COL_SIZE, r->size_bytes);
	if (r->job)
		table_u64(s->table, row, COL_JOB, r->job);
	if (r->id)
		table_u64(s->table, row, COL_VERSION, r->id);
	table_text(s->table, row, COL_VERDICT, d->verdict);
}

/* Dates that the schedule does not look at any more. */
static int add_past(struct show *s, int64_t before_s, struct err *e)
{
	struct repeat rep = plan_repeat(&s->entry);
	struct sqlite3_stmt *q;
	int r;

	r = db_query(s->db, &q, e,
		     "SELECT job,at_s,id,state,start_s,staged_s,stored,size,"
		     "message,server,image FROM job WHERE entry=? AND at_s<?"
		     " ORDER BY at_s,server,image",
		     "ii", s->entry.entry, before_s);
	if (r)
		return r;
	while ((r = db_next(s->db, q, e)) > 0) {
		struct date d = {0};

		d.row.job = db_col_u64(q, 0);
		d.row.server = db_col_text(q, 9);
		d.row.image = db_col_text(q, 10);
		d.row.at_s = db_col_int(q, 1);
		d.row.id = db_col_u64(q, 2);
		d.row.state = (enum job_state)db_col_int(q, 3);
		d.row.start_s = db_col_int(q, 4);
		d.row.expected_s = db_col_int(q, 5);
		d.row.stored_bytes = db_col_u64(q, 6);
		d.row.size_bytes = db_col_u64(q, 7);
		d.until_s = repeat_until(&rep, d.row.at_s);
		if (d.row.expected_s > d.row.at_s)
			d.late_s = d.row.expected_s - d.row.at_s;
		snprintf(d.verdict, sizeof(d.verdict), "over%s%s",
			 *db_col_text(q, 8) ? ": " : "", db_col_text(q, 8));
		add_date(s, &d);
	}
	db_done(q);
	return r;
}

static int add_dates(struct show *s, const struct view *v, struct err *e)
{
	int64_t first = INT64_MAX;
	int r;

	for (size_t i = 0; i < v->in.n_wants; i++)
		if (v->in.want[i].entry == s->entry.entry &&
		    v->in.want[i].at_s < first)
			first = v->in.want[i].at_s;
	r = add_past(s, first, e);
	for (size_t i = 0; i < v->in.n_wants && !r; i++) {
		const struct sched_want *w = &v->in.want[i];
		const struct sched_job *j = &v->out.job[i];
		struct date d = {0};

		if (w->entry != s->entry.entry)
			continue;
		d.row = (struct job_row){
			.job = w->job,
			.server = v->in.server[w->server].name,
			.image = w->image,
			.at_s = w->at_s,
			.id = w->id,
			.stored_bytes = j->stored_bytes,
			.size_bytes = w->size_bytes,
			.state = j->state,
			.start_s = j->start_s,
			.expected_s = j->expected_s,
		};
		d.until_s = w->until_s;
		d.late_s = j->late_s;
		plan_verdict(v, i, d.verdict);
		add_date(s, &d);
	}
	return r;
}

/* ---- orders ------------------------------------------------------------ */

static void add_order(struct show *s, const struct order *o)
{
	char at[WHEN_TEXT], size[UNITS_TEXT];
	const char *zone = s->entry.zone;

	if (!s->c->table.json) {
		printf("  %llu %s: %s%s%s, %s stored, %s\n",
		       (unsigned long long)o->o.number,
		       wire_order_kind_name(o->o.kind),
		       order_state_name(o->state), *o->message ? ": " : "",
		       o->message, units_size(o->stored_bytes, size),
		       when_text(o->updated_s ? o->updated_s : o->created_s,
				 zone, at));
		return;
	}
	json_array_append_new(
		s->orders,
		json_pack("{s:I, s:s, s:s, s:I, s:o, s:o, s:o, s:s}", "order",
			  (json_int_t)o->o.number, "kind",
			  wire_order_kind_name(o->o.kind), "state",
			  order_state_name(o->state), "stored",
			  (json_int_t)o->stored_bytes, "created",
			  json_time(o->created_s, zone), "sent",
			  json_time(o->sent_s, zone), "updated",
			  json_time(o->updated_s, zone), "message",
			  o->message));
}

static int add_orders(struct show *s, struct err *e)
{
	struct sqlite3_stmt *q;
	struct order o;
	int r;

	r = db_query(s->db, &q, e,
		     "SELECT number FROM orders WHERE job>0 AND job IN"
		     " (SELECT job FROM job WHERE entry=?) ORDER BY number",
		     "i", s->entry.entry);
	if (r)
		return r;
	while ((r = db_next(s->db, q, e)) > 0) {
		r = orders_get(s->db, db_col_u64(q, 0), &o, e);
		if (r)
			break;
		add_order(s, &o);
		order_clear(&o);
	}
	db_done(q);
	return r;
}

/* ---- all of it --------------------------------------------------------- */

static void print_facts(const struct plan_entry *p)
{
	char at[WHEN_TEXT], until[WHEN_TEXT], created[WHEN_TEXT];

	printf("Entry:    %" PRId64 "%s\n", p->entry,
	       p->removed_s ? ", removed" : "");
	printf("Server:   %s\n", p->server);
	printf("Image:    %s\n", p->image);
	printf("At:       %s (%s)\n", when_text(p->at_s, p->zone, at), p->zone);
	printf("Until:    %s\n",
	       p->until_s ? when_text(p->until_s, p->zone, until)
			  : "as long as --hold of `serve` says");
	printf("Repeat:   %s\n", *p->repeat ? p->repeat : "once");
	printf("Priority: %" PRId64 "\n", p->priority);
	printf("Added:    %s\n\n", when_text(p->created_s, p->zone, created));
}

static int show_text(struct show *s, const struct view *v)
{
	CLEAN_TABLE struct table *t = NULL;
	struct err e;
	int r;

	r = cli_table(s->c, "dates", plan_show_columns, &t);
	if (r)
		return r;
	s->table = t;
	if (add_dates(s, v, &e))
		return cli_fail(s->c, "%s", e.text);
	print_facts(&s->entry);
	fflush(stdout);
	r = cli_table_print(s->c, t);
	if (r)
		return r;
	printf("\nOrders:\n");
	return add_orders(s, &e) ? cli_fail(s->c, "%s", e.text) : 0;
}

static int show_json(struct show *s, const struct view *v)
{
	const struct plan_entry *p = &s->entry;
	struct err e;
	json_t *o;
	int r;

	s->dates = json_array();
	s->orders = json_array();
	r = add_dates(s, v, &e);
	if (!r)
		r = add_orders(s, &e);
	o = json_pack("{s:I, s:s, s:s, s:o, s:o, s:s, s:s, s:I, s:o, s:o, s:o,"
		      " s:o}",
		      "entry", (json_int_t)p->entry, "server", p->server,
		      "image", p->image, "at", json_time(p->at_s, p->zone),
		      "until", json_time(p->until_s, p->zone), "zone", p->zone,
		      "repeat", p->repeat, "priority", (json_int_t)p->priority,
		      "added", json_time(p->created_s, p->zone), "removed",
		      json_time(p->removed_s, p->zone), "dates", s->dates,
		      "orders", s->orders);
	if (r)
		r = cli_fail(s->c, "%s", e.text);
	else if (!o)
		r = cli_fail(s->c, "out of memory");
	else if (json_dumpf(o, stdout, JSON_INDENT(3)) || putchar('\n') == EOF)
		r = cli_fail(s->c, "cannot write");
	json_decref(o);
	return r;
}

int plan_show_run(struct cli_context *c)
{
	struct show s = {.c = c};
	struct view *v;
	struct err e;
	int64_t n;
	int r = plan_number(c, c->arg[0], &n);

	if (!r)
		r = verb_open_db(c, &s.db);
	if (r)
		return r;
	if (plan_get(s.db, n, &s.entry, &e)) {
		r = cli_fail(c, "%s", e.text);
	} else {
		r = plan_view(c, s.db, 0, &v);
		if (!r) {
			r = c->table.json ? show_json(&s, v) : show_text(&s, v);
			view_free(v);
		}
		plan_entry_clear(&s.entry);
	}
	db_close(s.db);
	return r;
}
