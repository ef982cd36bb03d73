/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader over a real cache on disk and a fake fetcher that the test
 * steers: R2 to R9, C5, and bytes compared always.
 */
#include "fs/cache/point.h"
#include "tests/unit/fs/reader_world.h"

/* R7: before fill-after, only the touched blocks are fetched. R1, R3. */
static void only_what_is_touched(void **state)
{
	struct version_info info;
	struct world w;
	struct version_ident v;
	struct stream *s;

	(void)state;
	world_make(&w, 1 << 30,
		   (struct reader_config){.fill_after_bytes = 1 << 20});
	v = ident(&w, 7, 40 * B + 100);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	assert_int_equal(read_now(s, 7, 3 * B + 5, 4096), 0);
	assert_int_equal(read_now(s, 7, 40 * B + 10, 90), 0); /* the tail */
	assert_int_equal(read_now(s, 7, 10 * B - 100, 200), 0); /* two blocks */
	EVENTUALLY(version_has(stream_version(s), 10));
	assert_int_equal(FAKE_GET(w.fetch, blocks_asked), 4);
	/* C4: a read that waited is a read as well. */
	assert_int_equal(cache_info(w.cache, 7, &info), 0);
	assert_true(info.read_at_s > 0);
	EVENTUALLY(stream_stored(s, 3 * B, 65536));
	assert_false(stream_stored(s, 4 * B, 1));
	reader_close(s);
	world_free(&w);
}

/* R7: looking again and again at what is stored is no reading on, whatever it
 * adds up to; going on from there is. */
static void looks_do_not_add_up(void **state)
{
	struct world w;
	struct version_ident v;
	struct stream *s;

	(void)state;
	world_make(&w, 1 << 30,
		   (struct reader_config){.fill_after_bytes = 8 * B});
	v = ident(&w, 7, 400 * B);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(read_now(s, 7, i * B, 65536), 0);
		assert_int_equal(read_now(s, 7, (397 + i) * B, 65536), 0);
	}
	EVENTUALLY(version_has_all(stream_version(s), 0, 3) &&
		   version_has_all(stream_version(s), 397, 3));
	for (int i = 0; i < 100; i++) {
		assert_true(stream_stored(s, (uint64_t)(i % 3) * B, 65536));
		assert_int_equal(read_now(s, 7, 398 * B, 65536), 0);
	}
	reader_close(s);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	assert_true(stream_stored(s, 0, 65536));
	assert_int_equal(FAKE_GET(w.fetch, blocks_asked), 6);

	assert_int_equal(read_now(s, 7, 3 * B, 65536), 0);
	assert_int_equal(read_now(s, 7, 4 * B, 65536), 0);
	EVENTUALLY(version_complete(stream_version(s)));
	reader_close(s);
	world_free(&w);
}

