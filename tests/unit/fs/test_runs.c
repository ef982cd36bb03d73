/* SPDX-License-Identifier: Apache-2.0 */
/* Where an image is read in sequence, seen through reordering (R6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fs/read/runs.h"

#define KB UINT64_C(1024)
#define MB (1024 * KB)

static void from_the_beginning(void **state)
{
	struct runs r = {0};
	uint64_t front = 7;

	(void)state;
	assert_false(runs_nth(&r, 0, &front));
	assert_true(runs_note(&r, 0, 128 * KB));
	assert_true(runs_nth(&r, 0, &front));
	assert_int_equal(front, 128 * KB);
	assert_true(runs_note(&r, 128 * KB, 128 * KB));
	assert_false(runs_note(&r, 0, 128 * KB)); /* again: no news */
	assert_true(runs_nth(&r, 0, &front));
	assert_int_equal(front, 256 * KB);
	assert_false(runs_nth(&r, 1, &front));
}

static void one_read_in_the_middle_is_no_run(void **state)
{
	struct runs r = {0};
	uint64_t front;

	(void)state;
	assert_false(runs_note(&r, 500 * MB, 64 * KB));
	assert_false(runs_nth(&r, 0, &front));
	assert_true(runs_note(&r, 500 * MB + 64 * KB, 64 * KB));
	assert_true(runs_nth(&r, 0, &front));
	assert_int_equal(front, 500 * MB + 128 * KB);
}

/* Reads of one sequence in any order within 4 MiB are one run. */
static void reordered_reads_are_one_run(void **state)
{
	struct runs r = {0};
	uint64_t front;

	(void)state;
	srand(7);
	runs_note(&r, 0, 128 * KB);
	for (uint64_t base = 0; base < 64 * MB; base += MB) {
		unsigned order[8] = {0, 1, 2, 3, 4, 5, 6, 7};

		for (unsigned i = 7; i > 0; i--) {
			unsigned k = (unsigned)rand() % (i + 1);
			unsigned t = order[i];

			order[i] = order[k];
			order[k] = t;
		}
		for (unsigned i = 0; i < 8; i++)
			runs_note(&r, base + order[i] * 128 * KB, 128 * KB);
	}
	assert_true(runs_nth(&r, 0, &front));
	assert_int_equal(front, 64 * MB);
	assert_false(runs_nth(&r, 1, &front));
}

static void several_readers_are_several_runs(void **state)
{
	struct runs r = {0};
	uint64_t front;

	(void)state;
	for (unsigned k = 0; k < 10; k++)
		for (unsigned i = 0; i < RUNS_MAX; i++)
			runs_note(&r, i * 100 * MB + k * 128 * KB, 128 * KB);
	for (unsigned i = 0; i < RUNS_MAX; i++) {
		assert_true(runs_nth(&r, i, &front));
		/* the latest first */
		assert_int_equal(front, (RUNS_MAX - 1 - i) * 100 * MB +
						10 * 128 * KB);
	}
	assert_false(runs_nth(&r, RUNS_MAX, &front));
	/* One more: the one longest unused goes. */
	runs_note(&r, 5000 * MB, KB);
	runs_note(&r, 5000 * MB + KB, KB);
	assert_true(runs_nth(&r, 0, &front));
	assert_int_equal(front, 5000 * MB + 2 * KB);
	assert_true(runs_nth(&r, RUNS_MAX - 1, &front));
	assert_int_equal(front, 100 * MB + 10 * 128 * KB);
	assert_int_equal(runs_longest(&r), 9 * 128 * KB);
	/* What is jumped over was not read. */
	runs_note(&r, 100 * MB + 2 * MB, 128 * KB);
	assert_int_equal(runs_longest(&r), 10 * 128 * KB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_the_beginning),
		cmocka_unit_test(one_read_in_the_middle_is_no_run),
		cmocka_unit_test(reordered_reads_are_one_run),
		cmocka_unit_test(several_readers_are_several_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
