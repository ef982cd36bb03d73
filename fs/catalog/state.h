/* SPDX-License-Identifier: Apache-2.0 */
/* state.h - what catalog.c (changes) and query.c (questions) share. */
#ifndef STAGEFS_FS_CATALOG_STATE_H
#define STAGEFS_FS_CATALOG_STATE_H

#include "common/lock.h"
#include "fs/catalog/catalog.h"
#include "fs/catalog/keep.h"
#include "fs/catalog/tree.h"

/* Pages of one change that wait for the last one. */
struct pending {
	struct wire_catalog *page;
	struct keep_page *raw;
	size_t n, cap;
	size_t bytes, entries;
	struct sign_public key;
};

struct catalog {
	struct lock lock; /* protects what follows */
	struct tree tree;
	uint64_t revision, generation;
	char store[UUID_TEXT];
	struct sign_public key;
	bool have_key;

	/* the writer's */
	int dirfd;
	bool key_on_disk, loading, compare;
	struct keep keep;
	struct pending pending;
};

#endif