/* R2: however many wait, it is fetched once. R4: they cost no thread. */
static void many_readers_one_fetch(void **state)
{
	static struct a_read a[1000];
	struct world w;
	struct version_ident v;
	struct stream *s[8];

	(void)state;
	world_make(&w, 1 << 30,
		   (struct reader_config){.fill_after_bytes = UINT64_MAX});
	v = ident(&w, 9, 20 * B);
	FAKE_SET(w.fetch, paused, true);
	for (int i = 0; i < 8; i++)
		assert_int_equal(reader_open(w.reader, &v, &s[i]), 0);
	for (int i = 0; i < 1000; i++)
		read_start(s[i % 8], &a[i], 9, (uint64_t)(i % 20) * B + 17,
			   1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(answers(&a[i]), 0);
	FAKE_SET(w.fetch, paused, false);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(read_wait(&a[i]), 0);
	assert_int_equal(FAKE_GET(w.fetch, blocks_asked), 20);
	for (int i = 0; i < 8; i++)
		reader_close(s[i]);
	world_free(&w);
}

/* R7: from fill-after on the whole version is filled, also when the reader
 * has left; each block once. */
static void fill_goes_on_alone(void **state)
{
	struct world w;
	struct version_ident v;
	struct stream *s;
	struct version *ver;

	(void)state;
	world_make(&w, 1 << 30,
		   (struct reader_config){.fill_after_bytes = 2 * B});
	v = ident(&w, 5, 200 * B);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	ver = version_ref(stream_version(s));
	for (int i = 0; i < 3; i++)
		assert_int_equal(read_now(s, 5, (uint64_t)i * B, 65536), 0);
	reader_close(s);
	EVENTUALLY(version_complete(ver));
	assert_int_equal(FAKE_GET(w.fetch, blocks_asked), 200);
	version_put(ver);
	world_free(&w);
}

/* R5: a seek to the end is demand while the front is filled. */
static void far_seek_goes_first(void **state)
{
	struct world w;
	struct version_ident v;
	struct a_read a;
	struct stream *s;

	(void)state;
	world_make(&w, 1 << 30, (struct reader_config){.fill_after_bytes = 0});
	v = ident(&w, 5, 400 * B);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	assert_int_equal(read_now(s, 5, 0, 4096), 0);
	FAKE_SET(w.fetch, paused, true);
	read_start(s, &a, 5, 399 * B, 65536);
	EVENTUALLY(FAKE_GET(w.fetch, started[CLASS_DEMAND]) +
			   FAKE_GET(w.fetch, promotions) >= 2);
	FAKE_SET(w.fetch, paused, false);
	assert_int_equal(read_wait(&a), 0);
	reader_close(s);
	world_free(&w);
}

static void out_of_reach_times_out(void **state)
{
	struct world w;
	struct version_ident v;
	struct reader_stats st;
	struct a_read a;
	struct stream *s;

	(void)state;
	world_make(&w, 1 << 30,
		   (struct reader_config){.fill_after_bytes = UINT64_MAX,
					  .io_timeout_ms = 300});
	v = ident(&w, 5, 4 * B);
	FAKE_SET(w.fetch, paused, true);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	assert_int_equal(read_now(s, 5, 0, 4096), -ETIMEDOUT);
	reader_stats(w.reader, &st);
	assert_int_equal(st.reads_timed_out, 1);
	assert_int_equal(st.parked, 0);
	/* The kernel tries once more at once: no second wait. */
	read_start(s, &a, 5, 0, 4096);
	assert_int_equal(answers(&a), 1);
	assert_int_equal(a.error, -ETIMEDOUT);
	/* It returns: the next read is answered. */
	FAKE_SET(w.fetch, paused, false);
	EVENTUALLY(read_now(s, 5, 0, 4096) == 0);
	assert_int_equal(read_now(s, 5, 0, 4096), 0);
	assert_int_equal(read_now(s, 5, B, 4096), 0);
	reader_close(s);
	world_free(&w);
}

static void cancelled_read_is_answered_once(void **state)
{
	struct world w;
	struct version_ident v;
	struct a_read a;
	struct stream *s;

	(void)state;
	world_make(&w, 1 << 30,
		   (struct reader_config){.fill_after_bytes = UINT64_MAX});
	v = ident(&w, 5, 4 * B);
	FAKE_SET(w.fetch, paused, true);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	read_start(s, &a, 5, 0, 4096);
	stream_cancel(s, &a.req, -EINTR);
	assert_int_equal(read_wait(&a), -EINTR);
	stream_cancel(s, &a.req, -EINTR);
	FAKE_SET(w.fetch, paused, false);
	assert_int_equal(read_now(s, 5, 0, 4096), 0);
	stream_cancel(s, &a.req, -EINTR);
	assert_int_equal(answers(&a), 1);
	reader_close(s);
	world_free(&w);
}

static void lost_blocks_are_errors_not_bytes(void **state)
{
	struct world w;
	struct version_ident v;
	struct stream *s;

	(void)state;
	world_make(&w, 1 << 30, (struct reader_config){.fill_after_bytes = 0});
	v = ident(&w, 5, 30 * B);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	FAKE_SET(w.fetch, manifest_error, -EIO);
	assert_int_equal(read_now(s, 5, 0, 4096), -EIO);
	FAKE_SET(w.fetch, manifest_error, 0);
	FAKE_SET(w.fetch, lose, -EIO);
	assert_int_equal(read_now(s, 5, 0, 4096), -EIO);
	FAKE_SET(w.fetch, lose, -ENOENT);
	assert_int_equal(read_now(s, 5, 9 * B, 4096), -ENOENT);
	FAKE_SET(w.fetch, lose, 0);
	assert_int_equal(read_now(s, 5, 0, 4096), 0);
	assert_int_equal(read_now(s, 5, 9 * B, 4096), 0);
	reader_close(s);
	world_free(&w);
}

/* R9: no answer before the whole version is there. */
static void serve_complete_waits_for_all(void **state)
{
	struct world w;
	struct version_ident v;
	struct a_read a;
	struct stream *s;

	(void)state;
	world_make(&w, 1 << 30,
		   (struct reader_config){.fill_after_bytes = 4 << 20,
					  .serve_complete = true});
	v = ident(&w, 5, 50 * B);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	read_start(s, &a, 5, 0, 4096);
	assert_int_equal(read_wait(&a), 0);
	assert_true(version_complete(stream_version(s)));
	assert_int_equal(FAKE_GET(w.fetch, blocks_asked), 50);
	reader_close(s);
	world_free(&w);
}

static void read_all(struct stream *s, uint64_t id, uint64_t size)
{
	for (uint64_t at = 0; at < size; at += 131072)
		assert_int_equal(
			read_now(s, id, at,
				 at + 131072 < size ? 131072
						    : (uint32_t)(size - at)),
			0);
}

/* C5: larger than the capacity: readable to the last byte, nothing is evicted
 * for it, and memory stays bounded. R9 gives way. */
static void larger_than_the_cache(void **state)
{
	for (int complete = 0; complete < 2; complete++) {
		struct world w;
		struct version_ident small, large;
		struct cache_stats cs;
		struct reader_stats rs;
		struct stream *s;

		(void)state;
		world_make(&w, 3 << 20,
			   (struct reader_config){
				   .fill_after_bytes = 0,
				   .look_ahead_bytes = 16 * B,
				   .serve_complete = complete});
		small = ident(&w, 5, 16 * B);
		large = ident(&w, 6, 300 * B + 1);
		assert_int_equal(reader_open(w.reader, &small, &s), 0);
		read_all(s, 5, 16 * B);
		EVENTUALLY(version_complete(stream_version(s)));
		reader_close(s);
		assert_int_equal(reader_open(w.reader, &large, &s), 0);
		read_all(s, 6, 300 * B + 1);
		assert_true(buf_pool_used(w.fetch->bufs) <= 64 * B);
		reader_close(s);
		cache_stats(w.cache, &cs);
		reader_stats(w.reader, &rs);
		assert_int_equal(cs.evicted, 0);
		assert_true(cs.used_bytes <= 3 << 20);
		assert_true(rs.from_memory > 0);
		world_free(&w);
	}
}

/* R7: the count goes on over closes, as an NFS server makes them; and an idle
 * stream keeps no space. */
static void reading_is_counted_over_closes(void **state)
{
	struct world w;
	struct version_ident v;
	struct stream *s;

	(void)state;
	world_make(&w, 1 << 30,
		   (struct reader_config){.fill_after_bytes = 3 * B});
	v = ident(&w, 5, 50 * B);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(reader_open(w.reader, &v, &s), 0);
		assert_int_equal(read_now(s, 5, (uint64_t)i * B, 65536), 0);
		reader_close(s);
		EVENTUALLY(streams(&w) == 0);
	}
	assert_int_equal(FAKE_GET(w.fetch, blocks_asked), 2);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	assert_int_equal(read_now(s, 5, 2 * B, 65536), 0);
	EVENTUALLY(version_complete(stream_version(s)));
	reader_close(s);
	EVENTUALLY(streams(&w) == 0);
	assert_int_equal(cache_evict(w.cache, 5, NULL, false, NULL), 0);
	world_free(&w);
}

