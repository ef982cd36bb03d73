/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rate.h - how fast bytes come: one connection's speed, from which the size of
 * a window follows, and all of them together. No locking; time is a parameter.
 */
#ifndef STAGEFS_FS_FETCH_RATE_H
#define STAGEFS_FS_FETCH_RATE_H

#include <stdint.h>

#define RATE_SECONDS 5

struct rate {
	uint64_t second[RATE_SECONDS + 1]; /* which second the slot counts */
	uint64_t bytes[RATE_SECONDS + 1];
};

void rate_add(struct rate *r, uint64_t now_ns, uint64_t bytes);
/* Bytes per second over the last RATE_SECONDS whole seconds. */
uint64_t rate_bps(const struct rate *r, uint64_t now_ns);

/* One connection gave `bytes` in `took_ns`: moving average of its speed.
 * Samples that are too small to mean anything leave it as it was. */
uint64_t rate_average(uint64_t average_bps, uint64_t bytes, uint64_t took_ns);

/* Half a second of that, 1 to 16 MiB; 4 MiB while nothing is known. */
uint64_t rate_window_bytes(uint64_t average_bps);

#endif
