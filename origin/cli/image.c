/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - `image list` and `image remove`; the others have own files. */
#include "origin/cli/image.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/units.h"
#include "origin/cli/verbs.h"
#include "origin/store/image.h"

#define DIGEST_SHORT 12

/* ---- list -------------------------------------------------------------- */

enum {
	COL_NAME,
	COL_ID,
	COL_SIZE,
	COL_BLOCK,
	COL_MTIME,
	COL_ADDED,
	COL_DIGEST,
	COL_REVISION
};

static const struct table_column list_columns[] = {
	{"NAME", "image name", TABLE_TEXT, true},
	{"ID", "id of the version: its inode number on every server",
	 TABLE_NUMBER, true},
	{"SIZE", "size", TABLE_SIZE, true},
	{"BLOCK", "size of its blocks", TABLE_SIZE, false},
	{"MTIME", "when the file was changed last", TABLE_TIME, true},
	{"ADDED", "when it was published", TABLE_TIME, true},
	{"DIGEST", "digest of its manifest; its first digits in a table, all "
	 "with --raw and --json", TABLE_TEXT, true},
	{"REVISION", "catalog revision that brought it", TABLE_NUMBER, false},
	{0},
};

struct listing {
	struct table *table;
	bool whole_digest;
	const char *below; /* a folder or an image, or NULL */
};

static bool is_below(const char *name, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(name, folder, n) == 0 &&
	       (name[n] == '\0' || name[n] == '/');
}

static int list_node(const struct node *n, void *ctx)
{
	struct listing *l = ctx;
	char digest[DIGEST_TEXT];
	void *row;

	if (n->is_dir || (l->below && !is_below(n->name, l->below)))
		return 0;
	digest_text(&n->digest, digest);
	if (!l->whole_digest)
		digest[DIGEST_SHORT] = '\0';
	row = table_row(l->table);
	table_text(l->table, row, COL_NAME, n->name);
	table_u64(l->table, row, COL_ID, n->id);
	table_u64(l->table, row, COL_SIZE, n->size_bytes);
	table_u64(l->table, row, COL_BLOCK, n->block_bytes);
	table_time(l->table, row, COL_MTIME, n->mtime_s);
	table_time(l->table, row, COL_ADDED, n->added_s);
	table_text(l->table, row, COL_DIGEST, digest);
	table_u64(l->table, row, COL_REVISION, n->revision);
	return 0;
}

static int run_list(struct cli_context *c)
{
	struct listing l = {.whole_digest = c->table.json || c->table.raw};
	CLEAN_DB struct db *db = NULL;
	struct node n;
	struct err e;
	int r = verb_open_db(c, &db);

	if (r)
		return r;
	if (c->n_args) {
		l.below = c->arg[0];
		if (node_find(db, l.below, &n, &e))
			return cli_fail(c, "%s", e.text);
	}
	r = cli_table(c, "images", list_columns, &l.table);
	if (r)
		return r;
	if (node_each(db, list_node, &l, &e))
		r = cli_fail(c, "%s", e.text);
	else
		r = cli_table_print(c, l.table);
	table_free(l.table);
	return r;
}

/* ---- remove ------------------------------------------------------------ */

static const struct cli_option remove_options[] = {
	{"force", 'f', NULL, "also if the plan still needs it"},
	{0},
};

static int run_remove(struct cli_context *c)
{
	CLEAN_STORE struct store *s = NULL;
	CLEAN_DB struct db *db = NULL;
	struct node n;
	struct err e;
	int r = verb_open_store(c, &s, &db);

	if (r)
		return r;
	if (image_remove(s, db, c->arg[0], cli_flag(c, "force"), clock_unix_s(),
			 &n, &e))
		return cli_fail(c, "%s", e.text);
	printf("%s: removed, version id %llu\n", n.name,
	       (unsigned long long)n.id);
	return 0;
}

/* ---- the verbs --------------------------------------------------------- */

const struct cli_verb verbs_image[] = {
	{
		.name = "add",
		.args = "FILE --name NAME",
		.summary = "publish a file, or a new version of it",
		.option = image_add_options,
		.run = image_add_run,
		.min_args = 1,
		.max_args = 1,
		.details =
			"Hashes the file on all cores and copies it into the "
			"store in the same pass, or makes a reflink where the "
			"file system can. Content that the store has already "
			"is not stored again. Servers show the image within "
			"two seconds. Readers that have an older version open "
			"go on reading that one.",
	},
	{
		.name = "list",
		.args = "[FOLDER]",
		.summary = "list what is published",
		.run = run_list,
		.max_args = 1,
		.table = list_columns,
	},
	{
		.name = "show",
		.args = "NAME",
		.summary = "show an image, and which servers have it",
		.run = image_show_run,
		.min_args = 1,
		.max_args = 1,
		.table = image_show_columns,
	},
	{
		.name = "remove",
		.args = "NAME",
		.summary = "take an image out of the catalog and the store",
		.option = remove_options,
		.run = run_remove,
		.min_args = 1,
		.max_args = 1,
		.details =
			"Servers stop showing it within two seconds. What they "
			"have stored of it makes room when room is needed. A "
			"folder goes with the last image in it.",
	},
	{
		.name = "verify",
		.args = "[NAME]",
		.summary = "hash stored images again and compare",
		.option = image_verify_options,
		.run = image_verify_run,
		.max_args = 1,
		.table = image_verify_columns,
		.details =
			"Exit status 1 if anything is damaged. With --repair, "
			"damaged objects are taken out of the store; add the "
			"same files again to have them back under the same id. "
			"It also removes what interrupted adds have left.",
	},
	{0},
};
