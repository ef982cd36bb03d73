/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repeat.h - recurrences of plan entries: RFC 5545 RRULEs in the wall time of
 * a zone, so that "every day at 06:00" stays at 06:00 over a change of clocks.
 */
#ifndef STAGEFS_ORIGIN_PLAN_REPEAT_H
#define STAGEFS_ORIGIN_PLAN_REPEAT_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define REPEAT_TEXT_MAX 256

/* One date of an entry; `until_s` 0: open end. */
struct occurrence {
	int64_t at_s, until_s;
};

/* When it begins first, for how long, and how it comes back. */
struct repeat {
	int64_t at_s, until_s; /* of the first */
	const char *zone;
	const char *rule; /* "": once */
};

/*
 * "FREQ=WEEKLY;BYDAY=MO,TU", hourly at most; "" is fine. -EINVAL: not a rule,
 * or one that never comes true after `at_s`.
 */
int repeat_check(const struct repeat *r, struct err *e);

/*
 * Occurrences with at_s in [from_s, to_s], in order, at most `max`; and, if
 * there is none after `to_s` among them, the next one after (so that a far
 * one is known). The wall time from `at` to `until` is kept for each. Returns
 * how many.
 */
size_t repeat_list(const struct repeat *r, int64_t from_s, int64_t to_s,
		   struct occurrence *ret, size_t max);

/* The end of the occurrence at `at_s`; 0: open. */
int64_t repeat_until(const struct repeat *r, int64_t at_s);

#endif
