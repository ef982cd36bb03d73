/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of cache.h one by one, without faults and with one thread. */
#include "cache_fixture.h"

#include <time.h>

static char *dir;

static int setup(void **state)
{
	(void)state;
	dir = scratch_dir();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	scratch_remove(dir);
	return 0;
}

static void stores_and_reads(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version *v = must_get(c, 5, 3 * BLOCK + 100);
	struct version_info info;

	(void)state;
	assert_int_equal(version_blocks(v), 4);
	assert_int_equal(version_fd(v), -1);
	assert_false(version_has(v, 0));
	assert_int_equal(cache_info(c, 5, &info), -ENOENT);

	assert_int_equal(version_reserve(v, 2, 2, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(version_store(v, 1, pattern(v, 1), BLOCK), -EINVAL);
	assert_int_equal(version_store(v, 2, pattern(v, 2), 5), -EINVAL);
	assert_int_equal(store(v, 3), 0);
	assert_int_equal(store(v, 2), 0);
	assert_int_equal(store(v, 2), -EINVAL); /* used up */
	assert_true(version_fd(v) >= 0);
	assert_true(version_has_all(v, 2, 2));
	assert_false(version_has_all(v, 1, 3));
	assert_false(version_has_all(v, 2, 3));
	assert_int_equal(version_next_stored(v, 0, 4), 2);
	assert_int_equal(version_next_missing(v, 2, 4), 4);
	assert_int_equal(version_next_missing(v, 0, 4), 0);
	assert_int_equal(version_stored_bytes(v), BLOCK + 100);
	assert_true(right(v, 2) && right(v, 3));
	assert_int_equal(version_read(v, (char[8]){0}, 8, 0), -ENODATA);

	assert_int_equal(version_reserve(v, 0, 4, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(version_reserve(v, 1, 1, RESERVE_READER, NULL, NULL),
			 -EINVAL);
	assert_int_equal(store(v, 0), 0);
	assert_int_equal(store(v, 1), 0);
	assert_true(version_complete(v));

	/* Told as complete once it is durable (C1; test_cache_crash.c). */
	assert_int_equal(cache_flush(c), 0);
	assert_int_equal(cache_info(c, 5, &info), 0);
	assert_true(info.complete && info.complete_at_s > 0);
	version_put(v);
	cache_close(c);

	c = must_open(&cfg);
	assert_int_equal(cache_find(c, 5, &v), 0);
	assert_true(version_complete(v));
	for (uint64_t b = 0; b < 4; b++)
		assert_true(right(v, b));
	version_put(v);
	cache_close(c);
}

/* A window reserved and given back leaves the accounts as they were (C3). */
static void unreserve_gives_back(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version *v = must_get(c, 1, 8 * BLOCK);
	struct cache_stats s;

	(void)state;
	assert_int_equal(version_reserve(v, 0, 8, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(store(v, 3), 0);
	cache_stats(c, &s);
	assert_int_equal(s.reserved_bytes, 7 * BLOCK);
	version_unreserve(v, 0, 4);
	version_unreserve(v, 0, 4); /* twice is harmless */
	cache_stats(c, &s);
	assert_int_equal(s.reserved_bytes, 4 * BLOCK);
	version_unreserve(v, 0, 8);
	cache_stats(c, &s);
	assert_int_equal(s.reserved_bytes, 0);
	assert_int_equal(s.used_bytes,
			 SPACE_INDEX_BASE_BYTES + price(8 * BLOCK) - 7 * BLOCK);
	version_put(v);
	cache_close(c);
}

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

static void lying_ident(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version_ident i = ident_of(1, BLOCK);
	struct version *v;

	(void)state;
	assert_int_equal(fill_id(c, 1, BLOCK), 0);
	i.digest.b[3] ^= 1;
	assert_int_equal(cache_get(c, &i, &v), -EINVAL);
	i = ident_of(1, BLOCK + 1);
	assert_int_equal(cache_get(c, &i, &v), -EINVAL);
	i = ident_of(7, BLOCK);
	i.block_bytes = 3000;
	assert_int_equal(cache_get(c, &i, &v), -EINVAL);
	i.block_bytes = BLOCK;
	i.size_bytes = UINT64_MAX;
	assert_int_equal(cache_get(c, &i, &v), -EINVAL);
	cache_close(c);
}

static struct manifest *manifest_for(struct version_ident *i)
{
	uint64_t n = manifest_block_count(i->size_bytes, BLOCK);
	struct digest *hash = calloc(n, sizeof(*hash));
	struct manifest *m;

	for (uint64_t b = 0; b < n; b++)
		hash[b].b[0] = (uint8_t)(b + i->id);
	assert_int_equal(manifest_build(i->size_bytes, BLOCK, hash, &m), 0);
	i->digest = m->digest;
	return m;
}

static void keeps_the_manifest(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version_ident i = ident_of(1, 5 * BLOCK);
	struct version_ident other = ident_of(2, 5 * BLOCK);
	struct manifest *m = manifest_for(&i), *wrong = manifest_for(&other);
	struct version *v;

	(void)state;
	assert_int_equal(cache_get(c, &i, &v), 0);
	assert_int_equal(version_load_manifest(v), -ENOENT);
	assert_int_equal(version_set_manifest(v, wrong), -EBADMSG);
	assert_null(version_manifest(v));
	assert_int_equal(version_set_manifest(v, m), 0);
	assert_ptr_equal(version_manifest(v), m);
	assert_int_equal(version_reserve(v, 0, 1, RESERVE_READER, NULL, NULL),
			 0);
	version_unreserve(v, 0, 1);
	version_put(v);

	assert_int_equal(cache_get(c, &i, &v), 0);
	assert_null(version_manifest(v));
	assert_int_equal(version_load_manifest(v), 0);
	assert_true(digest_equal(&version_manifest(v)->digest, &i.digest));
	version_put(v);

	/* Set after the row: durable as well. Gone with the row. */
	i = ident_of(3, 2 * BLOCK);
	m = manifest_for(&i);
	assert_int_equal(cache_get(c, &i, &v), 0);
	assert_int_equal(fill(v), 0);
	assert_int_equal(version_set_manifest(v, m), 0);
	version_put(v);
	cache_close(c);
	c = must_open(&cfg);
	assert_int_equal(cache_get(c, &i, &v), 0);
	assert_int_equal(version_load_manifest(v), 0);
	version_put(v);
	assert_int_equal(cache_evict(c, 3, NULL, false, NULL), 0);
	assert_int_equal(cache_get(c, &i, &v), 0);
	assert_int_equal(version_load_manifest(v), -ENOENT);
	version_put(v);
	cache_close(c);
}

/* C7: a bad block counts as missing at once, also after a restart, and its
 * space is free. */
static void forgets(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version *v = must_get(c, 1, 4 * BLOCK);
	struct cache_stats before, s;
	struct version_info info;
	struct stat st;

	(void)state;
	assert_int_equal(fill(v), 0);
	assert_int_equal(cache_flush(c), 0);
	cache_stats(c, &before);
	assert_int_equal(version_forget_block(v, 2), 0);
	assert_int_equal(version_forget_block(v, 2), 0);
	assert_int_equal(version_forget_block(v, 4), -EINVAL);
	assert_false(version_has(v, 2));
	assert_true(version_has(v, 1) && version_has(v, 3));
	cache_stats(c, &s);
	assert_int_equal(s.used_bytes, before.used_bytes - BLOCK);
	assert_int_equal(fstat(version_fd(v), &st), 0);
	assert_int_equal(st.st_blocks * 512, 3 * BLOCK);
	assert_int_equal(cache_info(c, 1, &info), 0);
	assert_false(info.complete);
	version_put(v);
	cache_close(c);

	c = must_open(&cfg);
	v = must_get(c, 1, 4 * BLOCK);
	assert_false(version_has(v, 2));
	assert_int_equal(fill(v), -EINVAL); /* 0 is stored: not reserved */
	assert_int_equal(store(v, 2), 0);
	assert_true(version_complete(v) && right(v, 2));
	version_put(v);
	cache_close(c);
}

/* R1: a block that goes while it is being read gives no zeros. */
static struct cache *victim_cache;
static struct version *victim;
static bool by_eviction;

static int take_away(const char *name)
{
	if (strcmp(name, "read.read") != 0)
		return 0;
	set_point(NULL);
	if (by_eviction)
		assert_int_equal(cache_evict(victim_cache, 1, NULL, true, NULL),
				 0);
	else
		assert_int_equal(version_forget_block(victim, 1), 0);
	/* And is there anew, in part: reserved, not yet written. */
	assert_int_equal(version_reserve(victim, 1, 1, RESERVE_READER, NULL,
					 NULL), 0);
	return 0;
}

static void taken_away_while_read(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	char got[16];

	(void)state;
	victim_cache = c;
	for (int i = 0; i < 2; i++) {
		by_eviction = i;
		victim = must_get(c, 1, 4 * BLOCK);
		assert_int_equal(fill(victim), 0);
		set_point(take_away);
		assert_int_equal(version_read(victim, got, sizeof(got), BLOCK),
				 -ENODATA);
		version_unreserve(victim, 0, 4);
		version_put(victim);
		assert_int_equal(cache_evict(c, 1, NULL, true, NULL), 0);
	}
	cache_close(c);
}

static void keeps_facts(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	char *got;

	(void)state;
	assert_int_equal(cache_meta_get(c, "store", &got), -ENOENT);
	assert_int_equal(cache_meta_set(c, "store", "a"), 0);
	assert_int_equal(cache_meta_set(c, "store", "b"), 0);
	cache_close(c);
	c = must_open(&cfg);
	assert_int_equal(cache_meta_get(c, "store", &got), 0);
	assert_string_equal(got, "b");
	free(got);
	cache_close(c);
}

/* An image without bytes is complete when it has its row. */
static void empty_image(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version *v = must_get(c, 1, 0);
	struct version_info info;

	(void)state;
	assert_true(version_complete(v));
	assert_true(version_has_all(v, 0, 0));
	assert_int_equal(version_reserve(v, 0, 0, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(cache_info(c, 1, &info), 0);
	assert_true(info.complete);
	version_put(v);
	cache_close(c);
	c = must_open(&cfg);
	assert_int_equal(cache_info(c, 1, &info), 0);
	assert_true(info.complete);
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

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(stores_and_reads),	T(unreserve_gives_back),
		T(oldest_goes_first),	T(passed_over),
		T(too_large_evicts_nothing), T(asks_again),
		T(evicted_while_referenced), T(evict_says_why_not),
		T(reclaims),		T(holds_ahead),
		T(lying_ident),		T(keeps_the_manifest),
		T(forgets),		T(taken_away_while_read),
		T(keeps_facts),
		T(empty_image),		T(shrinks),
	};

	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
