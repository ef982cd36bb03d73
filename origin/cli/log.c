/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - `stagefs-origin log`: the audit log, newest last, as a table.
 */
#include <errno.h>
#include <string.h>

#include "common/units.h"
#include "origin/cli/verbs.h"
#include "origin/servers/servers.h"
#include "origin/store/store.h"

#define LAST_DEFAULT 100

enum { COL_TIME, COL_EVENT, COL_SERVER, COL_ORDER, COL_IMAGE, COL_TEXT };

static const struct table_column columns[] = {
	{"TIME", "when", TABLE_TIME, true},
	{"EVENT", "what: added, replaced, removed, ordered, sent, done, ...",
	 TABLE_TEXT, true},
	{"SERVER", "which production server", TABLE_TEXT, true},
	{"ORDER", "number of the order", TABLE_NUMBER, true},
	{"IMAGE", "name of the image", TABLE_TEXT, true},
	{"TEXT", "details, or why it failed", TABLE_TEXT, true},
	{0},
};

/* No line may mean that nothing happened, or that the name is mistyped. */
static int check_names(struct db *db, const struct cli_context *c,
		       struct err *e)
{
	const char *server = cli_value(c, "server");
	const char *image = cli_value(c, "image");
	struct server s;
	struct node n;
	int r = server ? servers_get(db, server, &s, e) : 0;

	return !r && image ? node_find(db, image, &n, e) : r;
}

/* A filter that is not given is NULL (or 0) and lets all lines pass. */
static int fill(struct db *db, struct table *t, const struct cli_context *c,
		int64_t order, int64_t last, struct err *e)
{
	struct sqlite3_stmt *q;
	bool any = false;
	int r;

	r = db_query(db, &q, e,
		     "SELECT * FROM (SELECT line,time_s,event,server,"
		     "order_number,image,text FROM log"
		     " WHERE (?1 IS NULL OR server=?1)"
		     " AND (?2 IS NULL OR image=?2)"
		     " AND (?3=0 OR order_number=?3)"
		     " ORDER BY line DESC LIMIT ?4) ORDER BY line",
		     "ssii", cli_value(c, "server"), cli_value(c, "image"),
		     order, last);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) == 1) {
		void *row = table_row(t);

		any = true;
		table_time(t, row, COL_TIME, db_col_int(q, 1));
		table_text(t, row, COL_EVENT, db_col_text(q, 2));
		if (!db_col_null(q, 3))
			table_text(t, row, COL_SERVER, db_col_text(q, 3));
		if (db_col_int(q, 4))
			table_u64(t, row, COL_ORDER, db_col_u64(q, 4));
		if (!db_col_null(q, 5))
			table_text(t, row, COL_IMAGE, db_col_text(q, 5));
		table_text(t, row, COL_TEXT, db_col_text(q, 6));
	}
	db_done(q);
	return !r && !any ? check_names(db, c, e) : r;
}

/* A positive count in decimal digits. */
static int parse_count(const char *text, int64_t *ret)
{
	int64_t n = 0;

	if (!*text || strlen(text) > 18)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		n = n * 10 + (*text - '0');
	}
	if (!n)
		return -EINVAL;
	*ret = n;
	return 0;
}

static int run_log(struct cli_context *c)
{
	const char *last_text = cli_value(c, "last");
	const char *order_text = cli_value(c, "order");
	int64_t last = cli_flag(c, "all") ? -1 : LAST_DEFAULT, order = 0;
	CLEAN_DB struct db *db = NULL;
	CLEAN_TABLE struct table *t = NULL;
	struct err e;
	int r;

	if (last_text && parse_count(last_text, &last))
		return cli_usage(c, "--last %s: wants a number, such as 20",
				 last_text);
	if (order_text && parse_count(order_text, &order))
		return cli_usage(c, "--order %s: wants an order's number",
				 order_text);
	r = verb_open_db(c, &db);
	if (!r)
		r = cli_table(c, "log", columns, &t);
	if (r)
		return r;
	if (fill(db, t, c, order, last, &e))
		return cli_fail(c, "%s", e.text);
	return cli_table_print(c, t);
}

static const struct cli_option options[] = {
	{"server", 's', "NAME", "only lines about this server"},
	{"image", 'i', "NAME", "only lines about this image"},
	{"order", 0, "N", "only lines about this order"},
	{"last", 'l', "N", "the last N lines (default: 100)"},
	{"all", 'a', NULL, "all lines"},
	{0},
};

const struct cli_verb verb_log = {
	.name = "log",
	.summary = "who was sent what, when, verified or why not",
	.option = options,
	.run = run_log,
	.table = columns,
};
