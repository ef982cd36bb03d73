/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - `server list|show|remove|set`: what the production servers said
 * of themselves last. Nothing here talks to a server.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/units.h"
#include "origin/cli/verbs.h"
#include "origin/plan/when.h"
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
	{"REVISION", "catalog revision that it shows", TABLE_NUMBER, false},
	{"PREFETCH-RATE", "time table of its own", TABLE_TEXT, true},
	{"SKEW", "seconds that its clock is ahead", TABLE_TEXT, false},
	{"ZONE", "its time zone", TABLE_TEXT, false},
	{"ADDRESS", "where it connects from", TABLE_TEXT, true},
	{"VERSION", "of stagefs there", TABLE_TEXT, true},
	{"FIRST-SEEN", "when it was first heard of", TABLE_TIME, false},
	{0},
};

static bool is_silent(const struct server *s)
{
	return clock_unix_s() - s->last_seen_s > SERVER_SILENT_S;
}

/* "silent 3d4h" */
static const char *state_text(const struct server *s, char out[32])
{
	int64_t age_s = clock_unix_s() - s->last_seen_s;
	char span[UNITS_TEXT];

	if (!is_silent(s))
		return "online";
	snprintf(out, 32, "silent %s", units_span((uint64_t)age_s * 1000, span));
	return out;
}

static void list_row(struct table *t, const struct server *s, bool json)
{
	void *row = table_row(t);
	char skew[24], state[32];

	snprintf(skew, sizeof(skew), "%lld", (long long)s->clock_skew_s);
	table_text(t, row, COL_NAME, s->name);
	table_text(t, row, COL_STATE,
		   json && is_silent(s) ? "silent" : state_text(s, state));
	table_time(t, row, COL_SEEN, s->last_seen_s);
	table_u64(t, row, COL_CAPACITY, s->capacity_bytes);
	table_u64(t, row, COL_USED, s->used_bytes);
	table_u64(t, row, COL_FREE, s->free_bytes);
	table_u64(t, row, COL_EVICTABLE, s->evictable_bytes);
	table_u64(t, row, COL_RESERVED, s->reserved_bytes);
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
	struct table *t;
	struct err e;
	size_t n;
	int r = verb_open_db(c, &db);

	if (r)
		return r;
	if (table_new("servers", list_columns, &c->table, &t, &e))
		return cli_usage(c, "%s", e.text);
	if (servers_list(db, &s, &n, &e)) {
		table_free(t);
		return cli_fail(c, "%s", e.text);
	}
	for (size_t i = 0; i < n; i++)
		list_row(t, &s[i], c->table.json);
	free(s);
	r = table_print(t);
	table_free(t);
	return r ? cli_fail(c, "cannot write: %s", strerror(-r)) : 0;
}

/* ---- show -------------------------------------------------------------- */

enum {
	IMG_NAME,
	IMG_SIZE,
	IMG_STORED,
	IMG_PART,
	IMG_STATE,
	IMG_STORED_AT,
	IMG_HELD,
	IMG_OPEN,
	IMG_ID,
	IMG_DIGEST
};

static const struct table_column show_columns[] = {
	{"NAME", "image name", TABLE_TEXT, true},
	{"SIZE", "size", TABLE_SIZE, true},
	{"STORED", "verified bytes that it has", TABLE_SIZE, true},
	{"STORED%", "the same as a part", TABLE_PERCENT, true},
	{"STATE", "complete, fetching or partial", TABLE_TEXT, true},
	{"STORED-AT", "when it was first stored: the order of eviction",
	 TABLE_TIME, true},
	{"HELD-UNTIL", "not evicted before", TABLE_TIME, true},
	{"OPEN", "somebody has it open", TABLE_BOOL, false},
	{"ID", "id of the version", TABLE_NUMBER, false},
	{"DIGEST", "digest of its manifest", TABLE_TEXT, false},
	{0},
};

static double part_of(const struct wire_image *i)
{
	return i->size_bytes ? (double)i->stored_bytes / (double)i->size_bytes
			     : 1.0;
}

static void image_row(struct table *t, const struct wire_image *i)
{
	char digest[DIGEST_TEXT];
	void *row = table_row(t);

	table_text(t, row, IMG_NAME, i->name);
	table_u64(t, row, IMG_SIZE, i->size_bytes);
	table_u64(t, row, IMG_STORED, i->stored_bytes);
	table_percent(t, row, IMG_PART, part_of(i));
	table_text(t, row, IMG_STATE, wire_image_state_name(i->state));
	table_time(t, row, IMG_STORED_AT, i->stored_at_s);
	if (i->held_until_s)
		table_time(t, row, IMG_HELD, i->held_until_s);
	table_bool(t, row, IMG_OPEN, i->open);
	table_u64(t, row, IMG_ID, i->id);
	table_text(t, row, IMG_DIGEST, digest_text(&i->digest, digest));
}