static void prefetch_ends_once(void **state)
{
	struct a_prefetch p[4] = {0};
	struct prefetch *h[4];
	struct version_ident v, big;
	struct cache_stats cs;
	struct world w;

	(void)state;
	for (int i = 0; i < 4; i++)
		pthread_mutex_init(&p[i].mutex, NULL);
	world_make(&w, 8 << 20, (struct reader_config){.fill_after_bytes = 0});
	v = ident(&w, 5, 60 * B);
	big = ident(&w, 6, 600 * B);
	/* done; again when complete */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(reader_prefetch(w.reader, &v, 1,
						 CLASS_PREFETCH, &p_owner,
						 &p[i], &h[i]),
				 0);
		EVENTUALLY(p_ends(&p[i]));
		assert_int_equal(p[i].error, 0);
		assert_int_equal(p[i].stored, 60 * B);
	}
	assert_int_equal(FAKE_GET(w.fetch, blocks_asked), 60);
	/* does not fit: refused, nothing evicted */
	assert_int_equal(reader_prefetch(w.reader, &big, 2, CLASS_PREFETCH,
					 &p_owner, &p[2], &h[2]),
			 0);
	EVENTUALLY(p_ends(&p[2]));
	assert_int_equal(p[2].error, -ENOSPC);
	cache_stats(w.cache, &cs);
	assert_int_equal(cs.evicted, 0);
	/* cancelled */
	EVENTUALLY(streams(&w) == 0);
	assert_int_equal(cache_evict(w.cache, 5, NULL, false, NULL), 0);
	FAKE_SET(w.fetch, paused, true);
	assert_int_equal(reader_prefetch(w.reader, &v, 3, CLASS_PREFETCH,
					 &p_owner, &p[3], &h[3]),
			 0);
	reader_prefetch_cancel(w.reader, h[3]);
	EVENTUALLY(p_ends(&p[3]));
	assert_int_equal(p[3].error, -ECANCELED);
	world_free(&w);
	for (int i = 0; i < 4; i++)
		assert_int_equal(p[i].ends, 1);
}

