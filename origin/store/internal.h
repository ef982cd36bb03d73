/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - between the files of the store; see image.h for the whole. */
#ifndef STAGEFS_ORIGIN_STORE_INTERNAL_H
#define STAGEFS_ORIGIN_STORE_INTERNAL_H

#include "common/manifest.h"
#include "origin/store/image.h"

#define STORE_FILE_MODE 0640

/* ---- crash points ------------------------------------------------------ */

/* Tests end the process here, or let others act; NULL in the programs. */
extern void (*store_step_hook)(const char *step);

static inline void store_step(const char *step)
{
	if (store_step_hook)
		store_step_hook(step);
}

/* ---- blocks.c: all blocks of a file, on all cores ---------------------- */

struct blocks_work {
	uint64_t n_blocks;
	uint32_t block_bytes;
	/* On several threads at once, each with a page-aligned buffer of
	 * block_bytes of its own. Blocks start in ascending order. */
	int (*each)(void *ctx, uint64_t i, uint8_t *buf);
	void *ctx;
	const volatile sig_atomic_t *stop; /* may be NULL */
};

/* The first error of `each`, -EINTR if stopped, -ENOMEM. */
int blocks_each(const struct blocks_work *w);

/* ---- ingest.c: a file into incoming/, hashed --------------------------- */

struct ingest {
	int fd;		/* incoming/<name>, flocked; -1 if not needed */
	char name[32];	/* "" : nothing there */
	bool reflinked;
	bool matched;	/* all blocks are those of `like`: nothing written */
	int64_t mtime_s;
	struct manifest *manifest;
};

/* Is it a file that can be added? Opens it. fd or -errno. */
int ingest_open(const char *file, uint64_t *ret_size, struct err *e);
/*
 * `like`: a version of the same length that the store has (or NULL). As long
 * as the file is the same as that one, nothing is written.
 */
int ingest_run(struct store *s, int src, uint64_t length,
	       const struct image_add *a, const struct node *like,
	       struct ingest *ret, struct err *e);
/* Removes the incoming file if it is still there. */
void ingest_end(struct store *s, struct ingest *g);

/* ---- publish.c: names, inside the caller's transaction ----------------- */

struct publish {
	const char *name;
	const struct manifest *manifest;
	int64_t mtime_s, now_s, keep_s;
};

/* May an image have this name now? -EEXIST and the reason. Changes nothing. */
int publish_check(struct db *db, const char *name, struct err *e);
int publish_add(struct db *db, const struct publish *p, struct image_added *ret,
		struct err *e);
int publish_remove(struct db *db, const struct node *n, int64_t now_s,
		   struct err *e);

/* ---- sweep.c ----------------------------------------------------------- */

/* With objects.lock held alone. */
int sweep_objects_locked(struct store *s, struct db *db, int64_t now_s,
			 struct err *e);

#endif
