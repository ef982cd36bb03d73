/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_state.h - what the files of the worker share: worker.c (its life),
 * worker_settle.c (while it is root), worker_parts.c (what it is made of),
 * worker_contact.c (the origin's first answer).
 */
#ifndef STAGEFS_FS_WORKER_STATE_H
#define STAGEFS_FS_WORKER_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/clock.h"
#include "common/crypto.h"
#include "common/err.h"
#include "common/lock.h"
#include "fs/options.h"

struct worker {
	/* set once */
	const char *mountpoint, *source;
	bool fallback; /* an upgrade has failed */
	struct link *link;
	struct mount_options o;
	struct session_area *session;
	int notifier; /* socket */
	struct sign_public pin;
	bool pinned;
	char warning[512];

	struct pool *pool;  /* hashing, and what else is short */
	struct pool *store; /* writes: a slow disk must not hold up hashing */
	struct cache *cache;
	struct catalog *catalog;
	struct sources *sources;
	struct http *http;
	struct fetch *fetch;
	struct reader *reader;
	struct scrub *scrub; /* NULL: off */
	struct control *control;
	struct kernel *made; /* the kernel's side, from its making on */

	/* Callbacks come before these are there and after they have gone.
	 * Held over the calls: they only note and queue. */
	struct lock gate;
	struct agent *agent;
	struct kernel *kernel;
	bool serving;
	uint64_t step_ns; /* since when it starts, or ends */

	int stuck_tid; /* link's thread only: told of already, or 0 */
};

#define WORKER_STEP_MS 50 /* between looks at what takes its time */

static inline void worker_nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = WORKER_STEP_MS * NS_PER_MS},
		  NULL);
}

/* Options, the cache's owner, the cage. Root before, not after; one thread. */
int worker_settle(struct worker *w, const char *options, struct err *e);
/* Makes the parts, in order, up to the control socket. */
int worker_bring_up(struct worker *w, struct err *e);
/* As far as they were made. */
void worker_take_down(struct worker *w);

/* Is the cache's store the catalog's? Notes it at the first contact. */
int worker_check_store(struct worker *w, struct err *e);
/* What the origin says at the start, and whether that is a mistake. */
int worker_first_contact(struct worker *w, struct err *e);

#endif
