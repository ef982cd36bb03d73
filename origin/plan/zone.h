/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone.h - time zones: offsets, and local wall time to UTC and back.
 *
 * A zone is text: a name of the system's tz database ("Europe/Berlin"), "UTC",
 * a fixed offset ("+02:00"), or "" for the zone of this machine. Times are
 * seconds since 1970; wall times are a struct tm of which only year, month,
 * day, hour, minute and second count. Thread safe.
 */
#ifndef STAGEFS_ORIGIN_PLAN_ZONE_H
#define STAGEFS_ORIGIN_PLAN_ZONE_H

#include <stdint.h>
#include <time.h>

#include "common/err.h"

#define ZONE_MAX 64

/* Years that times may lie in. Above it the rules of zones are guesswork (and
 * libical's differ from the C library's in a few zones). */
#define ZONE_YEAR_MIN 1970
#define ZONE_YEAR_MAX 2037

/* The name of this machine's zone: TZ, /etc/localtime, else "UTC". */
const char *zone_local(char out[ZONE_MAX]);
/* 0, -EINVAL: no such zone (says what a good one looks like). */
int zone_check(const char *zone, struct err *e);
/* "+02:00" for 7200 and so on. */
const char *zone_offset_text(int32_t offset_s, char out[ZONE_MAX]);

/* Seconds east of UTC then; 0 for a zone that does not exist. */
int32_t zone_offset(const char *zone, int64_t unix_s);
/* The wall time there then. */
void zone_wall(const char *zone, int64_t unix_s, struct tm *ret);

enum zone_fold {
	ZONE_ONCE,  /* an ordinary time */
	ZONE_GAP,   /* skipped: clocks went forward over it */
	ZONE_TWICE, /* clocks went back over it */
};

/*
 * When this wall time is there. ret[0] is what RFC 5545 (3.3.5) has for a
 * recurrence: the first of two; of a skipped one, what the offset before the
 * change gives (02:30 is then 03:30). ret[1] is the second, or ret[0].
 */
enum zone_fold zone_unwall(const char *zone, const struct tm *wall,
			   int64_t ret[2]);

#endif
