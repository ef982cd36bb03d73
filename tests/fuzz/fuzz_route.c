/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths and queries: "PATH?QUERY". A name of a server that is taken holds
 * nothing that could be more than a name; waits are bounded.
 */
#include <string.h>

#include "common/names.h"
#include "origin/http/route.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1), *query;
	struct route_match m = {.since = 77};
	struct err e = {{0}};

	FUZZ_MUST(text);
	memcpy(text, data, n);
	text[n] = '\0';
	if (n && text[n - 1] == '\n')
		text[n - 1] = '\0';
	query = strchr(text, '?');
	if (query)
		*query++ = '\0';
	fuzz_accepted = route_parse(text, query, &m, &e) == 0;
	if (!fuzz_accepted) {
		FUZZ_MUST(e.text[0] && m.since == 77);
		free(text);
		return 0;
	}
	FUZZ_MUST(m.route > ROUTE_OTHER && m.route < ROUTE_COUNT);
	FUZZ_MUST(m.wait_s <= STAGEFS_ORDERS_WAIT_MAX_S);
	FUZZ_MUST(!m.server[0] || !strpbrk(m.server, "/\\%\n\""));
	if (m.route == ROUTE_ORDERS || m.route == ROUTE_DESCRIPTOR ||
	    m.route == ROUTE_REPORT)
		FUZZ_MUST(name_check_server(m.server, NULL) == 0);
	if (m.route == ROUTE_REPORT)
		FUZZ_MUST(m.number > 0);
	free(text);
	return 0;
}
