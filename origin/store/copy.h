/* SPDX-License-Identifier: Apache-2.0 */
/* copy.h - between ingest.c (a file) and copy.c (its blocks). */
#ifndef STAGEFS_ORIGIN_STORE_COPY_H
#define STAGEFS_ORIGIN_STORE_COPY_H

#include <stdatomic.h>

#include "origin/store/internal.h"

struct copy {
	/* Set before the threads start. */
	struct store *store;
	const struct image_add *add;
	int src, dst;
	uint64_t length;
	uint32_t block_bytes;
	bool write; /* false: only hash (a reflink) */
	struct manifest *like;
	int like_fd;
	struct digest zero; /* of a whole block of zeros */
	struct progress *progress;
	/* Element i is touched only by the thread that has block i. */
	struct digest *hash;
	uint8_t *same; /* is as in `like` and not written yet */
	/* Any thread. */
	atomic_bool parted; /* from `like` */
	atomic_int changed, disk; /* what failed, for the message */
};

/*
 * For blocks_each, any thread; ctx is the struct copy. Reads block i, hashes it
 * and, if it is to be written, writes it, unless it is as in `like` so far.
 */
int copy_block(void *ctx, uint64_t i, uint8_t *buf);
/* The same afterwards, of a file that has parted from `like`: writes what was
 * left out until then. */
int copy_catch_up(void *ctx, uint64_t i, uint8_t *buf);

#endif
