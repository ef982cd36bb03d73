/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xorshift.h - chance for tests: the same numbers from the same seed, which
 * must not be 0.
 */
#ifndef STAGEFS_TESTS_XORSHIFT_H
#define STAGEFS_TESTS_XORSHIFT_H

#include <stdint.h>

static inline uint64_t xorshift(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

#endif
