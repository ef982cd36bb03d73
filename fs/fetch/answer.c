/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer.c - strict on purpose: the bytes are checked against their hash
 * later, but a whole block of the wrong place would have been downloaded by
 * then, and a source that gives the wrong range for one window does so for
 * all. RFC 9110 allows "bytes a-b/<star>"; our origin and every cache know the
 * length of an immutable file, so a star is refused as well.
 */
#include "fs/fetch/answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* A plain decimal number; moves `*s` behind it. */
static bool number(const char **s, uint64_t *ret)
{
	uint64_t v = 0;
	const char *p = *s;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*s = p;
	*ret = v;
	return true;
}

/* "bytes 0-1048575/4294967296" (RFC 9110, 14.4). */
static bool range_is(const char *s, uint64_t first, uint64_t last,
		     uint64_t total)
{
	uint64_t a, b, n;

	if (strncasecmp(s, "bytes ", 6) != 0)
		return false;
	s += 6;
	if (!number(&s, &a) || *s++ != '-')
		return false;
	if (!number(&s, &b) || *s++ != '/')
		return false;
	if (!number(&s, &n) || *s != '\0')
		return false;
	return a == first && b == last && n == total;
}

static bool is_plain(const char *encoding)
{
	return !encoding || strcasecmp(encoding, "identity") == 0;
}

static enum answer status_is(int status, int want)
{
	if (status == want)
		return ANSWER_GOOD;
	return status == 404 || status == 410 ? ANSWER_ABSENT
					      : ANSWER_WRONG_STATUS;
}

enum answer answer_to_range(const struct answer_head *h, uint64_t first,
			    uint64_t last, uint64_t total)
{
	enum answer a = status_is(h->status, 206);

	if (a != ANSWER_GOOD)
		return a;
	if (!is_plain(h->content_encoding))
		return ANSWER_ENCODED;
	if (h->n_content_range != 1 ||
	    !range_is(h->content_range, first, last, total))
		return ANSWER_WRONG_RANGE;
	if (h->content_length >= 0 &&
	    (uint64_t)h->content_length != last - first + 1)
		return ANSWER_WRONG_RANGE;
	return ANSWER_GOOD;
}

enum answer answer_to_whole(const struct answer_head *h, uint64_t max)
{
	enum answer a = status_is(h->status, 200);

	if (a != ANSWER_GOOD)
		return a;
	if (!is_plain(h->content_encoding))
		return ANSWER_ENCODED;
	if (h->content_length > 0 && (uint64_t)h->content_length > max)
		return ANSWER_WRONG_RANGE;
	return ANSWER_GOOD;
}
