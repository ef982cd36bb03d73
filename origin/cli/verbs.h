/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs.h - the verbs of stagefs-origin, and what all of them start with.
 *
 * Each area has its file and its array; verbs.c puts them into one tree.
 */
#ifndef STAGEFS_ORIGIN_CLI_VERBS_H
#define STAGEFS_ORIGIN_CLI_VERBS_H

#include "common/cli.h"
#include "origin/db/origindb.h"
#include "origin/store/store.h"

extern const struct cli_verb verb_init, verb_serve, verb_log;
extern const struct cli_verb verbs_image[], verbs_plan[], verbs_server[],
	verbs_group[], verbs_order[];

extern const struct cli_option origin_options[]; /* before the verb */
/* The tree; the same each time. */
const struct cli_verb *origin_verbs(void);

/* -C/--store, else $STAGEFS_STORE, else /var/lib/stagefs-origin. */
const char *verb_store_dir(const struct cli_context *c);
/* Open the store's database, or store and database. 0, or the exit status
 * after the error is printed. */
int verb_open_db(const struct cli_context *c, struct db **ret);
int verb_open_store(const struct cli_context *c, struct store **ret,
		    struct db **ret_db);

#endif
