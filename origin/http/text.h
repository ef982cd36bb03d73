/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - an answer's body that several connections may be sending at once:
 * counted references, immutable.
 */
#ifndef STAGEFS_ORIGIN_HTTP_TEXT_H
#define STAGEFS_ORIGIN_HTTP_TEXT_H

#include <stddef.h>

struct text {
	unsigned refs; /* atomic */
	size_t n;
	char *data;
};

/* Takes over `data` (malloc'd), also on failure. NULL: out of memory. */
struct text *text_new(char *data, size_t n);
struct text *text_printf(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));
struct text *text_ref(struct text *t);
void text_put(struct text *t); /* NULL is fine */

#endif
