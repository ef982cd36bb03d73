/* SPDX-License-Identifier: Apache-2.0 */
/*
 * units.h - sizes, rates and spans of time as people write them.
 *
 * Sizes: "500G", "1.5T", "64k", "123" (bytes). K M G T P E, with or without "B"
 * or "iB", are powers of 1024 as in lsblk, df -h and dd. Rates: a size with
 * "/s" ("200M/s"), or bits with "bit/s"/"bps" as network people write them
 * ("10Gbit/s" is 10^10 bits: decimal), or "unlimited". Spans: "30s", "5m",
 * "2h", "1d", "500ms", "90" (seconds), "1h30m".
 *
 * All return 0, -EINVAL (not a size; the message shows a good one) or
 * -ERANGE. No locale: the decimal sign is a point.
 */
#ifndef STAGEFS_COMMON_UNITS_H
#define STAGEFS_COMMON_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define RATE_UNLIMITED UINT64_MAX

int units_parse_size(const char *s, uint64_t *ret_bytes, struct err *e);
int units_parse_rate(const char *s, uint64_t *ret_bps, struct err *e);
int units_parse_span(const char *s, uint64_t *ret_ms, struct err *e);

#define UNITS_TEXT 24
/* "1.5G", "0B", "512K": as lsblk prints sizes. Returns `out`. */
const char *units_size(uint64_t bytes, char out[UNITS_TEXT]);
/* "112.4M/s" or "unlimited". bytes per second. */
const char *units_rate(uint64_t bps, char out[UNITS_TEXT]);
/* "37s", "2m05s", "1h30m", "3d4h". */
const char *units_span(uint64_t ms, char out[UNITS_TEXT]);

/* Seconds since 1970 as local time with its zone, "2026-12-01 06:00:00 CET";
 * "-" for 0. Returns `out`. */
#define UNITS_TIME_TEXT 64
const char *units_time(int64_t unix_s, char out[UNITS_TIME_TEXT]);

#endif
