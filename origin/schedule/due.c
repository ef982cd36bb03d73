/* SPDX-License-Identifier: Apache-2.0 */
/*
 * due.c - out of the open orders, not out of a run of the schedule: orders by
 * hand have a deadline too (or none: then they come last, the oldest first).
 */
#include "origin/schedule/due.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/array.h"
#include "common/wire.h"

static int add(struct due **list, size_t *n, size_t *room,
	       struct sqlite3_stmt *q)
{
	if (array_grow(list, *n, room, sizeof(**list)))
		return -ENOMEM;
	snprintf((*list)[*n].server, sizeof((*list)[*n].server), "%s",
		 db_col_text(q, 0));
	(*list)[*n].rank = (size_t)db_col_int(q, 1);
	(*n)++;
	return 0;
}

int due_list(struct db *db, struct due **ret, size_t *ret_n, struct err *e)
{
	struct due *list = NULL;
	struct sqlite3_stmt *q;
	size_t n = 0, room = 0;
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
	if (r)
		return r;
	while ((r = db_next(db, q, e)) == 1) {
		r = add(&list, &n, &room, q);
		if (r) {
			err_set(e, -r, "out of memory");
			break;
		}
	}
	db_done(q);
	if (r) {
		free(list);
		return r;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}
