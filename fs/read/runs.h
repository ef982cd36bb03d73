/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs.h - where an image is being read in sequence (R6).
 *
 * A run is a place that reads move forward from. Reads that come a little out
 * of order (NFS servers read with many threads) belong to the same run: only
 * the distance from its front counts, not who asks. A few runs are kept per
 * image, the one longest unused goes. Pure arithmetic: no lock, no clock.
 */
#ifndef STAGEFS_FS_READ_RUNS_H
#define STAGEFS_FS_READ_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#define RUNS_MAX 8
/* A read so far behind or ahead of a run's front still belongs to it. */
#define RUN_NEAR_BYTES (UINT64_C(4) << 20)

struct run {
	uint64_t front;	 /* end of the furthest read */
	uint64_t length; /* bytes that were read as the front moved */
	uint64_t used;	 /* tick of the last read; 0: free */
};

struct runs {
	struct run run[RUNS_MAX];
	uint64_t tick;
};

/* Notes a read; true if a front moved, so that there may be more to fetch. */
bool runs_note(struct runs *r, uint64_t offset, uint32_t size);
/*
 * The i-th run by last use (0 is the latest) that has moved at least once, so
 * that it is worth looking ahead of; false if there are no more.
 */
bool runs_nth(const struct runs *r, unsigned i, uint64_t *ret_front);
/* The length of the longest one. */
uint64_t runs_longest(const struct runs *r);
void runs_reset(struct runs *r);

#endif