static pthread_mutex_t committing = PTHREAD_MUTEX_INITIALIZER;

static int slow_commit(const char *name)
{
	if (strcmp(name, "flush.commit") == 0) {
		pthread_mutex_lock(&committing);
		pthread_mutex_unlock(&committing);
	}
	return 0;
}

/* "Staged" is still true after a power cut (C1): it is said once the bits are
 * durable, not when the last block was verified. */
static void prefetch_ends_when_durable(void **state)
{
	struct a_prefetch p = {0};
	struct prefetch *h;
	struct version_ident v;
	struct version_info info;
	struct version *ver;
	struct world w;

	(void)state;
	pthread_mutex_init(&p.mutex, NULL);
	world_make(&w, 8 << 20, (struct reader_config){.fill_after_bytes = 0});
	v = ident(&w, 5, 20 * B);
	assert_int_equal(cache_get(w.cache, &v, &ver), 0);
	pthread_mutex_lock(&committing);
	__atomic_store_n(&cache_test_point, slow_commit, __ATOMIC_RELEASE);
	assert_int_equal(reader_prefetch(w.reader, &v, 1, CLASS_PREFETCH,
					 &p_owner, &p, &h), 0);
	EVENTUALLY(version_complete(ver));
	usleep(600000); /* two ticks of the pump */
	assert_int_equal(p_ends(&p), 0);
	pthread_mutex_unlock(&committing);
	EVENTUALLY(p_ends(&p));
	assert_int_equal(p.error, 0);
	assert_int_equal(cache_info(w.cache, 5, &info), 0);
	assert_true(info.complete);
	__atomic_store_n(&cache_test_point, NULL, __ATOMIC_RELEASE);
	version_put(ver);
	world_free(&w);
}

