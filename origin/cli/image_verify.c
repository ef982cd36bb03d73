/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_verify.c - `image verify [NAME]`: the names are read first, then each
 * content is hashed once, however many names it has.
 */
#include "origin/cli/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/clock.h"
#include "origin/cli/verbs.h"
#include "origin/store/image.h"

enum { COL_NAME, COL_ID, COL_SIZE, COL_BLOCKS, COL_BAD, COL_STATE, COL_DETAIL };

const struct table_column image_verify_columns[] = {
	{"NAME", "image name", TABLE_TEXT, true},
	{"ID", "id of the version", TABLE_NUMBER, true},
	{"SIZE", "size", TABLE_SIZE, true},
	{"BLOCKS", "how many blocks it has", TABLE_NUMBER, true},
	{"BAD", "how many of them do not match", TABLE_NUMBER, true},
	{"STATE", "ok or damaged", TABLE_TEXT, true},
	{"DETAIL", "what is wrong: the first bad blocks, counted from 0",
	 TABLE_TEXT, true},
	{0},
};

const struct cli_option image_verify_options[] = {
	{"repair", 0, NULL,
	 "take damaged objects out of the store, so that `image add` of the "
	 "same file stores them anew"},
	{0},
};

struct content {
	struct digest digest; /* key */
	struct node node;     /* one that has it */
	struct image_check check;
	UT_hash_handle hh;
};

struct named {
	struct node node;
	struct content *content;
	struct named *next;
};

struct job {
	struct named *first, **last; /* by name */
	struct content *contents;
	uint64_t total_bytes;
	const struct cli_context *cli;
};

static int collect(const struct node *n, void *ctx)
{
	struct job *j = ctx;
	struct named *named;
	struct content *c;

	if (n->is_dir)
		return 0;
	HASH_FIND(hh, j->contents, n->digest.b, DIGEST_BYTES, c);
	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		c->digest = n->digest;
		c->node = *n;
		HASH_ADD(hh, j->contents, digest.b, DIGEST_BYTES, c);
		j->total_bytes += n->size_bytes;
	}
	named = calloc(1, sizeof(*named));
	if (!named)
		return -ENOMEM;
	named->node = *n;
	named->content = c;
	*j->last = named;
	j->last = &named->next;
	return 0;
}

static void job_clear(struct job *j)
{
	struct content *c, *next;

	HASH_ITER(hh, j->contents, c, next) {
		HASH_DEL(j->contents, c);
		free(c);
	}
	while (j->first) {
		struct named *n = j->first;

		j->first = n->next;
		free(n);
	}
}

static int check_all(struct job *j, struct store *s, struct err *e)
{
	const volatile sig_atomic_t *stop = interrupt_arm();
	struct progress *p = progress_new("verify", j->total_bytes);
	struct content *c, *next;
	int r = 0;

	HASH_ITER(hh, j->contents, c, next) {
		r = image_check(s, &c->node, p, stop, &c->check, e);
		if (r)
			break;
	}
	progress_free(p);
	return r;
}

/* Removed while we looked: nothing is wrong. */
static bool is_gone(struct db *db, const struct node *n)
{
	struct node now;
	bool removed;

	return node_get(db, n->id, &now, &removed, NULL) == 0 && removed;
}

static void detail(const struct image_check *c, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "%s", c->problem);
	size_t shown = c->n_bad < IMAGE_CHECK_BAD_MAX ? c->n_bad
						      : IMAGE_CHECK_BAD_MAX;

	for (size_t i = 0; i < shown && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%llu",
				      i ? ", " : "bad blocks: ",
				      (unsigned long long)c->bad[i]);
	if (shown < c->n_bad && n < size)
		snprintf(out + n, size - n, ", ...");
}

static void add_row(struct table *t, const struct named *n)
{
	const struct image_check *c = &n->content->check;
	bool ok = image_check_ok(c);
	void *row = table_row(t);
	char text[512];

	table_text(t, row, COL_NAME, n->node.name);
	table_u64(t, row, COL_ID, n->node.id);
	table_u64(t, row, COL_SIZE, n->node.size_bytes);
	table_u64(t, row, COL_BLOCKS, c->n_blocks);
	table_u64(t, row, COL_BAD, c->n_bad);
	table_text(t, row, COL_STATE, ok ? "ok" : "damaged");
	if (!ok) {
		detail(c, text, sizeof(text));
		table_text(t, row, COL_DETAIL, text);
	}
}

static int repair(struct job *j, struct store *s, struct err *e)
{
	struct content *c, *next;
	int r = 0;

	HASH_ITER(hh, j->contents, c, next) {
		if (image_check_ok(&c->check))
			continue;
		r = image_withdraw(s, &c->digest, e);
		if (r)
			break;
	}
	return r;
}

static int report(struct job *j, struct db *db, size_t *ret_bad)
{
	const struct cli_context *c = j->cli;
	size_t bad = 0;
	CLEAN_TABLE struct table *t = NULL;
	int r = cli_table(c, "images", image_verify_columns, &t);

	if (r)
		return r;
	for (struct named *n = j->first; n; n = n->next) {
		if (!image_check_ok(&n->content->check)) {
			if (is_gone(db, &n->node))
				continue;
			bad++;
		}
		add_row(t, n);
	}
	*ret_bad = bad;
	return cli_table_print(c, t);
}

static int verify(struct job *j, struct store *s, struct db *db)
{
	const struct cli_context *c = j->cli;
	struct node n;
	size_t bad = 0;
	struct err e;
	int r;

	if (c->n_args) {
		r = node_find(db, c->arg[0], &n, &e);
		if (!r && n.is_dir)
			return cli_fail(c, "%s is a folder: name an image, or "
					"none for all", c->arg[0]);
		if (!r && (r = collect(&n, j)))
			err_set(&e, -r, "%s", strerror(-r));
	} else {
		e.text[0] = '\0';
		r = node_each(db, collect, j, &e);
		if (r && !e.text[0])
			err_set(&e, -r, "%s", strerror(-r));
	}
	if (!r)
		r = check_all(j, s, &e);
	if (r)
		return cli_fail(c, "%s", e.text);
	r = report(j, db, &bad);
	if (r)
		return r;
	if (!cli_flag(c, "repair"))
		return bad ? cli_fail(c, "%zu damaged: see `image verify "
				      "--help` for --repair", bad)
			   : 0;
	if (repair(j, s, &e) ||
	    store_sweep(s, db, clock_unix_s(), true, &e))
		return cli_fail(c, "%s", e.text);
	return bad ? cli_fail(c, "%zu damaged, taken out of the store: add the "
			      "same files again", bad)
		   : 0;
}

int image_verify_run(struct cli_context *c)
{
	struct job j = {.last = &j.first, .cli = c};
	CLEAN_STORE struct store *s = NULL;
	CLEAN_DB struct db *db = NULL;
	int r = verb_open_store(c, &s, &db);

	if (r)
		return r;
	r = verify(&j, s, db);
	job_clear(&j);
	return r;
}
