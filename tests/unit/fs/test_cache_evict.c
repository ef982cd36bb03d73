/* SPDX-License-Identifier: Apache-2.0 */
/* Who has to go, who waits, who may not (C3 to C5), without faults. */
#include "cache_world.h"

/* C4: in the order in which they were first stored. */
static void oldest_goes_first(void **state)
{
	uint64_t size = 4 * BLOCK;
	struct cache_config cfg =
		config_of(dir, capacity_for(3 * price(size) + BLOCK));
	struct cache *c = must_open(&cfg);
	struct version_info *l;
	size_t n;

	(void)state;
	assert_int_equal(fill_id(c, 30, size), 0);
	assert_int_equal(fill_id(c, 10, size), 0);
	assert_int_equal(fill_id(c, 20, size), 0);
	assert_int_equal(fill_id(c, 5, size), 0);
	assert_false(present(c, 30));
	assert_int_equal(cache_list(c, &l, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(l[0].ident.id, 10);
	assert_int_equal(l[1].ident.id, 20);
	assert_int_equal(l[2].ident.id, 5);
	free(l);
	assert_int_equal(fill_id(c, 30, size), 0);
	assert_false(present(c, 10));
	cache_close(c);
}

/* C4: open, pinned, just read and held ones are passed over; a reader may
 * take the oldest held one, a prefetch may not. */
static void passed_over(void **state)
{
	uint64_t size = 4 * BLOCK;
	struct cache_config cfg =
		config_of(dir, capacity_for(4 * price(size) + BLOCK));
	struct version *v1, *v2, *v9;
	struct version_ident held = ident_of(4, size);
	struct cache_stats s;
	struct cache *c;

	(void)state;
	cfg.just_read_ms = 60 * 1000;
	c = must_open(&cfg);
	for (uint64_t id = 1; id <= 4; id++)
		assert_int_equal(fill_id(c, id, size), 0);
	assert_int_equal(cache_find(c, 1, &v1), 0);
	version_open(v1);
	assert_int_equal(cache_find(c, 2, &v2), 0);
	version_touch(v2);
	assert_int_equal(cache_hold(c, &held, time(NULL) + 3600), 0);

	assert_int_equal(fill_id(c, 5, size), 0);
	assert_true(present(c, 1) && present(c, 2) && present(c, 4));
	assert_false(present(c, 3));

	/* 5 is the only one left to go; pinned it is not. */
	v9 = must_get(c, 5, size);
	version_pin(v9);
	version_put(v9);
	v9 = must_get(c, 6, size);
	assert_int_equal(version_reserve(v9, 0, 1, RESERVE_PREFETCH, NULL,
					 NULL),
			 -ENOSPC);
	assert_false(version_could_fit(v9, RESERVE_PREFETCH));
	assert_true(version_could_fit(v9, RESERVE_READER));
	assert_true(present(c, 4));
	assert_int_equal(fill(v9), 0);
	assert_false(present(c, 4));
	cache_stats(c, &s);
	assert_int_equal(s.evicted_held, 1);
	version_put(v9);

	assert_int_equal(cache_evict(c, 1, NULL, true, NULL), -EBUSY);
	version_close(v1);
	version_put(v1);
	version_put(v2);
	assert_int_equal(cache_find(c, 5, &v9), 0);
	version_unpin(v9);
	version_put(v9);
	cache_close(c);
}

/* C5: what cannot fit costs nobody anything. */
static void too_large_evicts_nothing(void **state)
{
	uint64_t size = 4 * BLOCK;
	struct cache_config cfg = config_of(dir, capacity_for(2 * price(size)));
	struct cache *c = must_open(&cfg);
	struct version *v;

	(void)state;
	assert_int_equal(fill_id(c, 1, size), 0);
	assert_int_equal(fill_id(c, 2, size), 0);
	v = must_get(c, 3, 9 * BLOCK);
	assert_false(version_could_fit(v, RESERVE_READER));
	assert_int_equal(version_reserve(v, 0, 9, RESERVE_READER, NULL, NULL),
			 -ENOSPC);
	assert_true(present(c, 1) && present(c, 2));
	assert_false(present(c, 3));
	version_put(v);
	cache_close(c);
}

static void again(void *ctx)
{
	__atomic_add_fetch((int *)ctx, 1, __ATOMIC_RELEASE);
}

static void asks_again(void **state)
{
	uint64_t size = 4 * BLOCK;
	struct cache_config cfg =
		config_of(dir, capacity_for(price(size) + BLOCK));
	struct cache *c = must_open(&cfg);
	struct version *v;
	int called = 0;

	(void)state;
	assert_int_equal(fill_id(c, 1, size), 0);
	v = must_get(c, 2, size);
	assert_int_equal(version_reserve(v, 0, 4, RESERVE_READER, again,
					 &called),
			 -EAGAIN);
	while (__atomic_load_n(&called, __ATOMIC_ACQUIRE) == 0)
		usleep(1000);
	assert_int_equal(version_reserve(v, 0, 4, RESERVE_READER, again,
					 &called),
			 0);
	version_unreserve(v, 0, 4);
	assert_int_equal(called, 1);
	version_put(v);
	cache_close(c);
}

/* A reference keeps its descriptor over an eviction, and its bytes count as
 * used until it goes (C3). The object then stands for the version anew. */
static void evicted_while_referenced(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version *v = must_get(c, 1, 2 * BLOCK), *w;
	struct cache_stats before, s;
	uint64_t freed = 99;
	char got[16];
	int fd;

	(void)state;
	assert_int_equal(fill(v), 0);
	fd = version_fd(v);
	cache_stats(c, &before);
	assert_int_equal(cache_evict(c, 1, NULL, false, &freed), 0);
	assert_int_equal(freed, 0);
	assert_false(version_has(v, 0));
	assert_false(present(c, 1));
	assert_int_equal(pread(fd, got, 16, 0), 16);
	assert_memory_equal(got, pattern(v, 0), 16);
	cache_stats(c, &s);
	assert_int_equal(s.used_bytes, before.used_bytes);

	w = must_get(c, 1, 2 * BLOCK);
	assert_ptr_equal(v, w);
	assert_int_equal(version_reserve(w, 0, 1, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_not_equal(version_fd(w), fd);
	assert_int_equal(store(w, 0), 0);
	assert_true(right(w, 0));
	assert_false(version_has(w, 1));
	version_put(v);
	version_put(w);
	cache_stats(c, &s);
	assert_int_equal(s.used_bytes, before.used_bytes - BLOCK);
	cache_close(c);
}

static void evict_says_why_not(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version_ident i = ident_of(1, BLOCK);
	struct digest other = {.b = {9}};
	uint64_t freed;

	(void)state;
	assert_int_equal(cache_evict(c, 1, NULL, false, NULL), -ENOENT);
	assert_int_equal(fill_id(c, 1, BLOCK), 0);
	assert_int_equal(cache_evict(c, 1, &other, true, NULL), -ESTALE);
	assert_int_equal(cache_hold(c, &i, time(NULL) + 100), 0);
	assert_int_equal(cache_evict(c, 1, &i.digest, false, NULL), -EPERM);
	assert_int_equal(cache_evict(c, 1, &i.digest, true, &freed), 0);
	assert_int_equal(freed, price(BLOCK));
	assert_int_equal(cache_evict(c, 1, NULL, false, NULL), -ENOENT);
	cache_close(c);
}

static void reclaims(void **state)
{
	uint64_t size = 4 * BLOCK, freed;
	struct cache_config cfg =
		config_of(dir, capacity_for(4 * price(size)));
	struct cache *c = must_open(&cfg);
	struct version_ident i2 = ident_of(2, size);

	(void)state;
	for (uint64_t id = 1; id <= 4; id++)
		assert_int_equal(fill_id(c, id, size), 0);
	assert_int_equal(cache_hold(c, &i2, time(NULL) + 100), 0);
	assert_int_equal(cache_reclaim(c, price(size) + 1, &freed), 0);
	assert_int_equal(freed, 2 * price(size));
	assert_true(!present(c, 1) && present(c, 2) && !present(c, 3) &&
		    present(c, 4));
	assert_int_equal(cache_reclaim(c, 1, &freed), 0);
	assert_int_equal(freed, 0);
	assert_int_equal(cache_reclaim(c, 4 * price(size), &freed), -ENOSPC);
	assert_int_equal(freed, price(size));
	assert_true(present(c, 2));
	cache_close(c);
}

/* A hold ahead of the first byte: a row, no file, and the place in the order
 * is that of the first reservation. */
static void holds_ahead(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version_ident i = ident_of(1, BLOCK), j = ident_of(3, BLOCK);
	int64_t until = time(NULL) + 1000;
	struct version_info info, two;
	struct version *v;

	(void)state;
	assert_int_equal(cache_hold(c, &i, until), 0);
	assert_int_equal(cache_hold(c, &j, until), 0);
	assert_int_equal(cache_info(c, 1, &info), 0);
	assert_int_equal(info.held_until_s, until);
	assert_int_equal(info.stored_bytes, 0);
	assert_int_equal(fill_id(c, 2, BLOCK), 0);
	cache_close(c);

	c = must_open(&cfg);
	assert_int_equal(cache_info(c, 1, &info), 0);
	assert_int_equal(info.held_until_s, until);
	assert_int_equal(cache_find(c, 1, &v), 0);
	assert_int_equal(version_fd(v), -1);
	assert_int_equal(fill(v), 0);
	version_put(v);
	assert_int_equal(cache_info(c, 1, &info), 0);
	assert_int_equal(cache_info(c, 2, &two), 0);
	assert_true(info.stored_seq > two.stored_seq);
	assert_int_equal(info.held_until_s, until);

	/* Released: what has bytes stays, what had only the hold goes. */
	assert_int_equal(cache_hold(c, &i, 0), 0);
	assert_int_equal(cache_hold(c, &j, 0), 0);
	assert_int_equal(cache_info(c, 1, &info), 0);
	assert_int_equal(info.held_until_s, 0);
	assert_false(present(c, 3));
	cache_close(c);
}

/* C3: capacity lowered at a mount: down to it, by itself, oldest first. */
static void shrinks(void **state)
{
	uint64_t size = 4 * BLOCK;
	struct cache_config cfg = config_of(dir, capacity_for(5 * price(size)));
	struct cache *c = must_open(&cfg);
	struct cache_stats s;

	(void)state;
	for (uint64_t id = 1; id <= 5; id++)
		assert_int_equal(fill_id(c, id, size), 0);
	cache_close(c);
	cfg.capacity_bytes = capacity_for(2 * price(size));
	c = must_open(&cfg);
	do {
		usleep(1000);
		cache_stats(c, &s);
	} while (s.used_bytes > s.capacity_bytes);
	assert_int_equal(s.versions, 2);
	assert_true(present(c, 4) && present(c, 5));
	cache_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(oldest_goes_first),
		T(passed_over),
		T(too_large_evicts_nothing),
		T(asks_again),
		T(evicted_while_referenced),
		T(evict_says_why_not),
		T(reclaims),
		T(holds_ahead),
		T(shrinks),
	};

	return cmocka_run_group_tests_name("cache eviction", tests, NULL, NULL);
}
