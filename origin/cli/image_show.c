/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_show.c - `image show NAME`: its facts, and the servers that have it as
 * they said themselves. For people two blocks of text; as JSON one object.
 */
#include "origin/cli/image.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/manifest.h"
#include "common/units.h"
#include "origin/cli/verbs.h"

enum { COL_SERVER, COL_STATE, COL_STORED, COL_STORED_AT, COL_HELD_UNTIL };

const struct table_column image_show_columns[] = {
	{"SERVER", "production server", TABLE_TEXT, true},
	{"STATE", "complete, fetching or partial", TABLE_TEXT, true},
	{"STORED", "verified bytes that it has", TABLE_SIZE, true},
	{"STORED-AT", "when it was first stored there", TABLE_TIME, true},
	{"HELD-UNTIL", "not evicted before", TABLE_TIME, true},
	{0},
};

struct holder {
	const char *server, *state; /* until the next row */
	uint64_t stored_bytes;
	int64_t stored_at_s, held_until_s;
};

static int each_holder(struct db *db, uint64_t id,
		       int (*each)(const struct holder *h, void *ctx),
		       void *ctx, struct err *e)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT server,state,stored,stored_at_s,held_until_s"
		     " FROM server_image WHERE id=? ORDER BY server",
		     "u", id);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) == 1) {
		int64_t state = db_col_int(q, 1);
		struct holder h = {
			.server = db_col_text(q, 0),
			.state = "?",
			.stored_bytes = db_col_u64(q, 2),
			.stored_at_s = db_col_int(q, 3),
			.held_until_s = db_col_int(q, 4),
		};

		if (state >= 0 && state < IMAGE_STATE_COUNT)
			h.state = wire_image_state_name(
				(enum wire_image_state)state);
		r = each(&h, ctx);
		if (r) {
			err_set(e, -r, "%s", strerror(-r));
			break;
		}
	}
	db_done(q);
	return r;
}

/* ---- for people -------------------------------------------------------- */

static void print_facts(const struct node *n)
{
	char size[UNITS_TEXT], block[UNITS_TEXT], digest[DIGEST_TEXT];
	char mtime[UNITS_TIME_TEXT], added[UNITS_TIME_TEXT];

	printf("Name:      %s\n", n->name);
	printf("Id:        %llu\n", (unsigned long long)n->id);
	printf("Size:      %s (%llu bytes, %llu blocks of %s)\n",
	       units_size(n->size_bytes, size),
	       (unsigned long long)n->size_bytes,
	       (unsigned long long)manifest_block_count(n->size_bytes,
							n->block_bytes),
	       units_size(n->block_bytes, block));
	printf("Digest:    %s\n", digest_text(&n->digest, digest));
	printf("Modified:  %s\n", units_time(n->mtime_s, mtime));
	printf("Published: %s, catalog revision %llu\n",
	       units_time(n->added_s, added), (unsigned long long)n->revision);
}

static int add_row(const struct holder *h, void *ctx)
{
	struct table *t = ctx;
	void *row = table_row(t);

	table_text(t, row, COL_SERVER, h->server);
	table_text(t, row, COL_STATE, h->state);
	table_u64(t, row, COL_STORED, h->stored_bytes);
	table_time(t, row, COL_STORED_AT, h->stored_at_s);
	if (h->held_until_s)
		table_time(t, row, COL_HELD_UNTIL, h->held_until_s);
	return 0;
}

static int show_text(const struct cli_context *c, struct db *db,
		     const struct node *n)
{
	CLEAN_TABLE struct table *t = NULL;
	struct err e;
	int r = cli_table(c, "servers", image_show_columns, &t);

	if (r)
		return r;
	if (each_holder(db, n->id, add_row, t, &e))
		return cli_fail(c, "%s", e.text);
	print_facts(n);
	putchar('\n');
	fflush(stdout);
	return cli_table_print(c, t);
}

/* ---- JSON -------------------------------------------------------------- */

/* RFC 3339 with its offset, as in the tables; null for 0. */
static json_t *json_time(int64_t unix_s)
{
	time_t t = (time_t)unix_s;
	char day[32], offset[8], text[48];
	struct tm tm;

	if (!unix_s || !localtime_r(&t, &tm))
		return json_null();
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(offset, sizeof(offset), "%z", &tm); /* +0100 */
	snprintf(text, sizeof(text), "%s%.3s:%.2s", day, offset, offset + 3);
	return json_string(text);
}

static int add_object(const struct holder *h, void *ctx)
{
	json_t *o = json_pack("{ss, ss, sI, so, so}", "server", h->server,
			      "state", h->state, "stored",
			      (json_int_t)h->stored_bytes, "stored_at",
			      json_time(h->stored_at_s), "held_until",
			      json_time(h->held_until_s));

	return json_array_append_new(ctx, o) ? -ENOMEM : 0;
}

static int show_json(const struct cli_context *c, struct db *db,
		     const struct node *n)
{
	json_t *servers = json_array(), *o;
	char digest[DIGEST_TEXT];
	struct err e;
	int r;

	if (each_holder(db, n->id, add_object, servers, &e)) {
		json_decref(servers);
		return cli_fail(c, "%s", e.text);
	}
	o = json_pack("{s{ss, sI, sI, sI, ss, so, so, sI, so}}", "image",
		      "name", n->name, "id", (json_int_t)n->id, "size",
		      (json_int_t)n->size_bytes, "block",
		      (json_int_t)n->block_bytes, "digest",
		      digest_text(&n->digest, digest), "mtime",
		      json_time(n->mtime_s), "added", json_time(n->added_s),
		      "revision", (json_int_t)n->revision, "servers", servers);
	r = o ? json_dumpf(o, stdout, JSON_INDENT(3)) : -1;
	json_decref(o);
	putchar('\n');
	return r || fflush(stdout) ? cli_fail(c, "cannot write") : 0;
}

int image_show_run(struct cli_context *c)
{
	CLEAN_DB struct db *db = NULL;
	struct node n;
	struct err e;
	int r = verb_open_db(c, &db);

	if (r)
		return r;
	if (node_find(db, c->arg[0], &n, &e))
		return cli_fail(c, "%s", e.text);
	if (n.is_dir)
		return cli_fail(c, "%s is a folder: see `image list %s`",
				n.name, n.name);
	return c->table.json ? show_json(c, db, &n) : show_text(c, db, &n);
}
