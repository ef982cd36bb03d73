/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range, If-Range and If-None-Match: "SIZE\nRANGE\nIF-RANGE\nIF-NONE-MATCH".
 * A part lies within the whole, and is what its own canonical form selects.
 */
#include <inttypes.h>
#include <string.h>

#include "origin/http/range.h"
#include "tests/fuzz/fuzz.h"

#define ETAG "\"0123456789abcdef\""

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1), *rest = text, *line[4];
	struct range r, again;
	char canonical[64];
	uint64_t size;

	FUZZ_MUST(text);
	memcpy(text, data, n);
	text[n] = '\0';
	for (int i = 0; i < 4; i++)
		line[i] = strsep(&rest, "\n");
	size = strtoull(line[0], NULL, 10);
	r = range_parse(line[1], size);
	fuzz_accepted = r.kind == RANGE_PART;
	if (r.kind == RANGE_PART) {
		FUZZ_MUST(r.length > 0 && r.first < size);
		FUZZ_MUST(r.length <= size - r.first);
		snprintf(canonical, sizeof(canonical),
			 "bytes=%" PRIu64 "-%" PRIu64, r.first,
			 r.first + r.length - 1);
		again = range_parse(canonical, size);
		FUZZ_MUST(again.kind == RANGE_PART && again.first == r.first &&
			  again.length == r.length);
	} else if (r.kind == RANGE_NONE) {
		FUZZ_MUST(r.first == 0 && r.length == size);
	}
	if (line[2] && range_if_range(line[2], ETAG))
		FUZZ_MUST(strstr(line[2], ETAG));
	if (line[3] && range_none_match(line[3], ETAG))
		FUZZ_MUST(strstr(line[3], ETAG) || strchr(line[3], '*'));
	free(text);
	return 0;
}
