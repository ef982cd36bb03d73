/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_db.h - what index.c and rows.c share: the one handle, and who has it.
 */
#ifndef STAGEFS_FS_CACHE_INDEX_DB_H
#define STAGEFS_FS_CACHE_INDEX_DB_H

#include "common/lock.h"
#include "fs/cache/index.h"

struct db;

struct index {
	int cache_fd;  /* set once; the cache's */
	struct db *db; /* the owner's */

	struct lock lock; /* the rest */
	struct wait_cond free;
	bool owned;
};

/* The handle, once it is free; given back after the statement's end. */
struct db *index_enter(struct index *x);
void index_leave(struct index *x);

#endif
