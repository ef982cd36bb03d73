/* SPDX-License-Identifier: Apache-2.0 */
/*
 * said.h - is a line to go to the log, or was it there just now?
 *
 * A fault that repeats is said once in a while for each thing that it befalls
 * (`key`: an id, or said_key of a text), and of SAID_MAX things at most in that
 * time: a disk that dies takes every image with it. What is not said is counted
 * elsewhere.
 *
 * No lock; all zeros is a new one; time is a parameter and never 0.
 */
#ifndef STAGEFS_COMMON_SAID_H
#define STAGEFS_COMMON_SAID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SAID_MAX 32u

struct said {
	struct {
		uint64_t key, ns;
	} line[SAID_MAX];
};

/* True: say it; it is noted. */
static inline bool said_is_news(struct said *s, uint64_t key, uint64_t now_ns,
				uint64_t again_ns)
{
	size_t at = 0;

	for (size_t i = 0; i < SAID_MAX; i++) {
		if (s->line[i].ns && s->line[i].key == key) {
			at = i;
			break;
		}
		if (s->line[i].ns < s->line[at].ns)
			at = i; /* the oldest, or a free one */
	}
	if (s->line[at].ns && now_ns - s->line[at].ns < again_ns)
		return false;
	s->line[at].key = key;
	s->line[at].ns = now_ns;
	return true;
}

static inline uint64_t said_key(const char *text)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return h;
}

#endif
