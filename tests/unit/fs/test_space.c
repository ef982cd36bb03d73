/* SPDX-License-Identifier: Apache-2.0 */
/* The accounts of C3, with numbers one can do in the head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/cache/space.h"

#define BASE SPACE_INDEX_BASE_BYTES

static const struct fs_sample plenty = {.avail_bytes = UINT64_C(1) << 50};

static void prices(void **state)
{
	(void)state;
	assert_int_equal(space_block(0), 0);
	assert_int_equal(space_block(1), 4096);
	assert_int_equal(space_block(4096), 4096);
	assert_int_equal(space_block(4097), 8192);
	assert_int_equal(space_block(1u << 20), 1u << 20);
	assert_true(space_row(0) >= 4096);
	/* Manifest (32 bytes a block) and bitmap, in database and log. */
	assert_true(space_row(100000) >= 2 * (100000 * 32 + 100000 / 8));
	/* An extent of ext4 (12 bytes) for every block. */
	assert_true(space_inode(100000) >= 100000 * 12);
	/* All of it below a thousandth of the image. */
	assert_true(space_row(100000) + space_inode(100000) <
		    (UINT64_C(100000) << 20) / 1000);
}

static void granted_used_freed(void **state)
{
	struct space s = {.capacity_bytes = BASE + 1000};

	(void)state;
	assert_int_equal(space_used(&s), BASE);
	assert_int_equal(space_room(&s, &plenty), 1000);
	space_reserve(&s, 600);
	assert_int_equal(space_room(&s, &plenty), 400);
	assert_int_equal(space_shortage(&s, &plenty, 400, 0), 0);
	assert_int_equal(space_shortage(&s, &plenty, 401, 0), 1);
	space_use(&s, 500);
	assert_int_equal(space_used(&s), BASE + 500);
	assert_int_equal(s.reserved_bytes, 100);
	assert_int_equal(space_room(&s, &plenty), 400);
	space_unreserve(&s, 100);
	assert_int_equal(space_room(&s, &plenty), 500);
	space_free(&s, 500);
	assert_int_equal(space_room(&s, &plenty), 1000);
}

static void promises(void **state)
{
	struct space s = {.capacity_bytes = BASE + 1000,
			  .promised_bytes = 700};

	(void)state;
	assert_int_equal(space_room(&s, &plenty), 300);
	assert_int_equal(space_shortage(&s, &plenty, 400, 0), 100);
	/* Whose promise it is asks past it, as far as it goes. */
	assert_int_equal(space_shortage(&s, &plenty, 400, 700), 0);
	assert_int_equal(space_shortage(&s, &plenty, 1000, 700), 0);
	assert_int_equal(space_shortage(&s, &plenty, 1001, 700), 1);
}

static void min_free(void **state)
{
	struct space s = {.capacity_bytes = BASE + 1000000,
			  .min_free_bytes = 5000};
	struct fs_sample fs = {.avail_bytes = 6000};

	(void)state;
	assert_int_equal(space_room(&s, &fs), 1000);
	space_reserve(&s, 400);
	assert_int_equal(space_room(&s, &fs), 600);
	assert_int_equal(space_shortage(&s, &fs, 700, 0), 100);
	fs.avail_bytes = 0; /* somebody else was quick */
	assert_int_equal(space_room(&s, &fs), 0);
	assert_int_equal(space_shortage(&s, &fs, 1, 0), 5401);
}

/* A block written after the sample was taken has left `reserved`, but is
 * still free in the sample. */
static void stale_sample(void **state)
{
	struct space s = {.capacity_bytes = BASE + 1000000};
	struct fs_sample fs = {.avail_bytes = 1000};

	(void)state;
	space_reserve(&s, 800);
	assert_int_equal(space_room(&s, &fs), 200);
	space_use(&s, 800);
	assert_int_equal(space_room(&s, &fs), 200);
	fs = (struct fs_sample){.avail_bytes = 200,
				.written_bytes = s.written_bytes};
	assert_int_equal(space_room(&s, &fs), 200);
}

/* Rows that went leave an index that does not shrink: it counts. */
static void index_that_does_not_shrink(void **state)
{
	struct space s = {.capacity_bytes = 100 * BASE};

	(void)state;
	s.data_bytes = s.rows_bytes = 10 * BASE;
	s.index_bytes = 10 * BASE;
	assert_int_equal(space_used(&s), 11 * BASE);
	s.data_bytes = s.rows_bytes = 0;
	assert_int_equal(space_used(&s), 10 * BASE);
}

static void lowered(void **state)
{
	struct space s = {.capacity_bytes = BASE + 100, .data_bytes = 250,
			  .reserved_bytes = 50};

	(void)state;
	assert_int_equal(space_excess(&s), 200);
	assert_int_equal(space_room(&s, &plenty), 0);
	assert_int_equal(space_shortage(&s, &plenty, 10, 0), 210);
	s.capacity_bytes = BASE + 300;
	assert_int_equal(space_excess(&s), 0);
	s.capacity_bytes = 0; /* less than the index itself takes */
	assert_int_equal(space_room(&s, &plenty), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prices),
		cmocka_unit_test(granted_used_freed),
		cmocka_unit_test(promises),
		cmocka_unit_test(min_free),
		cmocka_unit_test(stale_sample),
		cmocka_unit_test(index_that_does_not_shrink),
		cmocka_unit_test(lowered),
	};

	return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
