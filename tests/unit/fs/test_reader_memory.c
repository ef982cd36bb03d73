/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Few buffers: whatever waits, and wherever blocks cannot be stored, the
 * buffers come back, or all would wait for one for ever. Each of these tests
 * that hangs is one that fails.
 */
#include "fs/cache/point.h"
#include "tests/unit/fs/reader_world.h"

#define POOL_BLOCKS 40

static struct a_read many[400];

static void small_world(struct world *w, uint64_t capacity,
			struct reader_config rc)
{
	fake_memory_bytes = POOL_BLOCKS * B;
	if (!rc.ring_bytes)
		rc.ring_bytes = POOL_BLOCKS / 2 * B;
	world_make(w, capacity, rc);
}

/* All at once, and all of them answered. */
static void read_many(struct stream *const *s, const uint64_t *id, unsigned n,
		      unsigned each, uint32_t size)
{
	for (unsigned i = 0; i < n * each; i++)
		read_start(s[i % n], &many[i], id[i % n], i / n * size, size);
	for (unsigned i = 0; i < n * each; i++)
		EVENTUALLY(answers(&many[i]));
	for (unsigned i = 0; i < n * each; i++)
		assert_int_equal(read_wait(&many[i]), 0);
}

/* Each read lacks two blocks; the first ones of all together fill the pool. */
static void half_answered_reads(void **state)
{
	static const uint64_t id[2] = {5, 6};
	struct version_ident v[2];
	struct stream *s[2];
	struct world w;

	(void)state;
	small_world(&w, 1 << 30,
		    (struct reader_config){.fill_after_bytes = UINT64_MAX});
	FAKE_SET(w.fetch, spread, true);
	for (int i = 0; i < 2; i++) {
		v[i] = ident(&w, id[i], 200 * B);
		assert_int_equal(reader_open(w.reader, &v[i], &s[i]), 0);
	}
	read_many(s, id, 2, 100, 2 * B);
	for (int i = 0; i < 2; i++)
		reader_close(s[i]);
	world_free(&w);
}

/* R9: more reads wait for the whole version than there are buffers. */
static void all_wait_for_the_whole(void **state)
{
	static const uint64_t id[1] = {5};
	struct version_ident v;
	struct stream *s[1];
	struct world w;

	(void)state;
	small_world(&w, 1 << 30,
		    (struct reader_config){.serve_complete = true});
	v = ident(&w, 5, 300 * B);
	assert_int_equal(reader_open(w.reader, &v, &s[0]), 0);
	read_many(s, id, 1, 300, (uint32_t)B);
	reader_close(s[0]);
	world_free(&w);
}

/* C5: several images that cannot be stored share what a ring may have, and
 * leave buffers for one that is read besides them. */
static void rings_share(void **state)
{
	struct version_ident v[5];
	struct stream *s[5];
	struct world w;

	(void)state;
	small_world(&w, 4 << 20,
		    (struct reader_config){.fill_after_bytes = 0,
					   .look_ahead_bytes = 16 * B});
	for (unsigned i = 0; i < 5; i++) {
		v[i] = ident(&w, 5 + i, i < 4 ? 200 * B : 10 * B);
		assert_int_equal(reader_open(w.reader, &v[i], &s[i]), 0);
	}
	for (uint64_t at = 0; at < 200 * B; at += B)
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(read_now(s[i], v[i].id, at, 65536),
					 0);
	/* Idle ones give way too. */
	EVENTUALLY(buf_pool_used(w.fetch->bufs) <= POOL_BLOCKS / 2 * B);
	for (uint64_t at = 0; at < 10 * B; at += B)
		assert_int_equal(read_now(s[4], v[4].id, at, 65536), 0);
	for (unsigned i = 0; i < 5; i++)
		reader_close(s[i]);
	EVENTUALLY(buf_pool_used(w.fetch->bufs) == 0);
	world_free(&w);
}

/* A ring that may not have a single block. */
static void no_ring_at_all(void **state)
{
	struct version_ident v;
	struct stream *s;
	struct world w;

	(void)state;
	small_world(&w, 4 << 20,
		    (struct reader_config){.fill_after_bytes = 0,
					   .ring_bytes = 1});
	v = ident(&w, 5, 100 * B);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	for (uint64_t at = 0; at < 100 * B; at += B)
		assert_int_equal(read_now(s, 5, at, 65536), 0);
	EVENTUALLY(buf_pool_used(w.fetch->bufs) == 0);
	reader_close(s);
	world_free(&w);
}

