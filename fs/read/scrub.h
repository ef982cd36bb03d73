/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrub.h - looks after what is stored (C7): block after block is read from
 * the disk and compared, evenly spread, so that a round over all that is
 * stored takes `span_ms`. What is bad is forgotten (so nobody is served it)
 * and mended in place from the origin.
 *
 * The place it has come to outlives the process; a kill costs a twentieth of
 * a round, or a minute, of it.
 */
#ifndef STAGEFS_FS_READ_SCRUB_H
#define STAGEFS_FS_READ_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/cache/cache.h"

struct scrub;

struct scrub_config {
	struct cache *cache; /* outlives it */
	uint64_t span_ms;
	/* Both are called on the thread, with no lock held. */
	/* Has what is missing of a version that was complete fetched. */
	int (*mend)(void *ctx, const struct version_ident *ident);
	/* Do readers wait just now? Then so does the scrub, for a while. */
	bool (*busy)(void *ctx);
	void *ctx;
};

int scrub_new(const struct scrub_config *cfg, struct scrub **ret);
/* Keeps its place, joins. NULL is fine. */
void scrub_free(struct scrub *s);

struct scrub_stats {
	uint64_t span_ms;
	uint64_t rounds, blocks, bytes, bad; /* since start */
	int64_t round_began_s;
	/* Of this round, as far as it can be told; total is 0 if nothing is
	 * stored. */
	uint64_t done_bytes, total_bytes;
};
void scrub_stats(struct scrub *s, struct scrub_stats *ret);

/* How long after a block of `bytes` the next one is due. Pure. */
uint64_t scrub_interval_ns(uint64_t span_ms, uint64_t bytes, uint64_t total);

#endif
