/* SPDX-License-Identifier: Apache-2.0 */
/*
 * range.c - one pass over the text, no copies. A number above 2^64 is as good
 * as the largest one: it lies behind the end of any image all the same.
 */
#include "origin/http/range.h"

#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *s)
{
	return s + strspn(s, " \t");
}

/* Digits at *s; false if there are none. */
static bool take_number(const char **s, uint64_t *ret)
{
	const char *p = *s;
	uint64_t v = 0;

	while (*p >= '0' && *p <= '9') {
		uint64_t digit = (uint64_t)(*p++ - '0');

		if (v > (UINT64_MAX - digit) / 10)
			v = UINT64_MAX;
		else
			v = v * 10 + digit;
	}
	if (p == *s)
		return false;
	*s = p;
	*ret = v;
	return true;
}

static struct range part(uint64_t first, uint64_t last, uint64_t size)
{
	struct range r = {RANGE_UNSATISFIABLE, 0, 0};

	if (first >= size)
		return r;
	if (last > size - 1)
		last = size - 1;
	r.kind = RANGE_PART;
	r.first = first;
	r.length = last - first + 1;
	return r;
}

static struct range suffix(uint64_t n, uint64_t size)
{
	if (n == 0)
		return part(size, size, size); /* "bytes=-0" */
	return part(n > size ? 0 : size - n, UINT64_MAX, size);
}

struct range range_parse(const char *header, uint64_t size)
{
	const struct range none = {RANGE_NONE, 0, size};
	uint64_t first = 0, last = UINT64_MAX;
	bool has_first, has_last;
	const char *s = header;

	if (!s || strncasecmp(s, "bytes=", 6) != 0)
		return none;
	s = skip_blanks(s + 6);
	has_first = take_number(&s, &first);
	if (*s++ != '-')
		return none;
	has_last = take_number(&s, &last);
	s = skip_blanks(s);
	if (*s != '\0' || (!has_first && !has_last))
		return none;
	if (!has_first)
		return suffix(last, size);
	if (has_last && last < first)
		return none; /* invalid, so ignored (14.1.1) */
	return part(first, last, size);
}

bool range_if_range(const char *if_range, const char *etag)
{
	if (!if_range)
		return true;
	if_range = skip_blanks(if_range);
	if (strncmp(if_range, etag, strlen(etag)) != 0)
		return false;
	return *skip_blanks(if_range + strlen(etag)) == '\0';
}

bool range_none_match(const char *if_none_match, const char *etag)
{
	const char *s = if_none_match;
	size_t n = strlen(etag);

	if (!s)
		return false;
	s = skip_blanks(s);
	if (*s == '*' && *skip_blanks(s + 1) == '\0')
		return true;
	while (*s) {
		const char *end;

		s += strspn(s, " \t,");
		if (strncmp(s, "W/", 2) == 0)
			s += 2;
		if (*s != '"')
			return false;
		end = strchr(s + 1, '"');
		if (!end)
			return false;
		if ((size_t)(end + 1 - s) == n && memcmp(s, etag, n) == 0)
			return true;
		s = skip_blanks(end + 1);
		if (*s && *s != ',')
			return false;
	}
	return false;
}
