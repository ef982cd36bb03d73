/* SPDX-License-Identifier: Apache-2.0 */
/*
 * range.h - the Range and If-Range headers of RFC 9110 (13.1.5, 14.2), as far
 * as an origin of immutable bytes needs them. Pure: text in, numbers out.
 *
 *	"bytes=0-99"	the first hundred bytes
 *	"bytes=100-"	from there to the end
 *	"bytes=-100"	the last hundred
 *
 * Several ranges, another unit and anything malformed count as no range at
 * all: RFC 9110 lets a server ignore Range, and then the client gets all.
 */
#ifndef STAGEFS_ORIGIN_HTTP_RANGE_H
#define STAGEFS_ORIGIN_HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

enum range_kind {
	RANGE_NONE,	     /* answer 200 with everything */
	RANGE_PART,	     /* 206: [first, first + length), length > 0 */
	RANGE_UNSATISFIABLE, /* 416 */
};

struct range {
	enum range_kind kind;
	uint64_t first, length;
};

/*
 * `header` is the value of Range, NULL if there was none; `size` that of the
 * whole. With RANGE_NONE the range is the whole: first 0, length `size`.
 */
struct range range_parse(const char *header, uint64_t size);

/*
 * May the range be used, given If-Range (NULL: none)? Only if it names
 * `etag`, quotes included, by the strong comparison; dates never match, since
 * nothing here has one.
 */
bool range_if_range(const char *if_range, const char *etag);

/* Does an If-None-Match list hold `etag` (weak comparison) or "*"? */
bool range_none_match(const char *if_none_match, const char *etag);

#endif
