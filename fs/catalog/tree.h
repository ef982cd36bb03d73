/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - the catalog's tree in memory: nodes by id, and each folder's
 * children as an array sorted by name (bytes). No locks, no files, no
 * signatures: catalog.c has those.
 *
 * What an id means never changes: neither its place, its name nor its
 * content; only the time may. So there are four changes: a node comes, goes
 * (becomes a ghost), comes back just as it was, or is touched.
 */
#ifndef STAGEFS_FS_CATALOG_TREE_H
#define STAGEFS_FS_CATALOG_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "common/err.h"
#include "common/wire.h"
#include "fs/catalog/catalog.h"

/* Ghosts kept; the oldest go first. */
#define TREE_GHOSTS_MAX 20000u

struct node {
	uint64_t id, parent;
	char *name;
	bool is_dir, ghost;
	bool linked;	    /* among its parent's children */
	bool seen, planned; /* while a change is applied */
	int64_t mtime_s;
	uint64_t size_bytes;
	uint32_t block_bytes;
	struct digest digest;

	/* folders: live children, by name */
	struct node **child;
	size_t n_children;
	uint32_t n_dirs;
	int64_t newest_s; /* mtime_s of the newest ever put into it */
	uint64_t changed; /* revision at which a child came or went */
	struct edit *edit; /* while a change is applied */

	struct node *prev, *next; /* in the list of ghosts, oldest first */
	UT_hash_handle hh;
};

struct tree {
	struct node *by_id;
	struct node *root;
	struct node *ghosts;
	size_t n_ghosts, n_live; /* the root is not counted */
};

int tree_init(struct tree *t);
void tree_free(struct tree *t);

struct node *tree_find(const struct tree *t, uint64_t id);
struct node *tree_child(const struct node *dir, const char *name);
/* Index of the first child whose name is above `name`. */
size_t tree_above(const struct node *dir, const char *name);

/*
 * Applies pages one after the other, all or nothing; takes names out of the
 * pages. `full`: what they do not list is gone. -EPROTO: they contradict what
 * is there or themselves; -E2BIG; -ENOMEM. ret_changes as catalog_apply's.
 */
int tree_apply(struct tree *t, struct wire_catalog *page, size_t n_pages,
	       bool full, struct catalog_change **ret_changes, size_t *ret_n,
	       struct err *e);

#endif
