/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks, manifests and facts: cache.h verb by verb, without faults. */
#include "cache_world.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(stores_and_reads),
		T(unreserve_gives_back),
		T(lying_ident),
		T(keeps_the_manifest),
		T(forgets),
		T(taken_away_while_read),
		T(keeps_facts),
		T(empty_image),
	};

	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
