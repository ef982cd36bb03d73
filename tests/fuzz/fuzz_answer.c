/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an origin's answer: "STATUS\nCONTENT-RANGE\nCONTENT-ENCODING\n
 * CONTENT-LENGTH". What is good for a window is the one canonical form of what
 * was asked for, and of nothing else.
 */
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "fs/fetch/answer.h"
#include "tests/fuzz/fuzz.h"

#define FIRST 1048576
#define LAST 2097151
#define TOTAL 3500000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1), *rest = text, *line[4];
	struct answer_head h = {.n_content_range = 1};
	bool plain;

	FUZZ_MUST(text);
	memcpy(text, data, n);
	text[n] = '\0';
	for (int i = 0; i < 4; i++)
		line[i] = strsep(&rest, "\n");
	h.status = (int)strtol(line[0], NULL, 10);
	h.content_range = line[1];
	h.n_content_range = line[1] != NULL;
	h.content_encoding = line[2] && *line[2] ? line[2] : NULL;
	h.content_length = line[3] && *line[3] ? strtoll(line[3], NULL, 10)
					       : -1;
	plain = !h.content_encoding ||
		strcasecmp(h.content_encoding, "identity") == 0;
	fuzz_accepted = answer_to_range(&h, FIRST, LAST, TOTAL) == ANSWER_GOOD;
	if (fuzz_accepted) {
		FUZZ_MUST(h.status == 206 && plain);
		FUZZ_MUST(strncasecmp(line[1], "bytes ", 6) == 0);
		FUZZ_MUST(strtoull(line[1] + 6, NULL, 10) == FIRST);
		FUZZ_MUST(strstr(line[1], "2097151/") &&
			  strstr(line[1], "3500000"));
		FUZZ_MUST(h.content_length < 0 ||
			  h.content_length == LAST - FIRST + 1);
		/* And of no window but this one. */
		FUZZ_MUST(answer_to_range(&h, 0, LAST, TOTAL) != ANSWER_GOOD);
		FUZZ_MUST(answer_to_range(&h, FIRST, LAST + 1, TOTAL) !=
			  ANSWER_GOOD);
		FUZZ_MUST(answer_to_range(&h, FIRST, LAST, TOTAL + 1) !=
			  ANSWER_GOOD);
		h.n_content_range = 2;
		FUZZ_MUST(answer_to_range(&h, FIRST, LAST, TOTAL) !=
			  ANSWER_GOOD);
	}
	if (answer_to_whole(&h, TOTAL) == ANSWER_GOOD)
		FUZZ_MUST(h.status == 200 && plain &&
			  h.content_length <= TOTAL);
	free(text);
	return 0;
}
