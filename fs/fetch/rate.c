/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rate.c - a ring of seconds. An exponential average of the total was
 * rejected: after a stop it shows speed that is no longer there.
 */
#include "fs/fetch/rate.h"

#include "common/clock.h"

#define SAMPLE_MIN_BYTES (256u << 10)
#define WINDOW_MIN_BYTES (UINT64_C(1) << 20)
#define WINDOW_FIRST_BYTES (UINT64_C(4) << 20)
#define WINDOW_MAX_BYTES (UINT64_C(16) << 20)

void rate_add(struct rate *r, uint64_t now_ns, uint64_t bytes)
{
	uint64_t second = now_ns / NS_PER_S;
	unsigned i = (unsigned)(second % (RATE_SECONDS + 1));

	if (r->second[i] != second) {
		r->second[i] = second;
		r->bytes[i] = 0;
	}
	r->bytes[i] += bytes;
}

uint64_t rate_bps(const struct rate *r, uint64_t now_ns)
{
	uint64_t second = now_ns / NS_PER_S, sum = 0;

	for (unsigned i = 0; i < RATE_SECONDS + 1; i++)
		if (r->second[i] < second &&
		    r->second[i] + RATE_SECONDS >= second)
			sum += r->bytes[i];
	return sum / RATE_SECONDS;
}

uint64_t rate_average(uint64_t average_bps, uint64_t bytes, uint64_t took_ns)
{
	uint64_t bps;

	if (bytes < SAMPLE_MIN_BYTES || bytes > UINT64_MAX / NS_PER_S)
		return average_bps;
	bps = bytes * NS_PER_S / (took_ns ? took_ns : 1);
	if (bps == 0)
		bps = 1;
	return average_bps ? average_bps - average_bps / 4 + bps / 4 : bps;
}

uint64_t rate_window_bytes(uint64_t average_bps)
{
	uint64_t n = average_bps / 2;

	if (average_bps == 0)
		return WINDOW_FIRST_BYTES;
	if (n < WINDOW_MIN_BYTES)
		return WINDOW_MIN_BYTES;
	return n < WINDOW_MAX_BYTES ? n : WINDOW_MAX_BYTES;
}
