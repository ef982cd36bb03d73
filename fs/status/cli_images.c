/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_images.c - `stagefs list`, fetch, evict and verify: each is a request,
 * and something to do with every line of the answer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "common/progress.h"
#include "common/units.h"
#include "fs/status/ask.h"
#include "fs/status/verbs.h"


/* ---- list -------------------------------------------------------------- */

enum {
	L_NAME, L_SIZE, L_STORED, L_PERCENT, L_STATE, L_STORED_AT, L_HELD,
	L_OPEN, L_ID, L_DIGEST, L_BLOCK, L_COMPLETE_AT, L_READ_AT, L_ORDER,
	L_PUBLISHED,
};
const struct table_column list_columns[] = {
	[L_NAME] = {"NAME", "name of the image", TABLE_TEXT, true},
	[L_SIZE] = {"SIZE", "its size", TABLE_SIZE, true},
	[L_STORED] = {"STORED", "verified bytes stored", TABLE_SIZE, true},
	[L_PERCENT] = {"STORED%", "part that is stored", TABLE_PERCENT, false},
	[L_STATE] = {"STATE", "partial, fetching or complete", TABLE_TEXT,
		     true},
	[L_STORED_AT] = {"STORED-AT", "when it was first stored", TABLE_TIME,
			 true},
	[L_HELD] = {"HELD-UNTIL", "not evicted before", TABLE_TIME, true},
	[L_OPEN] = {"OPEN", "somebody has it open", TABLE_BOOL, true},
	[L_ID] = {"ID", "id, the inode number", TABLE_NUMBER, false},
	[L_DIGEST] = {"DIGEST", "SHA-256 of its manifest", TABLE_TEXT, false},
	[L_BLOCK] = {"BLOCK", "block size", TABLE_SIZE, false},
	[L_COMPLETE_AT] = {"COMPLETE-AT", "when it became complete",
			   TABLE_TIME, false},
	[L_READ_AT] = {"READ-AT", "last read since the mount", TABLE_TIME,
		       false},
	[L_ORDER] = {"ORDER", "place in stored order", TABLE_NUMBER, false},
	[L_PUBLISHED] = {"PUBLISHED", "still in the catalog", TABLE_BOOL,
			 false},
	{0},
};

static int list_line(void *ctx, const json_t *line)
{
	const json_t *o = json_object_get(line, "image");
	uint64_t size = ask_u64(o, "size"), stored = ask_u64(o, "stored");
	struct table *t = ctx;
	void *row;

	if (!o)
		return 0;
	row = table_row(t);
	table_text(t, row, L_NAME, ask_text(o, "name"));
	table_u64(t, row, L_SIZE, size);
	table_u64(t, row, L_STORED, stored);
	table_percent(t, row, L_PERCENT,
		      size ? (double)stored / (double)size : 1);
	table_text(t, row, L_STATE, ask_text(o, "state"));
	table_time(t, row, L_STORED_AT, (int64_t)ask_u64(o, "stored_at"));
	table_time(t, row, L_HELD, (int64_t)ask_u64(o, "held_until"));
	table_bool(t, row, L_OPEN, ask_u64(o, "opens") > 0);
	table_u64(t, row, L_ID, ask_u64(o, "id"));
	table_text(t, row, L_DIGEST, ask_text(o, "digest"));
	table_u64(t, row, L_BLOCK, ask_u64(o, "block"));
	table_time(t, row, L_COMPLETE_AT, (int64_t)ask_u64(o, "complete_at"));
	table_time(t, row, L_READ_AT, (int64_t)ask_u64(o, "read_at"));
	table_u64(t, row, L_ORDER, ask_u64(o, "stored_seq"));
	table_bool(t, row, L_PUBLISHED, ask_bool(o, "published"));
	return 0;
}

int list_run(struct cli_context *c)
{
	struct table *t;
	struct err e;
	int r = table_new("images", list_columns, &c->table, &t, &e);

	if (r)
		return cli_usage(c, "%s", e.text);
	r = ask_mount(c->arg[0], "list", NULL, list_line, t, &e);
	if (!r) {
		r = table_print(t);
		if (r)
			err_set(&e, -r, "cannot write: %s", strerror(-r));
	}
	table_free(t);
	return r ? cli_fail(c, "%s", e.text) : 0;
}

/* ---- fetch ------------------------------------------------------------- */

struct bar {
	struct progress *p;
	char label[256];
	struct table *table; /* verify */
};

