/* SPDX-License-Identifier: Apache-2.0 */
/* A list of orders that is taken is written and read again as the same. */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/common/wire_random.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct wire_orders doc, again;
	struct err e = {{0}};
	char *json = NULL;
	size_t json_n = 0;

	fuzz_accepted =
		wire_orders_decode((const char *)data, n, &doc, &e) == 0;
	if (!fuzz_accepted) {
		FUZZ_MUST(e.text[0]);
		return 0;
	}
	FUZZ_MUST(wire_orders_encode(&doc, &json, &json_n) == 0);
	FUZZ_MUST(wire_orders_decode(json, json_n, &again, &e) == 0);
	FUZZ_MUST(same_orders(&doc, &again));
	wire_orders_free(&doc);
	wire_orders_free(&again);
	free(json);
	return 0;
}
