/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - the two clocks. Modules take `now` as a parameter where a test
 * would want to set it. */
#ifndef STAGEFS_COMMON_CLOCK_H
#define STAGEFS_COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* CLOCK_MONOTONIC: for waiting and rates. */
static inline uint64_t clock_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* CLOCK_REALTIME, seconds: for what people see. */
static inline int64_t clock_unix_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

#endif
