/* SPDX-License-Identifier: Apache-2.0 */
/*
 * when.h - times as people write and read them.
 *
 *	2026-12-01 06:00		in the zone given by the caller
 *	2026-12-01 06:00:30 Europe/Berlin
 *	2026-12-01T06:00:00Z, 2026-12-01 06:00 +02:00
 *	2026-10-25 02:30 +01:00 Europe/Berlin	(it occurs twice: which one)
 *	06:00				the next time it is 06:00
 *	today 06:00, tomorrow 06:00 Asia/Tokyo
 *	now, +10s, +2h
 */
#ifndef STAGEFS_ORIGIN_PLAN_WHEN_H
#define STAGEFS_ORIGIN_PLAN_WHEN_H

#include <stdint.h>

#include "common/err.h"
#include "origin/plan/zone.h"

#define WHEN_TEXT_MAX 128 /* of what is parsed */
#define WHEN_TEXT 64

/*
 * `zone` is meant where the text has none. Returns the moment and the zone
 * that it was written in ("UTC" for Z, "+02:00" for an offset). -EINVAL: not
 * a time, an impossible date, an unknown zone, a wall time that the clocks
 * skip or show twice; -ERANGE: not within 1970 to 2037.
 */
int when_parse(const char *text, const char *zone, int64_t now_s,
	       int64_t *ret_s, char ret_zone[ZONE_MAX], struct err *e);

/* "2026-12-01 06:00 +01:00" (seconds only if there are any), "... UTC"; "-"
 * for 0. when_parse takes it. Returns `out`. */
const char *when_text(int64_t unix_s, const char *zone, char out[WHEN_TEXT]);
/* "2026-12-01T06:00:00+01:00" (RFC 3339), for JSON. */
const char *when_rfc3339(int64_t unix_s, const char *zone,
			 char out[WHEN_TEXT]);

/* On the forms, for --help. */
extern const char when_help[];

#endif
