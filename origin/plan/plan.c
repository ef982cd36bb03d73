/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - rows of the table `plan`. What follows from an entry (jobs, orders)
 * is the scheduler's: adding and removing touch nothing else, so the CLI can
 * do them while no daemon runs.
 */
#include "origin/plan/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "origin/db/origindb.h"
#include "origin/plan/when.h"

#define COLUMNS                                                         \
	"entry,server,image,at_s,zone,until_s,repeat,priority,created_s," \
	"removed_s"

void plan_entry_clear(struct plan_entry *p)
{
	free(p->image);
	memset(p, 0, sizeof(*p));
}

void plan_entries_free(struct plan_entry *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		plan_entry_clear(&p[i]);
	free(p);
}

struct repeat plan_repeat(const struct plan_entry *p)
{
	return (struct repeat){p->at_s, p->until_s, p->zone, p->repeat};
}

int plan_check_server(const char *server, struct err *e)
{
	return name_check_server(server + plan_is_group(server), e);
}

int plan_check_image(const char *image, struct err *e)
{
	char folder[STAGEFS_PATH_MAX_BYTES + 1];
	size_t n = strlen(image);

	if (!plan_is_folder(image) || n > sizeof(folder))
		return name_check_image(image, e);
	snprintf(folder, sizeof(folder), "%.*s", (int)n - 1, image);
	return name_check_image(folder, e);
}

int plan_check(const struct plan_entry *p, struct err *e)
{
	struct repeat rep = plan_repeat(p);
	char at[WHEN_TEXT], until[WHEN_TEXT];
	int r;

	r = plan_check_server(p->server, e);
	if (!r)
		r = plan_check_image(p->image, e);
	if (!r)
		r = zone_check(p->zone, e);
	if (r)
		return r;
	if (p->until_s && p->until_s <= p->at_s)
		return err_set(e, EINVAL, "it would end (%s) before it begins "
			       "(%s)", when_text(p->until_s, p->zone, until),
			       when_text(p->at_s, p->zone, at));
	if (llabs(p->priority) > PLAN_PRIORITY_MAX)
		return err_set(e, EINVAL, "a priority lies between -%d and %d",
			       PLAN_PRIORITY_MAX, PLAN_PRIORITY_MAX);
	return repeat_check(&rep, e);
}

static int insert(struct db *db, struct plan_entry *p, int64_t now_s,
		  struct err *e)
{
	char at[WHEN_TEXT];
	int r;

	r = db_run(db, e,
		   "INSERT INTO plan(server,image,at_s,zone,until_s,repeat,"
		   "priority,created_s) VALUES(?,?,?,?,?,?,?,?)",
		   "ssisisii", p->server, p->image, p->at_s, p->zone,
		   p->until_s, p->repeat, p->priority, now_s);
	if (r)
		return r;
	p->entry = db_last_id(db);
	p->created_s = now_s;
	return origindb_log(db, e, now_s, "planned", p->server, 0, p->image,
			    "entry %lld: at %s%s%s", (long long)p->entry,
			    when_text(p->at_s, p->zone, at),
			    *p->repeat ? ", " : "", p->repeat);
}

static int check_room(struct db *db, struct err *e)
{
	int64_t n;
	int r = db_get_int(db, e, &n,
			   "SELECT count(*) FROM plan WHERE removed_s=0", "");

	if (!r && n > PLAN_ENTRIES_MAX)
		r = err_set(e, E2BIG, "the plan has room for %d entries: "
			    "remove some", PLAN_ENTRIES_MAX);
	return r;
}

int plan_add_within(struct db *db, struct plan_entry *p, size_t n,
		    int64_t now_s, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		r = plan_check(&p[i], e);
		if (!r)
			r = insert(db, &p[i], now_s, e);
	}
	return r ? r : check_room(db, e);
}

int plan_add(struct db *db, struct plan_entry *p, int64_t now_s,
	     struct err *e)
{
	int r = db_begin(db, e);

	if (r)
		return r;
	r = plan_add_within(db, p, 1, now_s, e);
	return db_end(db, r, e);
}

static int read_entry(struct sqlite3_stmt *q, void *ret)
{
	struct plan_entry *p = ret;

	memset(p, 0, sizeof(*p));
	p->entry = db_col_int(q, 0);
	db_col_copy(q, 1, p->server, sizeof(p->server));
	p->image = db_col_dup(q, 2);
	p->at_s = db_col_int(q, 3);
	db_col_copy(q, 4, p->zone, sizeof(p->zone));
	p->until_s = db_col_int(q, 5);
	db_col_copy(q, 6, p->repeat, sizeof(p->repeat));
	p->priority = db_col_int(q, 7);
	p->created_s = db_col_int(q, 8);
	p->removed_s = db_col_int(q, 9);
	return p->image ? 0 : -ENOMEM;
}

static void clear_entry(void *entry)
{
	plan_entry_clear(entry);
}

int plan_get(struct db *db, int64_t entry, struct plan_entry *ret,
	     struct err *e)
{
	struct sqlite3_stmt *q;
	struct plan_entry p = {0};
	int r;

	r = db_query(db, &q, e, "SELECT " COLUMNS " FROM plan WHERE entry=?",
		     "i", entry);
	if (r)
		return r;
	r = db_next(db, q, e);
	if (r == 0)
		r = err_set(e, ENOENT,
			    "there is no plan entry %lld: see "
			    "`stagefs-origin plan list`",
			    (long long)entry);
	else if (r > 0)
		r = read_entry(q, &p);
	db_done(q);
	if (r)
		plan_entry_clear(&p);
	else
		*ret = p;
	return r;
}

int plan_list(struct db *db, bool all, struct plan_entry **ret, size_t *ret_n,
	      struct err *e)
{
	const struct db_row row = {sizeof(**ret), read_entry, clear_entry};
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT " COLUMNS
		     " FROM plan WHERE removed_s=0 OR ? ORDER BY entry",
		     "i", (int64_t)all);
	return r ? r : db_rows(db, q, &row, ret, ret_n, e);
}

static int mark_removed(struct db *db, int64_t entry, int64_t now_s,
			struct err *e)
{
	struct plan_entry p;
	int r = plan_get(db, entry, &p, e);

	if (r)
		return r;
	if (p.removed_s)
		r = err_set(e, ENOENT, "plan entry %lld is removed already",
			    (long long)entry);
	else
		r = db_run(db, e, "UPDATE plan SET removed_s=? WHERE entry=?",
			   "ii", now_s, entry);
	if (!r)
		r = origindb_log(db, e, now_s, "unplanned", p.server, 0,
				 p.image, "entry %lld", (long long)entry);
	plan_entry_clear(&p);
	return r;
}

int plan_remove(struct db *db, const int64_t *entry, size_t n, int64_t now_s,
		struct err *e)
{
	int r = db_begin(db, e);

	if (r)
		return r;
	for (size_t i = 0; i < n && !r; i++)
		r = mark_removed(db, entry[i], now_s, e);
	return db_end(db, r, e);
}
