/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server_show.c - `server show`: a server's last descriptor, for people as
 * lines and a table, as JSON as one object.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/units.h"
#include "origin/cli/server.h"
#include "origin/cli/verbs.h"
#include "origin/plan/when.h"

bool server_is_silent(const struct server *s)
{
	int64_t age_s = clock_unix_s() - s->last_seen_s;

	/* Seen in the future: not since the clock was set back. */
	return age_s > SERVER_SILENT_S || age_s < -SERVER_SILENT_S;
}

const char *server_state_text(const struct server *s,
			      char out[SERVER_STATE_TEXT])
{
	int64_t age_s = clock_unix_s() - s->last_seen_s;
	char span[UNITS_TEXT];

	if (!server_is_silent(s))
		return "online";
	if (age_s < 0)
		return "silent";
	snprintf(out, SERVER_STATE_TEXT, "silent %s",
		 units_span((uint64_t)age_s * 1000, span));
	return out;
}

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

const struct table_column server_show_columns[] = {
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
	char size[5][UNITS_TEXT], state[SERVER_STATE_TEXT];

	printf("Name:          %s\n", s->name);
	printf("State:         %s%s\n", server_state_text(s, state),
	       server_is_silent(s) ? ": what follows is what it said last"
				   : "");
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
	printf("Bad blocks:    %llu found on its disk, %llu of them "
	       "repaired\n", (unsigned long long)s->bad_blocks,
	       (unsigned long long)s->repaired_blocks);
	printf("Prefetch rate: %s\n",
	       s->prefetch_rate[0] ? s->prefetch_rate : "the origin's");
	printf("Catalog:       revision %llu\n\n",
	       (unsigned long long)s->catalog_revision);
	fflush(stdout);
}

static int show_text(struct cli_context *c, const struct server *s,
		     const struct wire_image *image, size_t n)
{
	CLEAN_TABLE struct table *t = NULL;
	int r = cli_table(c, "images", server_show_columns, &t);

	if (r)
		return r;
	for (size_t i = 0; i < n; i++)
		image_row(t, &image[i]);
	print_facts(s);
	return cli_table_print(c, t);
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
		      " s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
		      "name", s->name, "state",
		      server_is_silent(s) ? "silent" : "online", "address",
		      s->address, "version", s->version, "zone", s->time_zone,
		      "seen",
		      json_time(s->last_seen_s), "first_seen",
		      json_time(s->first_seen_s), "skew",
		      (json_int_t)s->clock_skew_s, "capacity",
		      json_u64(s->capacity_bytes), "used",
		      json_u64(s->used_bytes), "reserved",
		      json_u64(s->reserved_bytes), "free",
		      json_u64(s->free_bytes), "evictable",
		      json_u64(s->evictable_bytes), "bad_blocks",
		      json_u64(s->bad_blocks), "repaired_blocks",
		      json_u64(s->repaired_blocks), "prefetch_rate",
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

int server_show_run(struct cli_context *c)
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
