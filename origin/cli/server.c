/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - `server list|remove|set`: what the production servers said of
 * themselves last. Nothing here talks to a server.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/units.h"
#include "origin/cli/server.h"
#include "origin/cli/verbs.h"
#include "origin/schedule/rates.h"
#include "origin/servers/servers.h"

/* ---- list -------------------------------------------------------------- */

enum {
	COL_NAME,
	COL_STATE,
	COL_SEEN,
	COL_CAPACITY,
	COL_USED,
	COL_FREE,
	COL_EVICTABLE,
	COL_RESERVED,
	COL_BAD,
	COL_REPAIRED,
	COL_REVISION,
	COL_RATE,
	COL_SKEW,
	COL_ZONE,
	COL_ADDRESS,
	COL_VERSION,
	COL_FIRST
};

static const struct table_column list_columns[] = {
	{"NAME", "name of the server", TABLE_TEXT, true},
	{"STATE", "online, or silent for how long: nothing was heard of it for "
	 "three minutes", TABLE_TEXT, true},
	{"SEEN", "when it was last heard of", TABLE_TIME, true},
	{"CAPACITY", "what its cache may use", TABLE_SIZE, true},
	{"USED", "used of that", TABLE_SIZE, true},
	{"FREE", "what fits without any eviction", TABLE_SIZE, true},
	{"EVICTABLE", "neither open, just read nor held", TABLE_SIZE, true},
	{"RESERVED", "kept for transfers under way", TABLE_SIZE, false},
	{"BAD-BLOCKS", "stored blocks that its disk lost since its worker "
	 "started", TABLE_NUMBER, false},
	{"REPAIRED-BLOCKS", "of them, those that were fetched again",
	 TABLE_NUMBER, false},
	{"REVISION", "catalog revision that it shows", TABLE_NUMBER, false},
	{"PREFETCH-RATE", "time table of its own", TABLE_TEXT, true},
	{"SKEW", "seconds that its clock is ahead", TABLE_TEXT, false},
	{"ZONE", "its time zone", TABLE_TEXT, false},
	{"ADDRESS", "where it connects from", TABLE_TEXT, true},
	{"VERSION", "of stagefs there", TABLE_TEXT, true},
	{"FIRST-SEEN", "when it was first heard of", TABLE_TIME, false},
	{0},
};

static void list_row(struct table *t, const struct server *s, bool json)
{
	void *row = table_row(t);
	char skew[24], state[SERVER_STATE_TEXT];

	snprintf(skew, sizeof(skew), "%lld", (long long)s->clock_skew_s);
	table_text(t, row, COL_NAME, s->name);
	table_text(t, row, COL_STATE,
		   json && server_is_silent(s) ? "silent"
					       : server_state_text(s, state));
	table_time(t, row, COL_SEEN, s->last_seen_s);
	table_u64(t, row, COL_CAPACITY, s->capacity_bytes);
	table_u64(t, row, COL_USED, s->used_bytes);
	table_u64(t, row, COL_FREE, s->free_bytes);
	table_u64(t, row, COL_EVICTABLE, s->evictable_bytes);
	table_u64(t, row, COL_RESERVED, s->reserved_bytes);
	table_u64(t, row, COL_BAD, s->bad_blocks);
	table_u64(t, row, COL_REPAIRED, s->repaired_blocks);
	table_u64(t, row, COL_REVISION, s->catalog_revision);
	if (s->prefetch_rate[0])
		table_text(t, row, COL_RATE, s->prefetch_rate);
	table_text(t, row, COL_SKEW, skew);
	table_text(t, row, COL_ZONE, s->time_zone);
	table_text(t, row, COL_ADDRESS, s->address);
	table_text(t, row, COL_VERSION, s->version);
	table_time(t, row, COL_FIRST, s->first_seen_s);
}

static int run_list(struct cli_context *c)
{
	CLEAN_DB struct db *db = NULL;
	struct server *s;
	CLEAN_TABLE struct table *t = NULL;
	struct err e;
	size_t n;
	int r = verb_open_db(c, &db);

	if (!r)
		r = cli_table(c, "servers", list_columns, &t);
	if (r)
		return r;
	if (servers_list(db, &s, &n, &e))
		return cli_fail(c, "%s", e.text);
	for (size_t i = 0; i < n; i++)
		list_row(t, &s[i], c->table.json);
	free(s);
	return cli_table_print(c, t);
}

/* ---- changing ---------------------------------------------------------- */

static int run_remove(struct cli_context *c)
{
	CLEAN_DB struct db *db = NULL;
	struct err e;
	int r = verb_open_db(c, &db);

	if (r)
		return r;
	if (servers_remove(db, c->arg[0], clock_unix_s(), &e))
		return cli_fail(c, "%s", e.text);
	printf("%s: removed\n", c->arg[0]);
	return 0;
}

static const struct cli_option set_options[] = {
	{"prefetch-rate", 0, "TABLE",
	 "most that prefetch to this server may take, by time of day, as "
	 "\"08:00 200M/s, 20:00 unlimited\"; \"\": only the origin's own"},
	{0},
};

static int run_set(struct cli_context *c)
{
	const char *rate = cli_value(c, "prefetch-rate");
	CLEAN_DB struct db *db = NULL;
	struct rates table;
	struct err e;
	int r;

	if (!rate)
		return cli_usage(c, "say what to set: --prefetch-rate TABLE");
	if (rates_parse(rate, "", &table, &e))
		return cli_usage(c, "--prefetch-rate: %s", e.text);
	r = verb_open_db(c, &db);
	if (r)
		return r;
	if (servers_set_rate(db, c->arg[0], rate, &e))
		return cli_fail(c, "%s", e.text);
	printf("%s: prefetch rate %s\n", c->arg[0],
	       *rate ? rate : "as the origin's");
	return 0;
}

/* ---- the verbs --------------------------------------------------------- */

const struct cli_verb verbs_server[] = {
	{
		.name = "list",
		.summary = "list the production servers",
		.run = run_list,
		.table = list_columns,
		.details = "A server is known from its first connection on.",
	},
	{
		.name = "show",
		.args = "NAME",
		.summary = "show a server, and what it has stored",
		.run = server_show_run,
		.min_args = 1,
		.max_args = 1,
		.table = server_show_columns,
		.details = "Images are listed in stored order: the first go "
			   "first when room is needed.",
	},
	{
		.name = "set",
		.args = "NAME --prefetch-rate TABLE",
		.summary = "give a server a rate of its own",
		.option = set_options,
		.run = run_set,
		.min_args = 1,
		.max_args = 1,
		.details = "Times are of the server's time zone.",
	},
	{
		.name = "remove",
		.args = "NAME",
		.summary = "forget a server, and cancel its orders",
		.run = run_remove,
		.min_args = 1,
		.max_args = 1,
		.details = "Deletes nothing there. If the server still runs, "
			   "it is known again as soon as it connects.",
	},
	{
		.name = "group",
		.summary = "name groups of servers, for the plan",
		.sub = verbs_group,
	},
	{0},
};
