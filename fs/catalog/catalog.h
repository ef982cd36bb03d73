/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog.h - the tree of published images, in memory (R8) and, as the signed
 * pages it came from, in CACHE/catalog (so that a start without the origin
 * serves what it has, and verifies it again).
 *
 * An id is the inode number everywhere. Removed and replaced nodes stay as
 * ghosts (bounded number): they have no name in a folder any more, but their
 * attributes and the place where a directory cookie pointed are still known.
 *
 * Any thread; one writer (the agent). No call touches network or, but for
 * load and apply, disk.
 */
#ifndef STAGEFS_FS_CATALOG_CATALOG_H
#define STAGEFS_FS_CATALOG_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/crypto.h"
#include "common/wire.h"

#define CATALOG_ROOT 1

struct catalog;

struct catalog_node {
	uint64_t id, parent;
	bool is_dir;
	bool ghost; /* removed or replaced: reachable by id only */
	/* Of a folder: the newest time of what was put into it. */
	int64_t mtime_s;
	uint64_t changed; /* folders: revision at which a name inside changed */
	uint64_t size_bytes;
	uint32_t block_bytes;
	uint32_t n_dirs; /* folders inside: st_nlink is 2 + this */
	struct digest digest;
};

/* `pin`: the key given with key=, or NULL: trust the first one, which is then
 * kept in CACHE/key.pub. Loads and verifies what CACHE holds; a damaged file
 * is set aside with a warning (the origin will be asked again). -EKEYREJECTED
 * if the pinned key and the kept one differ. */
int catalog_open(int cache_dirfd, const struct sign_public *pin,
		 struct catalog **ret, struct err *e);
void catalog_close(struct catalog *c);
/*
 * `room` is asked before the files of the catalog grow to `bytes`; if it
 * refuses (-errno) the catalog is served from memory, and asked for again
 * later. It is told when they have shrunk. Before the first apply.
 */
void catalog_set_room(struct catalog *c,
		      int (*room)(void *ctx, uint64_t bytes), void *ctx);

/* 0 before the first page. */
uint64_t catalog_revision(struct catalog *c);
/* Copies the store's UUID; "" before the first page. */
void catalog_store(struct catalog *c, char out[UUID_TEXT]);
/* Generation of all inodes but the root (0): from the store's UUID, never 0. */
uint64_t catalog_generation(struct catalog *c);
uint64_t catalog_count(struct catalog *c);
/* The key that is pinned or was trusted first; false before there is one. */
bool catalog_key(struct catalog *c, struct sign_public *ret);

struct catalog_change {
	uint64_t parent; /* where the name was or is */
	uint64_t id;	 /* that the name pointed to before, 0: nothing */
	char *name;
};

/*
 * One answer of GET catalog, as it came. Verifies signature, key, store and
 * revision, then applies and keeps it; with more pages to come nothing is
 * visible until the last one has been given. Errors: -EBADMSG, -EKEYREJECTED
 * (signature, key), -ESTALE (older than ours: refused), -EXDEV (another
 * store), -E2BIG (too many entries), -EPROTO. On error nothing has changed;
 * pages collected so far are dropped. ret_more: ask again with
 * catalog_next(). ret_changes: names that now point elsewhere, malloc'd.
 */
int catalog_apply(struct catalog *c, const char *text, size_t n,
		  bool *ret_more, struct catalog_change **ret_changes,
		  size_t *ret_n, struct err *e);
void catalog_changes_free(struct catalog_change *ch, size_t n);
/* The `since` to ask for next. */
uint64_t catalog_next(struct catalog *c);
/* Would an answer to that say nothing, if it were of our revision? */
bool catalog_knows(const struct catalog *c, uint64_t since);
/* Has it be 0, for all of the catalog, until that was applied: what changed
 * since a revision does not show that the origin's database was restored, and
 * that other changes have led there. By who applies. */
void catalog_compare(struct catalog *c);

/* -ENOENT, -ENOTDIR, -ENAMETOOLONG. Names "." and ".." are answered too. */
int catalog_lookup(struct catalog *c, uint64_t parent, const char *name,
		   struct catalog_node *ret);
/* -ENOENT: never heard of. Ghosts are found (ret->ghost). */
int catalog_get(struct catalog *c, uint64_t id, struct catalog_node *ret);
/* "win11/base.wim". -ENOENT. */
int catalog_find(struct catalog *c, const char *path, struct catalog_node *ret);
int catalog_path(struct catalog *c, uint64_t id, char *out, size_t size);

/*
 * Children in order of name (bytes), those after `cookie`: 0 starts, else a
 * child's id as given before, even if that child is gone meanwhile. `each`
 * returns false to stop; it is called under the catalog's lock and must only
 * copy. -ENOENT (no such folder, or a cookie that was never given or is long
 * forgotten), -ENOTDIR.
 */
int catalog_readdir(struct catalog *c, uint64_t dir, uint64_t cookie,
		    bool (*each)(void *ctx, const char *name,
				 const struct catalog_node *node),
		    void *ctx);

#endif