static void print_facts(const struct server *s)
{
	char seen[UNITS_TIME_TEXT], first[UNITS_TIME_TEXT];
	char size[5][UNITS_TEXT], state[32];

	printf("Name:          %s\n", s->name);
	printf("State:         %s%s\n", state_text(s, state),
	       is_silent(s) ? ": what follows is what it said last" : "");
	printf("Address:       %s, stagefs %s, time zone %s\n", s->address,
	       s->version, s->time_zone);
	printf("Seen:          %s (first %s)\n",
	       units_time(s->last_seen_s, seen),
	       units_time(s->first_seen_s, first));
	printf("Clock:         %+lld s\n", (long long)s->clock_skew_s);
	printf("Capacity:      %s, used %s, reserved %s, free %s, evictable "
	       "%s\n",
	       units_size(s->capacity_bytes, size[0]),
	       units_size(s->used_bytes, size[1]),
	       units_size(s->reserved_bytes, size[2]),
	       units_size(s->free_bytes, size[3]),
	       units_size(s->evictable_bytes, size[4]));
	printf("Prefetch rate: %s\n",
	       s->prefetch_rate[0] ? s->prefetch_rate : "the origin's");
	printf("Catalog:       revision %llu\n\n",
	       (unsigned long long)s->catalog_revision);
	fflush(stdout);
}

static int show_text(struct cli_context *c, const struct server *s,
		     const struct wire_image *image, size_t n)
{
	struct table *t;
	struct err e;
	int r;

	if (table_new("images", show_columns, &c->table, &t, &e))
		return cli_usage(c, "%s", e.text);
	for (size_t i = 0; i < n; i++)
		image_row(t, &image[i]);
	print_facts(s);
	r = table_print(t);
	table_free(t);
	return r ? cli_fail(c, "cannot write: %s", strerror(-r)) : 0;
}

static json_t *json_time(int64_t unix_s)
{
	char text[WHEN_TEXT];

	return unix_s ? json_string(when_rfc3339(unix_s, "", text))
		      : json_null();
}

static json_t *json_u64(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

static json_t *image_json(const struct wire_image *i)
{
	char digest[DIGEST_TEXT];

	return json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:b, s:o, s:s}",
			 "name", i->name, "size", json_u64(i->size_bytes),
			 "stored", json_u64(i->stored_bytes), "state",
			 wire_image_state_name(i->state), "stored_at",
			 json_time(i->stored_at_s), "held_until",
			 json_time(i->held_until_s), "open", i->open, "id",
			 json_u64(i->id), "digest",
			 digest_text(&i->digest, digest));
}

static int show_json(struct cli_context *c, const struct server *s,
		     const struct wire_image *image, size_t n)
{
	json_t *list = json_array(), *o;
	int r;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, image_json(&image[i]));
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:o, s:o, s:o,"
		      " s:o, s:o, s:o, s:o, s:o}",
		      "name", s->name, "state",
		      is_silent(s) ? "silent" : "online", "address",
		      s->address, "version", s->version, "zone", s->time_zone,
		      "seen",
		      json_time(s->last_seen_s), "first_seen",
		      json_time(s->first_seen_s), "skew",
		      (json_int_t)s->clock_skew_s, "capacity",
		      json_u64(s->capacity_bytes), "used",
		      json_u64(s->used_bytes), "reserved",
		      json_u64(s->reserved_bytes), "free",
		      json_u64(s->free_bytes), "evictable",
		      json_u64(s->evictable_bytes), "prefetch_rate",
		      s->prefetch_rate[0] ? json_string(s->prefetch_rate)
					  : json_null(),
		      "revision", json_u64(s->catalog_revision), "images",
		      list);
	if (!o)
		return cli_fail(c, "out of memory");
	r = json_dumpf(o, stdout, JSON_INDENT(3));
	json_decref(o);
	putchar('\n');
	return r || fflush(stdout) ? cli_fail(c, "cannot write") : 0;
}

static int run_show(struct cli_context *c)
{
	CLEAN_DB struct db *db = NULL;
	struct wire_image *image;
	struct server s;
	struct err e;
	size_t n;
	int r = verb_open_db(c, &db);

	if (r)
		return r;
	if (servers_get(db, c->arg[0], &s, &e) ||
	    servers_images(db, c->arg[0], &image, &n, &e))
		return cli_fail(c, "%s", e.text);
	r = c->table.json ? show_json(c, &s, image, n)
			  : show_text(c, &s, image, n);
	for (size_t i = 0; i < n; i++)
		wire_image_clear(&image[i]);
	free(image);
	return r;
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
		.run = run_show,
		.min_args = 1,
		.max_args = 1,
		.table = show_columns,
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