/* Shutdown with everything under way answers all and leaks nothing. */
static void free_while_busy(void **state)
{
	static struct a_read a[100];
	struct a_prefetch p = {0};
	struct prefetch *h;
	struct version_ident v, v2;
	struct stream *s;
	struct world w;

	(void)state;
	pthread_mutex_init(&p.mutex, NULL);
	world_make(&w, 1 << 30, (struct reader_config){.fill_after_bytes = 0});
	v = ident(&w, 5, 100 * B);
	v2 = ident(&w, 6, 100 * B);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	assert_int_equal(read_now(s, 5, 0, 10), 0);
	FAKE_SET(w.fetch, paused, true);
	for (unsigned i = 0; i < 100; i++)
		read_start(s, &a[i], 5, (99 - i) * B, 65536);
	assert_int_equal(reader_prefetch(w.reader, &v2, 3, CLASS_PREFETCH,
					 &p_owner, &p, &h),
			 0);
	usleep(20000);
	reader_close(s);
	world_free(&w);
	for (unsigned i = 0; i < 100; i++)
		read_wait(&a[i]);
	assert_int_equal(p.ends, 1);
}

/* ---- storm: readers, seeks, cancels, a cache far too small --------------- */

struct storm {
	struct world *w;
	struct version_ident *v;
	unsigned n, seed;
	int wrong, failed;
};

static void *storm_main(void *ctx)
{
	struct storm *st = ctx;

	for (int round = 0; round < 60; round++) {
		struct version_ident *v =
			&st->v[(unsigned)rand_r(&st->seed) % st->n];
		struct a_read a[6];
		struct stream *s;
		unsigned n = 1 + (unsigned)rand_r(&st->seed) % 6;

		if (reader_open(st->w->reader, v, &s)) {
			st->failed++;
			continue;
		}
		for (unsigned i = 0; i < n; i++) {
			uint64_t at = (uint64_t)rand_r(&st->seed) %
				      v->size_bytes;
			uint32_t size = 1 + (uint32_t)rand_r(&st->seed) %
						    300000;

			if (at + size > v->size_bytes)
				size = (uint32_t)(v->size_bytes - at);
			read_start(s, &a[i], v->id, at, size);
		}
		if (rand_r(&st->seed) % 4 == 0)
			stream_cancel(s, &a[0].req, -EINTR);
		for (unsigned i = 0; i < n; i++) {
			pthread_mutex_lock(&a[i].mutex);
			while (!a[i].answers)
				pthread_cond_wait(&a[i].cond, &a[i].mutex);
			if (a[i].error && a[i].error != -EINTR)
				st->failed++;
			if (!a[i].error && !a[i].right)
				st->wrong++;
			pthread_mutex_unlock(&a[i].mutex);
		}
		reader_close(s);
	}
	return NULL;
}

static void storm(void **state)
{
	struct version_ident v[10];
	struct storm st[6];
	pthread_t thread[6];
	struct cache_stats cs;
	struct world w;

	(void)state;
	world_make(&w, 6 << 20,
		   (struct reader_config){.fill_after_bytes = 4 * B,
					  .look_ahead_bytes = 8 * B});
	FAKE_SET(w.fetch, shuffle, true);
	for (unsigned i = 0; i < 10; i++)
		v[i] = ident(&w, 10 + i, (10 + 7 * i) * B + i);
	for (unsigned i = 0; i < 6; i++) {
		st[i] = (struct storm){
			.w = &w, .v = v, .n = 10, .seed = i + 1};
		pthread_create(&thread[i], NULL, storm_main, &st[i]);
	}
	for (unsigned i = 0; i < 6; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(st[i].wrong, 0);
		assert_int_equal(st[i].failed, 0);
	}
	cache_stats(w.cache, &cs);
	assert_true(cs.used_bytes + cs.reserved_bytes <= cs.capacity_bytes);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_is_touched),
		cmocka_unit_test(many_readers_one_fetch),
		cmocka_unit_test(looks_do_not_add_up),
		cmocka_unit_test(fill_goes_on_alone),
		cmocka_unit_test(far_seek_goes_first),
		cmocka_unit_test(out_of_reach_times_out),
		cmocka_unit_test(cancelled_read_is_answered_once),
		cmocka_unit_test(lost_blocks_are_errors_not_bytes),
		cmocka_unit_test(serve_complete_waits_for_all),
		cmocka_unit_test(larger_than_the_cache),
		cmocka_unit_test(reading_is_counted_over_closes),
		cmocka_unit_test(prefetch_ends_once),
		cmocka_unit_test(prefetch_ends_when_durable),
		cmocka_unit_test(free_while_busy),
		cmocka_unit_test(storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
