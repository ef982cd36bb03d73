/* SPDX-License-Identifier: Apache-2.0 */
/*
 * victims.h - who has to go (C4): a pure choice over a list in stored order.
 *
 * A place is a version's place in that order. The order is that of a sequence
 * number, never of time, so a clock jump changes nothing; last use does not
 * count either, but for `just read`.
 */
#ifndef STAGEFS_FS_CACHE_VICTIMS_H
#define STAGEFS_FS_CACHE_VICTIMS_H

#include <stdbool.h>
#include <stdint.h>

struct place {
	struct place *prev, *next; /* utlist's, by `seq` */
	uint64_t seq;
	uint64_t bytes;		   /* that its deletion gives back */
	int64_t held_until_s;	   /* 0: not held */
	uint64_t read_ns;	   /* last touch, 0: never; atomic */
	struct place *next_victim; /* valid after victims_choose */
};

struct victim_rules {
	uint64_t now_ns; /* CLOCK_MONOTONIC */
	int64_t now_s;	 /* CLOCK_REALTIME, for holds */
	uint64_t just_read_ns;
	bool take_held; /* as the last resort, oldest first */
	bool partly;	/* what can be had, if not all can */
	bool (*busy)(const struct place *p); /* open, pinned, in work */
};

/* Would it be passed over, hold or not? */
bool victims_passed_over(const struct place *p, const struct victim_rules *r);
bool victims_held(const struct place *p, const struct victim_rules *r);
/* All that could be had by these rules. */
uint64_t victims_total(const struct place *order, const struct victim_rules *r);
/*
 * The oldest that together give back `shortage` bytes, linked by next_victim,
 * and no more than needed; NULL if they cannot (nothing goes then, C5).
 * Held ones come after all others.
 */
struct place *victims_choose(struct place *order, uint64_t shortage,
			     const struct victim_rules *r);

#endif
