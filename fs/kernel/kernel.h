/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel.h - the mount's side towards the kernel (DESIGN.md section 7).
 *
 *	kernel_new	handles, notify thread, libfuse session on the channel
 *	kernel_serve	INIT (or its replay), then requests until the umount
 *			or a kernel_drain
 *	kernel_stop	no more notifications; parked reads answered; handles
 *			closed
 *	kernel_free
 *
 * All metadata comes from the catalog and the cache's index in memory (R8);
 * reads of what is stored from the cache file; other reads are parked at the
 * reader and cost no thread (R4).
 */
#ifndef STAGEFS_FS_KERNEL_KERNEL_H
#define STAGEFS_FS_KERNEL_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/pool.h"
#include "fs/cache/cache.h"
#include "fs/catalog/catalog.h"
#include "fs/read/reader.h"

struct kernel;
struct session_area;

struct kernel_config {
	struct catalog *catalog; /* these four outlive it */
	struct cache *cache;
	struct reader *reader;
	struct pool *pool;
	int fuse_fd;			/* taken over by kernel_new */
	struct session_area *session;	/* outlives the process */
	int link;			/* to the supervisor; the caller's */
	int notifier;			/* of notifier_fork; the caller's */
	bool passthrough;		/* if the kernel has it */
};

int kernel_new(const struct kernel_config *cfg, struct kernel **ret,
	       struct err *e);
/*
 * `serving` is called once, when the kernel has its answer to INIT. Returns 0
 * after an umount (by anybody) or a kernel_drain, else -errno.
 */
int kernel_serve(struct kernel *k, void (*serving)(void *ctx), void *ctx);
/* Ends kernel_serve when the requests at work have been handled. New ones
 * stay with the kernel. Any thread, between kernel_new and kernel_free. */
void kernel_drain(struct kernel *k);
/* After kernel_serve, for a worker that another one follows: leaves what is
 * parked to that one, which gets it again. */
void kernel_hand_over(struct kernel *k);
void kernel_stop(struct kernel *k);
void kernel_free(struct kernel *k); /* NULL is fine */

/* The three below may be called from any thread and with the catalog's and the
 * cache's locks free; they only queue. */

/* These names point elsewhere now (what catalog_apply returned). */
void kernel_names_changed(struct kernel *k, const struct catalog_change *ch,
			  size_t n);
/* Stored bytes or state of this version changed: st_blocks, xattrs. */
void kernel_attr_changed(struct kernel *k, uint64_t id);
/* A stored block of it was found bad: what the kernel has cached of reads that
 * we answered may be. (Those of passthrough are pages of the cache file.) */
void kernel_pages_bad(struct kernel *k, uint64_t id);

struct kernel_stats {
	uint64_t open_images, parked;
	uint64_t open_passthrough; /* of the open images */
	uint64_t opens, opens_passthrough; /* since start */
};
void kernel_stats(struct kernel *k, struct kernel_stats *ret);

#endif