/* C5: room that comes while a large image is read is used, however busily it
 * is read. */
static void room_that_comes_is_used(void **state)
{
	struct version_ident small, large;
	struct stream *s, *other;
	uint64_t at = 0, stored = 0;
	struct world w;

	(void)state;
	small_world(&w, 8 << 20, (struct reader_config){.fill_after_bytes = 0});
	small = ident(&w, 5, 60 * B);
	large = ident(&w, 6, 100 * B);
	assert_int_equal(reader_open(w.reader, &small, &other), 0);
	for (; at < 60 * B; at += B)
		assert_int_equal(read_now(other, 5, at, 65536), 0);
	EVENTUALLY(version_complete(stream_version(other)));
	assert_int_equal(reader_open(w.reader, &large, &s), 0);
	for (at = 0; at < 20 * B; at += B)
		assert_int_equal(read_now(s, 6, at, 65536), 0);
	assert_int_equal(version_stored_bytes(stream_version(s)), 0);

	reader_close(other);
	EVENTUALLY(streams(&w) == 1);
	lock_take(&s->lock);
	assert_true(s->no_store);
	s->space_retry_ns = clock_mono_ns() + 50 * NS_PER_MS;
	s->fill_retry_ns = s->space_retry_ns;
	lock_give(&s->lock);
	for (int i = 0; i < 400 && !stored; i++, at += B) {
		usleep(2000);
		assert_int_equal(read_now(s, 6, at % (100 * B), 65536), 0);
		stored = version_stored_bytes(stream_version(s));
	}
	assert_true(stored > 0);
	/* What was in the ring by then is stored too. */
	assert_int_equal(read_now(s, 6, at % (100 * B), 65536), 0);
	EVENTUALLY(version_complete(stream_version(s)));
	reader_close(s);
	world_free(&w);
}

/* ---- a victim that takes its time ---------------------------------------- */

static pthread_mutex_t deleting = PTHREAD_MUTEX_INITIALIZER;

static int slow_delete(const char *name)
{
	if (strcmp(name, "evict.mark") == 0) {
		pthread_mutex_lock(&deleting);
		pthread_mutex_unlock(&deleting);
	}
	return 0;
}

/* R3: a reader does not wait for the victim that its blocks need; nor does
 * one of another image. */
static void nobody_waits_for_a_victim(void **state)
{
	struct version_ident old, cold;
	struct cache_stats cs;
	struct stream *s;
	struct world w;

	(void)state;
	small_world(&w, 6 << 20,
		    (struct reader_config){.fill_after_bytes = UINT64_MAX});
	old = ident(&w, 5, 70 * B);
	cold = ident(&w, 6, 70 * B);
	assert_int_equal(reader_open(w.reader, &old, &s), 0);
	for (uint64_t at = 0; at < 70 * B; at += B)
		assert_int_equal(read_now(s, 5, at, 65536), 0);
	EVENTUALLY(version_complete(stream_version(s)));
	reader_close(s);
	EVENTUALLY(streams(&w) == 0);

	pthread_mutex_lock(&deleting);
	__atomic_store_n(&cache_test_point, slow_delete, __ATOMIC_RELEASE);
	assert_int_equal(reader_open(w.reader, &cold, &s), 0);
	/* As many as there are buffers, and once more from memory. */
	for (int round = 0; round < 2; round++)
		for (uint64_t at = 0; at < 30 * B; at += B)
			assert_int_equal(read_now(s, 6, at, 65536), 0);
	cache_stats(w.cache, &cs);
	assert_int_equal(cs.evicted, 0);
	pthread_mutex_unlock(&deleting);
	EVENTUALLY(version_has_all(stream_version(s), 0, 30));
	assert_int_equal(FAKE_GET(w.fetch, blocks_asked), 70 + 30);
	__atomic_store_n(&cache_test_point, NULL, __ATOMIC_RELEASE);
	cache_stats(w.cache, &cs);
	assert_int_equal(cs.evicted, 1);
	reader_close(s);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(half_answered_reads),
		cmocka_unit_test(all_wait_for_the_whole),
		cmocka_unit_test(rings_share),
		cmocka_unit_test(no_ring_at_all),
		cmocka_unit_test(room_that_comes_is_used),
		cmocka_unit_test(nobody_waits_for_a_victim),
	};

	return cmocka_run_group_tests_name("reader memory", tests, NULL,
					   NULL);
}
