/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - images on the origin's disk.
 *
 *	STORE/origin.db			names, plan, servers (db/schema.c)
 *	STORE/objects/<digest>		the bytes of a version
 *	STORE/manifests/<digest>	its manifest
 *	STORE/incoming/			half-done adds; emptied by the next run
 *	STORE/secret.pem, key.pub	Ed25519 pair, made by init
 *	STORE/serve.lock		flock of the one daemon
 *	STORE/objects.lock		flock: shared while an add publishes,
 *					alone for whoever removes objects
 *
 * A digest names content: the same bytes under two names are stored once. An
 * object is complete, fsynced and in place before the row that names it is
 * committed; it is removed after the last such row is.
 */
#ifndef STAGEFS_ORIGIN_STORE_STORE_H
#define STAGEFS_ORIGIN_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/crypto.h"
#include "common/db.h"
#include "common/err.h"
#include "common/wire.h"

struct store {
	char *dir;
	int dirfd, objects_fd, manifests_fd, incoming_fd;
	int serve_fd; /* the daemon's lock, or -1 */
	char uuid[UUID_TEXT];
	struct sign_secret key;
};

/* Makes a new store in `dir` (made if missing; -EEXIST if it holds one,
 * -ENOTEMPTY if it holds anything else). */
int store_init(const char *dir, struct err *e);
/* Opens folders and key. -ENOENT: "not a store: run init". */
int store_open(const char *dir, struct store **ret, struct err *e);
void store_close(struct store *s);
/* The daemon's lock; -EBUSY: another one serves this store. Held until
 * store_close. */
int store_lock_serve(struct store *s, struct err *e);

static inline void cleanup_store(struct store **s)
{
	store_close(*s);
}
#define CLEAN_STORE __attribute__((cleanup(cleanup_store)))

/*
 * A lock file of the store; LOCK_SH or LOCK_EX, with LOCK_NB. Returns a
 * descriptor that holds it until it is closed, or -errno (-EWOULDBLOCK).
 */
int store_lock_file(struct store *s, const char *name, int how);
/* New files belong to the store's owner also when root makes them: the daemon
 * has to read them. */
int store_own(struct store *s, int fd);

/* Read-only descriptors of published content. -ENOENT. */
int store_open_object(struct store *s, const struct digest *d,
		      uint64_t *ret_size);
int store_open_manifest(struct store *s, const struct digest *d,
			uint64_t *ret_size);

/* ---- names: nodes of the catalog -------------------------------------- */

struct node {
	uint64_t id, parent;
	char name[1024]; /* whole name, "win11/base.wim" */
	bool is_dir;
	uint64_t size_bytes;
	uint32_t block_bytes;
	struct digest digest;
	int64_t mtime_s, added_s;
	uint64_t revision;
};

/* A live node by whole name. -ENOENT (the message suggests `image list`),
 * -EINVAL for a bad name. */
int node_find(struct db *db, const char *name, struct node *ret, struct err *e);
/* By id, live or removed; -ENOENT. ret->name is the name it has or had. */
int node_get(struct db *db, uint64_t id, struct node *ret, bool *ret_removed,
	     struct err *e);
uint64_t node_revision(struct db *db); /* of the catalog */
/* Live nodes beneath the root, by whole name. `each` returns 0 to go on; its
 * other values are returned. It may not change the database. */
int node_each(struct db *db, int (*each)(const struct node *n, void *ctx),
	      void *ctx, struct err *e);
/* The same, beneath a folder. */
int node_each_in(struct db *db, const struct node *dir,
		 int (*each)(const struct node *n, void *ctx), void *ctx,
		 struct err *e);

/*
 * One page of the catalog after `since`, not sealed; at most
 * STAGEFS_CATALOG_PAGE_ENTRIES rows, cut between two revisions' rows only
 * where more follow. `since` above the current revision gives a page whose
 * revision is below `since` (the server refuses it). Not inside a transaction.
 */
int catalog_page(struct store *s, struct db *db, uint64_t since,
		 struct wire_catalog *ret, struct err *e);

#endif
