/* SPDX-License-Identifier: Apache-2.0 */
/* order_list.c - `order list`: those by hand and those of the plan alike. */
#include <stdlib.h>

#include "origin/cli/order.h"
#include "origin/cli/verbs.h"
#include "origin/servers/servers.h"

enum {
	COL_NUMBER,
	COL_SERVER,
	COL_KIND,
	COL_IMAGE,
	COL_SIZE,
	COL_STORED,
	COL_STATE,
	COL_CREATED,
	COL_SENT,
	COL_TIMES,
	COL_UPDATED,
	COL_DEADLINE,
	COL_HOLD,
	COL_JOB,
	COL_ID,
	COL_MESSAGE
};

const struct table_column order_list_columns[] = {
	{"NUMBER", "number of the order", TABLE_NUMBER, true},
	{"SERVER", "whom it is for", TABLE_TEXT, true},
	{"KIND", "prefetch, delete, reclaim, hold, release, cancel",
	 TABLE_TEXT, true},
	{"IMAGE", "image name", TABLE_TEXT, true},
	{"SIZE", "of the image, or what is to be reclaimed", TABLE_SIZE,
	 true},
	{"STORED", "stored, or reclaimed, as last reported", TABLE_SIZE,
	 true},
	{"STATE", "pending, running, done, failed, cancelled", TABLE_TEXT,
	 true},
	{"CREATED", "when it was given", TABLE_TIME, true},
	{"SENT", "when it was first delivered", TABLE_TIME, false},
	{"DELIVERIES", "how often it was delivered", TABLE_NUMBER, false},
	{"UPDATED", "when it was last reported on", TABLE_TIME, false},
	{"DEADLINE", "when it is needed", TABLE_TIME, false},
	{"HOLD-UNTIL", "not evicted before", TABLE_TIME, false},
	{"JOB", "job of the plan that it belongs to", TABLE_NUMBER, false},
	{"ID", "id of the version", TABLE_NUMBER, false},
	{"MESSAGE", "why it failed", TABLE_TEXT, true},
	{0},
};

const struct cli_option order_list_options[] = {
	{"all", 'a', NULL, "finished ones too"},
	{0},
};

static void time_cell(struct table *t, void *row, size_t col, int64_t unix_s)
{
	if (unix_s)
		table_time(t, row, col, unix_s);
}

static void list_row(struct table *t, const struct order *o)
{
	bool reclaim = o->o.kind == ORDER_RECLAIM;
	void *row = table_row(t);

	table_u64(t, row, COL_NUMBER, o->o.number);
	table_text(t, row, COL_SERVER, o->server);
	table_text(t, row, COL_KIND, wire_order_kind_name(o->o.kind));
	if (o->o.name && o->o.name[0])
		table_text(t, row, COL_IMAGE, o->o.name);
	if (reclaim || o->o.size_bytes)
		table_u64(t, row, COL_SIZE,
			  reclaim ? o->o.bytes : o->o.size_bytes);
	if (reclaim || o->o.kind == ORDER_PREFETCH)
		table_u64(t, row, COL_STORED, o->stored_bytes);
	table_text(t, row, COL_STATE, order_state_name(o->state));
	time_cell(t, row, COL_CREATED, o->created_s);
	time_cell(t, row, COL_SENT, o->sent_s);
	table_u64(t, row, COL_TIMES, o->sent_count);
	time_cell(t, row, COL_UPDATED, o->updated_s);
	time_cell(t, row, COL_DEADLINE, o->o.deadline_s);
	time_cell(t, row, COL_HOLD, o->o.hold_until_s);
	if (o->o.job)
		table_u64(t, row, COL_JOB, o->o.job);
	if (o->o.id)
		table_u64(t, row, COL_ID, o->o.id);
	if (o->message[0])
		table_text(t, row, COL_MESSAGE, o->message);
}

int order_list_run(struct cli_context *c)
{
	const char *server = c->n_args ? c->arg[0] : NULL;
	CLEAN_DB struct db *db = NULL;
	struct server known;
	struct order *list;
	CLEAN_TABLE struct table *t = NULL;
	struct err e;
	size_t n;
	int r = verb_open_db(c, &db);

	if (!r)
		r = cli_table(c, "orders", order_list_columns, &t);
	if (r)
		return r;
	if (orders_list(db, server, cli_flag(c, "all"), &list, &n, &e))
		return cli_fail(c, "%s", e.text);
	/* None at all for a name that nobody has: a slip of the pen. */
	if (n == 0 && server && servers_get(db, server, &known, &e)) {
		free(list);
		return cli_fail(c, "%s", e.text);
	}
	for (size_t i = 0; i < n; i++)
		list_row(t, &list[i]);
	orders_free(list, n);
	return cli_table_print(c, t);
}
