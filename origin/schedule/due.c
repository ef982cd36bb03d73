/* SPDX-License-Identifier: Apache-2.0 */
/*
 * due.c - out of the open orders, not out of a run of the schedule: orders by
 * hand have a deadline too (or none: then they come last, the oldest first).
 */
#include "origin/schedule/due.h"

#include <errno.h>
#include <stdlib.h>

#include "common/wire.h"

static int read_due(struct sqlite3_stmt *q, void *ret)
{
	struct due *d = ret;

	db_col_copy(q, 0, d->server, sizeof(d->server));
	d->rank = (size_t)db_col_int(q, 1);
	return 0;
}

int due_list(struct db *db, struct due **ret, size_t *ret_n, struct err *e)
{
	const struct db_row row = {sizeof(**ret), read_due, NULL};
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT server,min(rank) FROM (SELECT o.server,"
		     " row_number() OVER (ORDER BY o.deadline_s=0,o.deadline_s,"
		     "  coalesce(p.priority,0) DESC,p.entry IS NULL,p.entry,"
		     "  o.number) AS rank"
		     " FROM orders o LEFT JOIN job j ON j.job=o.job"
		     " LEFT JOIN plan p ON p.entry=j.entry"
		     " WHERE o.state<2 AND o.kind=?)"
		     " GROUP BY server ORDER BY server",
		     "i", (int64_t)ORDER_PREFETCH);
	return r ? r : db_rows(db, q, &row, ret, ret_n, e);
}
