/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group.c - `server group add|list|remove`: which servers the plan means by
 * "@hall1".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "origin/cli/verbs.h"
#include "origin/servers/groups.h"

enum { COL_GROUP, COL_SERVER };

static const struct table_column list_columns[] = {
	{"GROUP", "name of the group", TABLE_TEXT, true},
	{"SERVER", "a server that is in it", TABLE_TEXT, true},
	{0},
};

/* As the plan writes it, or without the mark. */
static const char *group_of(const struct cli_context *c)
{
	return c->arg[0] + (c->arg[0][0] == '@');
}

static int change(struct cli_context *c,
		  int (*how)(struct db *db, const char *group,
			     char *const *server, size_t n, int64_t now_s,
			     struct err *e),
		  const char *done)
{
	CLEAN_DB struct db *db = NULL;
	size_t n = (size_t)c->n_args - 1;
	struct err e;
	int r = verb_open_db(c, &db);

	if (r)
		return r;
	r = how(db, group_of(c), c->arg + 1, n, clock_unix_s(), &e);
	if (r)
		return r == -EINVAL ? cli_usage(c, "%s", e.text)
				    : cli_fail(c, "%s", e.text);
	if (n)
		printf("@%s: %zu server%s %s\n", group_of(c), n,
		       n == 1 ? "" : "s", done);
	else
		printf("@%s: %s\n", group_of(c), done);
	return 0;
}

static int run_add(struct cli_context *c)
{
	return change(c, groups_add, "added");
}

static int run_remove(struct cli_context *c)
{
	return change(c, groups_remove, "removed");
}

static int run_list(struct cli_context *c)
{
	CLEAN_DB struct db *db = NULL;
	struct group_member *m;
	CLEAN_TABLE struct table *t = NULL;
	struct err e;
	size_t n;
	int r = verb_open_db(c, &db);

	if (!r)
		r = cli_table(c, "groups", list_columns, &t);
	if (r)
		return r;
	if (groups_list(db, &m, &n, &e))
		return cli_fail(c, "%s", e.text);
	for (size_t i = 0; i < n; i++) {
		void *row = table_row(t);

		table_text(t, row, COL_GROUP, m[i].group);
		table_text(t, row, COL_SERVER, m[i].server);
	}
	free(m);
	return cli_table_print(c, t);
}

const struct cli_verb verbs_group[] = {
	{
		.name = "add",
		.args = "GROUP SERVER...",
		.summary = "put servers into a group",
		.run = run_add,
		.min_args = 2,
		.max_args = -1,
		.details = "The group is made if there is none of that name. "
			   "The plan writes it with an @: `plan add --server "
			   "@hall1`. Servers need not have reported yet.",
	},
	{
		.name = "list",
		.summary = "list groups, and who is in them",
		.run = run_list,
		.table = list_columns,
	},
	{
		.name = "remove",
		.args = "GROUP [SERVER...]",
		.summary = "take servers out of a group, or all of them",
		.run = run_remove,
		.min_args = 1,
		.max_args = -1,
		.details = "What the plan wanted there because of the group is "
			   "wanted no more; a transfer for it ends.",
	},
	{0},
};
