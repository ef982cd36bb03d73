/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.h - CACHE/catalog: the signed pages as they came, so that they can be
 * verified again at the next start.
 *
 *	stagefs-catalog 1\n
 *	page <length>\n<bytes>\n	(any number of these)
 *
 * Pages come in batches, the last of which has no `more`; the first batch
 * starts from nothing. A batch is appended and synced at once; a full one
 * replaces the file (temporary file, rename). So after a crash the file is a
 * run of whole batches and perhaps a torn one, which is cut off at load.
 *
 * One thread.
 */
#ifndef STAGEFS_FS_CATALOG_KEEP_H
#define STAGEFS_FS_CATALOG_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keep {
	int dirfd;
	uint64_t bytes;	     /* of the file; 0: there is none */
	uint64_t full_bytes; /* of it after its first batch */
	bool behind;	     /* a batch could not be written */

	/* Asked before the files grow to so much, told when they shrink; NULL:
	 * they may. Set by the owner after keep_load. */
	int (*room)(void *ctx, uint64_t bytes);
	void *room_ctx;
};

struct keep_page {
	char *text;
	size_t n;
};

/*
 * Gives each page to `page`, which returns 0 and tells whether the batch goes
 * on, or a negative error for a bad one. Pages of a batch that is not whole
 * are given too: the caller drops them. What cannot be used is cut off (torn)
 * or set aside as CACHE/catalog.bad (damaged), with a warning. Fails only for
 * lack of memory or a disk that cannot be read.
 */
int keep_load(struct keep *k, int dirfd,
	      int (*page)(void *ctx, const char *text, size_t n,
			  bool *ret_more),
	      void *ctx);

/* Neither fails: if the disk does, the file keeps what it has, with a
 * warning, and keep_wants_full() is true from then on. */
void keep_append(struct keep *k, const struct keep_page *page, size_t n);
void keep_replace(struct keep *k, const struct keep_page *page, size_t n);

/* What all files of it take. */
uint64_t keep_disk_bytes(const struct keep *k);

/* Is it time for a full batch? */
bool keep_wants_full(const struct keep *k);

#endif
