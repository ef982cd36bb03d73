/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bitmap.h - one bit per block. Bit i is bit (i % 8) of byte i / 8, so the
 * bytes can be written to a file as they are. No locking.
 */
#ifndef STAGEFS_COMMON_BITMAP_H
#define STAGEFS_COMMON_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline size_t bitmap_bytes(uint64_t bits)
{
	return (size_t)((bits + 7) / 8);
}

static inline bool bitmap_get(const uint8_t *map, uint64_t i)
{
	return map[i / 8] >> (i % 8) & 1;
}

static inline void bitmap_set(uint8_t *map, uint64_t i)
{
	map[i / 8] = (uint8_t)(map[i / 8] | 1u << (i % 8));
}

static inline void bitmap_clear(uint8_t *map, uint64_t i)
{
	map[i / 8] = (uint8_t)(map[i / 8] & ~(1u << (i % 8)));
}

/* First clear (set) bit in [from, end), or `end`. */
static inline uint64_t bitmap_next_clear(const uint8_t *map, uint64_t from,
					 uint64_t end)
{
	while (from < end) {
		if (from % 8 == 0 && map[from / 8] == 0xff) {
			from += 8;
			continue;
		}
		if (!bitmap_get(map, from))
			return from;
		from++;
	}
	return end;
}

static inline uint64_t bitmap_next_set(const uint8_t *map, uint64_t from,
				       uint64_t end)
{
	while (from < end) {
		if (from % 8 == 0 && map[from / 8] == 0) {
			from += 8;
			continue;
		}
		if (bitmap_get(map, from))
			return from;
		from++;
	}
	return end;
}

static inline uint64_t bitmap_count(const uint8_t *map, uint64_t bits)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < bits / 8; i++)
		n += (uint64_t)__builtin_popcount(map[i]);
	for (uint64_t i = bits & ~UINT64_C(7); i < bits; i++)
		n += bitmap_get(map, i);
	return n;
}

#endif
