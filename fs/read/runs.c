/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs.c - see runs.h. Rejected: a read-ahead state per open file, as the
 * kernel keeps it. Sixty-four stations that read one image through one NFS
 * server have one handle or sixty-four, and what they need next is the same.
 */
#include "fs/read/runs.h"

#include <string.h>

/* Is the read near enough to the front to be part of the run? */
static bool belongs(const struct run *run, uint64_t offset, uint64_t end)
{
	return run->used && offset <= run->front + RUN_NEAR_BYTES &&
	       end + RUN_NEAR_BYTES >= run->front;
}

static struct run *longest_unused(struct runs *r)
{
	struct run *oldest = &r->run[0];

	for (unsigned i = 1; i < RUNS_MAX; i++)
		if (r->run[i].used < oldest->used)
			oldest = &r->run[i];
	return oldest;
}

bool runs_note(struct runs *r, uint64_t offset, uint32_t size)
{
	uint64_t end = offset + size;
	struct run *run = NULL;

	for (unsigned i = 0; i < RUNS_MAX && !run; i++)
		if (belongs(&r->run[i], offset, end))
			run = &r->run[i];
	if (!run) {
		run = longest_unused(r);
		*run = (struct run){.front = end};
		/* The first read of an image starts at its beginning: nobody
		 * reads there by chance. */
		if (offset == 0)
			run->length = size;
		run->used = ++r->tick;
		return offset == 0;
	}
	run->used = ++r->tick;
	if (end <= run->front)
		return false;
	/* Without those that were jumped over. */
	run->length += end - run->front < size ? end - run->front : size;
	run->front = end;
	return true;
}

bool runs_nth(const struct runs *r, unsigned i, uint64_t *ret_front)
{
	uint64_t below = UINT64_MAX;
	const struct run *best;

	do {
		best = NULL;
		for (unsigned k = 0; k < RUNS_MAX; k++) {
			const struct run *run = &r->run[k];

			if (run->used && run->length && run->used < below &&
			    (!best || run->used > best->used))
				best = run;
		}
		if (!best)
			return false;
		below = best->used;
	} while (i-- > 0);
	*ret_front = best->front;
	return true;
}

uint64_t runs_longest(const struct runs *r)
{
	uint64_t longest = 0;

	for (unsigned i = 0; i < RUNS_MAX; i++)
		if (r->run[i].length > longest)
			longest = r->run[i].length;
	return longest;
}

void runs_reset(struct runs *r)
{
	memset(r, 0, sizeof(*r));
}
