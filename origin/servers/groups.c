/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups.c - rows of the table `server_group`, and nothing else: what follows
 * for the plan is worked out at the schedule's next run.
 *
 * Rejected: patterns of names ("line*") in the plan. They need no table, but a
 * new server whose name happens to match would be sent terabytes unasked.
 */
#include "origin/servers/groups.h"

#include <errno.h>
#include <stdlib.h>

#include "common/names.h"
#include "origin/db/origindb.h"

static int check_name(const char *group, struct err *e)
{
	int r = name_check_server(group, e);

	return r ? err_prefix(e, -r, "group") : 0;
}

static int add_one(struct db *db, const char *group, const char *server,
		   int64_t now_s, struct err *e)
{
	int r = name_check_server(server, e);

	if (!r)
		r = db_run(db, e,
			   "INSERT OR IGNORE INTO server_group(name,server)"
			   " VALUES(?,?)", "ss", group, server);
	if (r || db_changes(db) == 0)
		return r;
	return origindb_log(db, e, now_s, "grouped", server, 0, NULL,
			    "is in @%s now", group);
}

static int check_room(struct db *db, struct err *e)
{
	int64_t n;
	int r = db_get_int(db, e, &n, "SELECT count(*) FROM server_group", "");

	if (!r && n > GROUPS_MEMBERS_MAX)
		r = err_set(e, E2BIG, "all groups together have room for %u "
			    "servers", GROUPS_MEMBERS_MAX);
	return r;
}

int groups_add_within(struct db *db, const struct group_member *m, size_t n,
		      int64_t now_s, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		r = check_name(m[i].group, e);
		if (!r)
			r = add_one(db, m[i].group, m[i].server, now_s, e);
	}
	return r || n == 0 ? r : check_room(db, e);
}

int groups_add(struct db *db, const char *group, char *const *server,
	       size_t n, int64_t now_s, struct err *e)
{
	int r = check_name(group, e);

	if (!r)
		r = db_begin(db, e);
	if (r)
		return r;
	for (size_t i = 0; i < n && !r; i++)
		r = add_one(db, group, server[i], now_s, e);
	if (!r)
		r = check_room(db, e);
	return db_end(db, r, e);
}

static int remove_one(struct db *db, const char *group, const char *server,
		      int64_t now_s, struct err *e)
{
	int r = db_run(db, e,
		       "DELETE FROM server_group WHERE name=? AND server=?",
		       "ss", group, server);

	if (r)
		return r;
	if (db_changes(db) == 0)
		return err_set(e, ENOENT, "server %s is not in @%s: see "
			       "`stagefs-origin server group list`", server,
			       group);
	return origindb_log(db, e, now_s, "ungrouped", server, 0, NULL,
			    "is not in @%s any more", group);
}

static int remove_all(struct db *db, const char *group, int64_t now_s,
		      struct err *e)
{
	int r = db_run(db, e, "DELETE FROM server_group WHERE name=?", "s",
		       group);

	if (r)
		return r;
	if (db_changes(db) == 0)
		return err_set(e, ENOENT, "there is no group @%s: see "
			       "`stagefs-origin server group list`", group);
	return origindb_log(db, e, now_s, "ungrouped", NULL, 0, NULL,
			    "nothing is in @%s any more", group);
}

int groups_remove(struct db *db, const char *group, char *const *server,
		  size_t n, int64_t now_s, struct err *e)
{
	int r = db_begin(db, e);

	if (r)
		return r;
	if (n == 0)
		r = remove_all(db, group, now_s, e);
	for (size_t i = 0; i < n && !r; i++)
		r = remove_one(db, group, server[i], now_s, e);
	return db_end(db, r, e);
}

static int read_member(struct sqlite3_stmt *q, void *ret)
{
	struct group_member *m = ret;

	db_col_copy(q, 0, m->group, sizeof(m->group));
	db_col_copy(q, 1, m->server, sizeof(m->server));
	return 0;
}

int groups_list(struct db *db, struct group_member **ret, size_t *ret_n,
		struct err *e)
{
	const struct db_row row = {sizeof(**ret), read_member, NULL};
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT name,server FROM server_group"
		     " ORDER BY name,server", "");
	return r ? r : db_rows(db, q, &row, ret, ret_n, e);
}
