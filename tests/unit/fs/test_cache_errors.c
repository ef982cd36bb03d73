/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that fail, one at a time, by point.h (C6). */
#include "cache_world.h"

static void write_fails_once(void **state)
{
	static const int errors[] = {-ENOSPC, -EDQUOT, -EIO};
	struct cache_config cfg = config_of(dir, 8 * MIB);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct cache *c = must_open(&cfg);
		uint64_t oldest = i ? 100 + i - 1 : 1;
		struct version *v;

		if (i == 0)
			assert_int_equal(fill_id(c, 1, BLOCK), 0);
		v = must_get(c, 100 + i, 2 * BLOCK);
		assert_int_equal(version_reserve(v, 0, 2, RESERVE_READER, NULL,
						 NULL), 0);
		inject_at("store.write", errors[i], 1);
		assert_int_equal(store(v, 0), 0);
		assert_int_equal(store(v, 1), 0);
		assert_true(right(v, 0) && right(v, 1));
		assert_false(present(c, oldest));
		check_nothing_reserved(c);
		version_put(v);
		cache_close(c);
	}
}

/* A disk that fails every write: the reservation comes back, the bit stays
 * clear, and the cache is not emptied for it. */
static void write_fails_always(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct cache_stats s;
	struct version *v;

	(void)state;
	for (uint64_t id = 1; id <= 10; id++)
		assert_int_equal(fill_id(c, id, BLOCK), 0);
	v = must_get(c, 20, 8 * BLOCK);
	assert_int_equal(version_reserve(v, 0, 8, RESERVE_READER, NULL, NULL),
			 0);
	inject_at("store.write", -EIO, -1);
	for (uint64_t b = 0; b < 8; b++)
		assert_int_equal(store(v, b), -EIO);
	cache_stats(c, &s);
	assert_int_equal(s.evicted, 1);
	assert_true(s.write_errors >= 8);
	assert_int_equal(version_next_stored(v, 0, 8), 8);
	check_nothing_reserved(c);
	inject_at(NULL, 0, 0);
	assert_int_equal(fill(v), 0);
	assert_true(version_complete(v));
	version_put(v);
	cache_close(c);
}

/* After a failed fdatasync the kernel may have dropped the pages: no bit that
 * was volatile is believed, the durable ones are. */
static void sync_fails(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version *v = must_get(c, 1, 8 * BLOCK);
	struct cache_stats before, s;

	(void)state;
	assert_int_equal(version_reserve(v, 0, 6, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(store(v, 0) | store(v, 1), 0);
	assert_int_equal(cache_flush(c), 0);
	assert_int_equal(store(v, 4) | store(v, 5), 0);
	cache_stats(c, &before);
	inject_at("flush.sync", -EIO, 1);
	assert_int_equal(cache_flush(c), -EIO);
	assert_true(version_has_all(v, 0, 2));
	assert_int_equal(version_next_stored(v, 2, 8), 8);
	cache_stats(c, &s);
	assert_int_equal(s.used_bytes, before.used_bytes - 2 * BLOCK);
	version_unreserve(v, 0, 8);
	assert_int_equal(version_reserve(v, 4, 1, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(store(v, 4), 0);
	assert_int_equal(cache_flush(c), 0);
	version_put(v);
	cache_close(c);
	c = must_open(&cfg);
	v = must_get(c, 1, 8 * BLOCK);
	assert_true(version_has(v, 0) && version_has(v, 1) &&
		    version_has(v, 4) && !version_has(v, 5));
	assert_true(right(v, 0) && right(v, 4));
	version_put(v);
	cache_close(c);
}

/* Bits that could not be committed are committed the next time. */
static void commit_fails(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version *v = must_get(c, 1, 2 * BLOCK);

	(void)state;
	assert_int_equal(version_reserve(v, 0, 1, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(store(v, 0), 0);
	inject_at("flush.commit", -ENOSPC, 1);
	assert_int_equal(cache_flush(c), -ENOSPC);
	assert_true(version_has(v, 0));
	assert_int_equal(cache_flush(c), 0);
	version_put(v);
	cache_close(c);
	c = must_open(&cfg);
	v = must_get(c, 1, 2 * BLOCK);
	assert_true(version_has(v, 0) && right(v, 0));
	version_put(v);
	cache_close(c);
}

static void row_or_file_fails(void **state)
{
	static const char *const points[] = {"row.add", "file.create"};
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct cache_stats s;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct version *v = must_get(c, 1, 2 * BLOCK);

		inject_at(points[i], -ENOSPC, 1);
		assert_int_equal(version_reserve(v, 0, 2, RESERVE_READER, NULL,
						 NULL), -ENOSPC);
		assert_false(present(c, 1));
		cache_stats(c, &s);
		assert_int_equal(s.used_bytes, SPACE_INDEX_BASE_BYTES);
		assert_int_equal(s.reserved_bytes, 0);
		assert_int_equal(fill(v), 0);
		version_put(v);
		assert_int_equal(cache_evict(c, 1, NULL, false, NULL), 0);
	}
	cache_close(c);
}

/* A victim that cannot be marked stays whole; the one who waited hears it. */
static void mark_fails(void **state)
{
	uint64_t size = 4 * BLOCK;
	struct cache_config cfg =
		config_of(dir, capacity_for(price(size) + BLOCK));
	struct cache *c = must_open(&cfg);
	struct version *v, *w;

	(void)state;
	assert_int_equal(fill_id(c, 1, size), 0);
	v = must_get(c, 2, size);
	inject_at("evict.mark", -EIO, 1);
	assert_int_equal(version_reserve(v, 0, 4, RESERVE_READER, NULL, NULL),
			 -EIO);
	assert_int_equal(cache_find(c, 1, &w), 0);
	assert_true(version_complete(w) && right(w, 0) && right(w, 3));
	version_put(w);
	version_put(v);
	check_nothing_reserved(c);
	/* By order at once; and without space for the mark, all the same. */
	inject_at("evict.mark", -ENOSPC, 1);
	assert_int_equal(cache_evict(c, 1, NULL, false, NULL), 0);
	assert_int_equal(fill_id(c, 2, size), 0);
	cache_close(c);
}

/* A file that will not go keeps its bytes in the account (C3), has no bits,
 * and goes at the next start (C2). */
static void remove_fails(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct cache_stats before, s;
	struct version *v;
	struct stat st;

	(void)state;
	assert_int_equal(fill_id(c, 1, BLOCK), 0);
	cache_stats(c, &before);
	inject_at("file.remove", -EIO, 1);
	assert_int_equal(cache_evict(c, 1, NULL, false, NULL), -EIO);
	cache_stats(c, &s);
	assert_int_equal(s.used_bytes, before.used_bytes);
	assert_false(present(c, 1));
	v = must_get(c, 1, BLOCK);
	assert_false(version_has(v, 0));
	assert_int_equal(version_reserve(v, 0, 1, RESERVE_READER, NULL, NULL),
			 -EIO);
	assert_int_equal(cache_evict(c, 1, NULL, true, NULL), -EIO);
	version_put(v);
	cache_close(c);
	assert_int_equal(stat(in_dir("data/1"), &st), 0);
	c = must_open(&cfg);
	assert_int_equal(stat(in_dir("data/1"), &st), -1);
	assert_false(present(c, 1));
	cache_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(write_fails_once),
		T(write_fails_always),
		T(sync_fails),
		T(commit_fails),
		T(row_or_file_fails),
		T(mark_fails),
		T(remove_fails),
	};

	return cmocka_run_group_tests_name("cache errors", tests, NULL, NULL);
}
