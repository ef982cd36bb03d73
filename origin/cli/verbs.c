/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs.c - the tree of verbs. It is put together at the first call, because C
 * has no constant initializer from another file's struct.
 */
#include "origin/cli/verbs.h"

#include <stdlib.h>

#define DEFAULT_STORE "/var/lib/stagefs-origin"

const struct cli_option origin_options[] = {
	{"store", 'C', "DIR",
	 "the store's folder (default: $STAGEFS_STORE, else " DEFAULT_STORE
	 ")"},
	{0},
};

const struct cli_verb *origin_verbs(void)
{
	static struct cli_verb verb[] = {
		{.name = "init"},
		{.name = "serve"},
		{.name = "image", .summary = "publish images",
		 .sub = verbs_image},
		{.name = "plan", .summary = "say which server needs what, when",
		 .sub = verbs_plan},
		{.name = "server", .summary = "see the production servers",
		 .sub = verbs_server},
		{.name = "order", .summary = "order something by hand",
		 .sub = verbs_order},
		{.name = "log"},
		{0},
	};

	verb[0] = verb_init;
	verb[1] = verb_serve;
	verb[6] = verb_log;
	return verb;
}

const char *verb_store_dir(const struct cli_context *c)
{
	const char *dir = cli_value(c, "store");

	if (!dir)
		dir = getenv("STAGEFS_STORE");
	return dir && *dir ? dir : DEFAULT_STORE;
}

int verb_open_db(const struct cli_context *c, struct db **ret)
{
	struct err e;

	if (origindb_open(verb_store_dir(c), ret, &e))
		return cli_fail(c, "%s", e.text);
	return 0;
}

int verb_open_store(const struct cli_context *c, struct store **ret,
		    struct db **ret_db)
{
	struct store *s;
	struct err e;
	int r;

	if (store_open(verb_store_dir(c), &s, &e))
		return cli_fail(c, "%s", e.text);
	r = verb_open_db(c, ret_db);
	if (r) {
		store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}
