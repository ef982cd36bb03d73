/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rates.h - a rate by time of day: "08:00 200M/s, 20:00 unlimited".
 *
 * Each entry holds from its time until the next one's, round the clock; a
 * single rate without a time ("200M/s") holds always. "0" or "none" means no
 * prefetch in that span. The times are of the time zone given at parsing.
 * Pure: time is a parameter.
 */
#ifndef STAGEFS_ORIGIN_SCHEDULE_RATES_H
#define STAGEFS_ORIGIN_SCHEDULE_RATES_H

#include <stdint.h>

#include "common/err.h"

#define RATES_MAX 48

struct rates {
	unsigned n;
	struct {
		uint32_t minute; /* of the day */
		uint64_t bps;	 /* bytes per second; RATE_UNLIMITED, 0 */
	} step[RATES_MAX];
	char zone[64]; /* "" : local */
};

/* "" and NULL: unlimited always. -EINVAL with a good example. */
int rates_parse(const char *text, const char *zone, struct rates *ret,
		struct err *e);
/*
 * A server's own table in its own zone, for the schedule and for the pacing
 * alike; as in `plan add`, a zone that is "", NULL or not known here means
 * this machine's.
 * -EINVAL: the table cannot be read (an older program wrote it), or there is
 * none: no limit.
 */
int rates_of_server(const char *text, const char *zone, struct rates *ret);
uint64_t rates_at(const struct rates *r, int64_t unix_s);
/* When the rate changes next after `unix_s`; INT64_MAX if it never does. */
int64_t rates_next_change(const struct rates *r, int64_t unix_s);

#endif
