/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manyimages.c - names for a store that would take hours to add one by one.
 *
 *	manyimages STORE IMAGE COUNT
 *
 * COUNT more names for the content of IMAGE, in a few transactions beside the
 * running daemon: a tenth of them in one folder ("flat/000000"), one in a
 * folder as deep as there may be ("0/1/2/.../image"), the others in folders of
 * a hundred ("tree/012/034567").
 *
 * The rows are what publish.c would insert; it is not used because it looks
 * at every name for clashes, and counts them all each time.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/limits.h"
#include "origin/db/origindb.h"
#include "origin/store/store.h"

#define PER_TRANSACTION 1000

struct names {
	struct db *db;
	struct err *e;
	struct node like;
	uint64_t revision;
	unsigned pending;
};

static int insert(struct names *n, uint64_t parent, const char *name,
		  bool is_dir, uint64_t *ret_id)
{
	int64_t now = clock_unix_s();
	int r = 0;

	if (n->pending++ == 0)
		r = db_begin(n->db, n->e);
	if (r)
		return r;
	if (is_dir)
		r = db_run(n->db, n->e,
			   "INSERT INTO node(parent,name,fold,is_dir,mtime_s,"
			   "added_s,revision) VALUES(?1,?2,?2,1,?3,?3,?4)",
			   "usiu", parent, name, now, n->revision);
	else
		r = db_run(n->db, n->e,
			   "INSERT INTO node(parent,name,fold,is_dir,mtime_s,"
			   "size,block_bytes,digest,added_s,revision)"
			   " VALUES(?1,?2,?2,0,?3,?4,?5,?6,?3,?7)",
			   "usiuibu", parent, name, now, n->like.size_bytes,
			   (int64_t)n->like.block_bytes, n->like.digest.b,
			   (size_t)DIGEST_BYTES, n->revision);
	if (r)
		return r;
	*ret_id = (uint64_t)db_last_id(n->db);
	if (n->pending < PER_TRANSACTION)
		return 0;
	n->pending = 0;
	n->revision++;
	return db_commit(n->db, n->e);
}

static int insert_deep(struct names *n)
{
	uint64_t id = 1;
	char name[16];
	int r = 0;

	for (unsigned i = 1; !r && i < STAGEFS_PATH_MAX_DEPTH; i++) {
		snprintf(name, sizeof(name), "%u", i);
		r = insert(n, id, name, true, &id);
	}
	return r ? r : insert(n, id, "image", false, &id);
}

static int insert_flat(struct names *n, unsigned count)
{
	uint64_t dir, id;
	char name[16];
	int r = insert(n, 1, "flat", true, &dir);

	for (unsigned i = 0; !r && i < count; i++) {
		snprintf(name, sizeof(name), "%06u", i);
		r = insert(n, dir, name, false, &id);
	}
	return r;
}

static int insert_tree(struct names *n, unsigned count)
{
	uint64_t top, dir = 0, id;
	char name[16];
	int r = insert(n, 1, "tree", true, &top);

	for (unsigned i = 0; !r && i < count; i++) {
		snprintf(name, sizeof(name), "%03u", i / 100);
		if (i % 100 == 0)
			r = insert(n, top, name, true, &dir);
		snprintf(name, sizeof(name), "%06u", i);
		if (!r)
			r = insert(n, dir, name, false, &id);
	}
	return r;
}

int main(int argc, char **argv)
{
	unsigned count = argc == 4 ? (unsigned)atoi(argv[3]) : 0;
	CLEAN_DB struct db *db = NULL;
	struct err e = {""};
	struct names n = {.e = &e};
	int r;

	if (count < 10)
		return 2;
	r = origindb_open(argv[1], &db, &e);
	if (!r)
		r = node_find(db, argv[2], &n.like, &e);
	n.db = db;
	if (!r) {
		n.revision = node_revision(db) + 1;
		r = insert_deep(&n);
	}
	if (!r)
		r = insert_flat(&n, count / 10);
	if (!r)
		r = insert_tree(&n, count - count / 10 - 1);
	if (!r && n.pending)
		r = db_commit(db, &e);
	if (r)
		fprintf(stderr, "manyimages: %s\n", e.text);
	return r != 0;
}
