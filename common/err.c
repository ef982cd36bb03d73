/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.c - the text is made aside first, because an argument may point into
 * the text that is being replaced (err_set(e, c, "%s ...", e->text)).
 */
#include "common/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

/* A cut in the middle of a character would show as '?': take it off. */
static void drop_half_character(char *s)
{
	size_t n = strlen(s), back = 1;
	uint32_t code;

	while (back < 4 && back < n &&
	       ((unsigned char)s[n - back] & 0xc0) == 0x80)
		back++;
	if (back <= n && utf8_decode(s + n - back, back, &code) != back)
		s[n - back] = 0;
}

static void fill(struct err *e, const char *fmt, va_list args,
		 const char *after)
{
	char text[sizeof(e->text)];
	int n;

	n = vsnprintf(text, sizeof(text), fmt, args);
	if (n < 0)
		n = 0, text[0] = 0;
	if ((size_t)n < sizeof(text) && after)
		n += snprintf(text + n, sizeof(text) - (size_t)n, ": %s",
			      after);
	if ((size_t)n >= sizeof(text))
		drop_half_character(text);
	utf8_clean(text);
	memcpy(e->text, text, strlen(text) + 1);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list args;

	assert(code > 0);
	if (e) {
		va_start(args, fmt);
		fill(e, fmt, args, NULL);
		va_end(args);
	}
	return -code;
}

int err_prefix(struct err *e, int code, const char *fmt, ...)
{
	va_list args;

	assert(code > 0);
	if (e) {
		va_start(args, fmt);
		fill(e, fmt, args, e->text);
		va_end(args);
	}
	return -code;
}