static void bar_set(struct bar *b, const char *label, uint64_t done,
		    uint64_t total)
{
	if (!b->p || strcmp(b->label, label) != 0) {
		progress_free(b->p);
		snprintf(b->label, sizeof(b->label), "%s", label);
		b->p = progress_new(b->label, total);
	}
	progress_set(b->p, done);
}

static int fetch_line(void *ctx, const json_t *line)
{
	const char *name = ask_text(line, "fetching");

	if (*name)
		bar_set(ctx, name, ask_u64(line, "stored"),
			ask_u64(line, "size"));
	return 0;
}

/* The second word, if it is there. 0, or the exit status. */
static int check_name(const struct cli_context *c)
{
	struct err e;

	if (c->n_args < 2 || name_check_image(c->arg[1], &e) == 0)
		return 0;
	return cli_usage(c, "%s", e.text);
}

int fetch_run(struct cli_context *c)
{
	struct bar b = {0};
	json_t *args;
	struct err e;
	int r = check_name(c);

	if (r)
		return r;
	args = json_pack("{s:s}", "name", c->arg[1]);
	if (!args)
		return cli_fail(c, "out of memory");
	r = ask_mount(c->arg[0], "fetch", args, fetch_line, &b, &e);
	progress_free(b.p);
	return r ? cli_fail(c, "%s", e.text) : 0;
}

/* ---- evict ------------------------------------------------------------- */

const struct cli_option evict_options[] = {
	{"force", 'f', NULL, "also if it is on hold"},
	{0},
};

static int evict_line(void *ctx, const json_t *line)
{
	char text[UNITS_TEXT];

	(void)ctx;
	if (*ask_text(line, "evicted"))
		printf("%s: %s freed\n", ask_text(line, "evicted"),
		       units_size(ask_u64(line, "freed"), text));
	return 0;
}

int evict_run(struct cli_context *c)
{
	json_t *args;
	struct err e;
	int r = check_name(c);

	if (r)
		return r;
	args = json_pack("{s:s,s:b}", "name", c->arg[1], "force",
			 cli_flag(c, "force"));
	if (!args)
		return cli_fail(c, "out of memory");
	return ask_mount(c->arg[0], "evict", args, evict_line, NULL, &e)
		       ? cli_fail(c, "%s", e.text) : 0;
}

/* ---- verify ------------------------------------------------------------ */

enum { V_NAME, V_BLOCKS, V_BAD, V_RESULT };
const struct table_column verify_columns[] = {
	[V_NAME] = {"NAME", "name of the image", TABLE_TEXT, true},
	[V_BLOCKS] = {"BLOCKS", "blocks read", TABLE_NUMBER, true},
	[V_BAD] = {"BAD", "blocks that were not right", TABLE_NUMBER, true},
	[V_RESULT] = {"RESULT", "ok, repaired, or why not", TABLE_TEXT, true},
	{0},
};

static int verify_line(void *ctx, const json_t *line)
{
	const json_t *o = json_object_get(line, "verified");
	struct bar *b = ctx;
	const char *result;
	void *row;

	if (*ask_text(line, "verifying"))
		bar_set(b, "verifying", ask_u64(line, "checked"),
			ask_u64(line, "total"));
	if (!o)
		return fetch_line(ctx, line);
	result = !ask_u64(o, "bad")	     ? "ok"
		 : ask_bool(o, "repaired") ? "repaired"
					   : ask_text(o, "message");
	row = table_row(b->table);
	table_text(b->table, row, V_NAME, ask_text(o, "name"));
	table_u64(b->table, row, V_BLOCKS, ask_u64(o, "blocks"));
	table_u64(b->table, row, V_BAD, ask_u64(o, "bad"));
	table_text(b->table, row, V_RESULT, result);
	return 0;
}

int verify_run(struct cli_context *c)
{
	struct bar b = {0};
	json_t *args = NULL;
	struct err e;
	int r = check_name(c), printed;

	if (r)
		return r;
	if (c->n_args > 1)
		args = json_pack("{s:s}", "name", c->arg[1]);
	if (c->n_args > 1 && !args)
		return cli_fail(c, "out of memory");
	r = table_new("images", verify_columns, &c->table, &b.table, &e);
	if (r) {
		json_decref(args);
		return cli_usage(c, "%s", e.text);
	}
	r = ask_mount(c->arg[0], "verify", args, verify_line, &b, &e);
	progress_free(b.p);
	/* Also what was found before it failed. */
	printed = table_print(b.table);
	table_free(b.table);
	if (!r && printed)
		r = err_set(&e, -printed, "cannot write: %s",
			    strerror(-printed));
	return r ? cli_fail(c, "%s", e.text) : 0;
}
