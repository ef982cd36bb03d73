/* SPDX-License-Identifier: Apache-2.0 */
/* bitmap.h against an array of bool, at every length around a byte's end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/bitmap.h"
#include "wire_random.h"

#define BITS_MAX 40

static uint64_t next(const bool *model, bool want, uint64_t from, uint64_t end)
{
	while (from < end && model[from] != want)
		from++;
	return from < end ? from : end;
}

static void check(const uint8_t *map, const bool *model, uint64_t bits)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < bits; i++) {
		assert_int_equal(bitmap_get(map, i), model[i]);
		n += model[i];
	}
	assert_int_equal(bitmap_count(map, bits), n);
	for (uint64_t from = 0; from <= bits; from++)
		for (uint64_t end = from; end <= bits; end++) {
			assert_int_equal(bitmap_next_set(map, from, end),
					 next(model, true, from, end));
			assert_int_equal(bitmap_next_clear(map, from, end),
					 next(model, false, from, end));
		}
}

static void test_model(void **state)
{
	struct random r = {31};

	(void)state;
	for (uint64_t bits = 0; bits <= BITS_MAX; bits++) {
		/* exactly as many bytes as said: ASan sees one more */
		uint8_t *map = calloc(1, bitmap_bytes(bits) + !bits);
		bool model[BITS_MAX + 1] = {false};

		assert_int_equal(bitmap_bytes(bits), (bits + 7) / 8);
		check(map, model, bits);
		for (int step = 0; bits && step < 30; step++) {
			uint64_t from = random_below(&r, bits);
			uint64_t n = 1 + random_below(&r, bits - from);
			bool set = random_below(&r, 3) > 0;

			for (uint64_t i = from; i < from + n; i++) {
				if (set)
					bitmap_set(map, i);
				else
					bitmap_clear(map, i);
				model[i] = set;
			}
			check(map, model, bits);
		}
		free(map);
	}
}

/* The bytes are written to disk as they are. */
static void test_layout(void **state)
{
	uint8_t map[2] = {0};

	(void)state;
	bitmap_set(map, 0);
	bitmap_set(map, 3);
	bitmap_set(map, 15);
	assert_int_equal(map[0], 0x09);
	assert_int_equal(map[1], 0x80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
