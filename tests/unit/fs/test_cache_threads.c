/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many threads on a cache that is too small for them: no deadlock, no lost
 * `again`, nobody starves, every byte read is right, and the accounts are in
 * bounds at any moment (C3). Meant for ThreadSanitizer as much as for itself.
 */
#include "cache_fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "common/lock.h"

#define N_IDS 12
#define N_WORKERS 6
#define ROUNDS 600

static struct cache *c;
static char *dir;
static unsigned stop; /* atomic */
static unsigned n_granted, n_again, n_refused, n_changed; /* atomic */

static uint64_t size_of_id(uint64_t id)
{
	return (1 + id % 6) * BLOCK - id * 100;
}

static void add(unsigned *n)
{
	__atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
}

static void changed(void *ctx, uint64_t id)
{
	struct version_info info;

	/* No lock is held: the cache may be asked from here. */
	(void)ctx;
	(void)cache_info(c, id, &info);
	add(&n_changed);
}

/* ---- waiting for `again` ------------------------------------------------- */

struct turn {
	struct lock lock;
	struct wait_cond cond;
	bool rung;
};

static void ring(void *ctx)
{
	struct turn *t = ctx;

	LOCK_SCOPE(&t->lock);
	t->rung = true;
	cond_wake_all(&t->cond);
}

static void wait_turn(struct turn *t)
{
	LOCK_SCOPE(&t->lock);
	while (!t->rung)
		cond_wait(&t->cond, &t->lock);
	t->rung = false;
}

static int reserve_patiently(struct version *v, uint64_t first, uint64_t n,
			     enum reserve_for why)
{
	struct turn t = {.rung = false};
	int r;

	lock_init(&t.lock, 1);
	cond_init(&t.cond);
	while ((r = version_reserve(v, first, n, why, ring, &t)) == -EAGAIN) {
		add(&n_again);
		wait_turn(&t);
	}
	cond_destroy(&t.cond);
	lock_destroy(&t.lock);
	return r;
}

/* ---- workers ------------------------------------------------------------- */

/* One at a time reserves and stores a version, as a stream would. */
static pthread_mutex_t filling[N_IDS + 1];

static void fill_some(struct version *v, unsigned *seed)
{
	uint64_t id = version_ident(v)->id, n = version_blocks(v), b;
	enum reserve_for why = rand_r(seed) % 2 ? RESERVE_READER
						 : RESERVE_PREFETCH;
	int r;

	pthread_mutex_lock(&filling[id]);
	b = version_next_missing(v, (uint64_t)rand_r(seed) % n, n);
	if (b < n) {
		n = version_next_stored(v, b, n) - b;
		r = reserve_patiently(v, b, n, why);
		if (r == 0) {
			add(&n_granted);
			for (uint64_t i = b; i < b + n; i++)
				if (rand_r(seed) % 8 && store(v, i) != 0)
					abort();
			version_unreserve(v, b, n);
		} else if (r == -ENOSPC) {
			add(&n_refused);
		} else {
			abort();
		}
	}
	pthread_mutex_unlock(&filling[id]);
}

static void read_some(struct version *v)
{
	uint64_t n = version_blocks(v);

	/* Pinned by its open: what is there stays. */
	for (uint64_t b = version_next_stored(v, 0, n); b < n;
	     b = version_next_stored(v, b + 1, n))
		if (!right(v, b))
			abort();
	if (version_next_stored(v, 0, n) < n && version_fd(v) < 0)
		abort();
}

static void *worker(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t id = 1 + (uint64_t)rand_r(&seed) % N_IDS;
		struct version *v = must_get(c, id, size_of_id(id));

		version_open(v);
		fill_some(v, &seed);
		read_some(v);
		version_close(v);
		version_put(v);
	}
	return NULL;
}

/* Takes away, holds and forgets what the others make. */
static void *meddler(void *arg)
{
	unsigned seed = 77;

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t id = 1 + (uint64_t)rand_r(&seed) % N_IDS;
		struct version_ident i = ident_of(id, size_of_id(id));
		struct version *v;

		switch (rand_r(&seed) % 6) {
		case 0:
			cache_evict(c, id, NULL, true, NULL);
			break;
		case 1:
			cache_hold(c, &i, rand_r(&seed) % 3
						  ? 0
						  : time(NULL) + 1000);
			break;
		case 2:
			cache_reclaim(c, BLOCK, NULL);
			break;
		case 3:
			if (cache_flush(c) != 0)
				abort();
			break;
		default:
			if (cache_find(c, id, &v) != 0)
				break;
			version_touch(v);
			version_put(v);
		}
		usleep(300);
	}
	return NULL;
}

static void *watcher(void *arg)
{
	struct version_info *l;
	struct cache_stats s;
	size_t n;

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		cache_stats(c, &s);
		if (s.used_bytes + s.reserved_bytes > s.capacity_bytes)
			abort();
		if (cache_list(c, &l, &n) != 0)
			abort();
		for (size_t i = 1; i < n; i++)
			if (l[i - 1].stored_seq >= l[i].stored_seq)
				abort();
		free(l);
		usleep(500);
	}
	return NULL;
}

static void too_many_for_the_room(void **state)
{
	pthread_t w[N_WORKERS], m, s;
	struct cache_config cfg;
	struct cache_stats end;

	(void)state;
	dir = scratch_dir();
	cfg = config_of(dir, capacity_for(20 * BLOCK + N_IDS * price(0)));
	cfg.flush_ms = 2;
	cfg.changed = changed;
	c = must_open(&cfg);
	for (int i = 0; i <= N_IDS; i++)
		pthread_mutex_init(&filling[i], NULL);
	for (uintptr_t i = 0; i < N_WORKERS; i++)
		pthread_create(&w[i], NULL, worker, (void *)(i + 1));
	pthread_create(&m, NULL, meddler, NULL);
	pthread_create(&s, NULL, watcher, NULL);
	for (int i = 0; i < N_WORKERS; i++)
		pthread_join(w[i], NULL);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(m, NULL);
	pthread_join(s, NULL);

	cache_stats(c, &end);
	assert_int_equal(end.reserved_bytes, 0);
	fprintf(stderr, "granted %u again %u refused %u changed %u evicted "
		"%llu\n", n_granted, n_again, n_refused, n_changed,
		(unsigned long long)end.evicted);
	assert_true(n_granted > 50 && n_again > 0 && n_changed > 50 &&
		    end.evicted > 10);
	cache_close(c);

	/* What it left is a cache, with right bytes. */
	c = must_open(&cfg);
	for (uint64_t id = 1; id <= N_IDS; id++) {
		struct version *v = must_get(c, id, size_of_id(id));

		read_some(v);
		version_put(v);
	}
	cache_close(c);
	scratch_remove(dir);
}

/* ---- fairness ------------------------------------------------------------ */

static void *nibbler(void *arg)
{
	uint64_t id = (uint64_t)(uintptr_t)arg, at = 0;
	struct version *v = must_get(c, id, 64 * BLOCK);

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (reserve_patiently(v, at, 1, RESERVE_READER) == 0)
			version_unreserve(v, at, 1);
		at = (at + 1) % 64;
	}
	version_put(v);
	return NULL;
}

/* One who needs nearly everything gets it, though small requests never end;
 * a promise that nobody comes for does not stay either. */
static void large_is_not_starved(void **state)
{
	uint64_t size = 16 * BLOCK;
	struct cache_config cfg;
	struct version *v;
	pthread_t n[2];

	(void)state;
	dir = scratch_dir();
	cfg = config_of(dir, capacity_for(price(size) + 3 * BLOCK +
					  3 * price(0) + MIB / 4));
	c = must_open(&cfg);
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&n[i], NULL, nibbler, (void *)(i + 50));
	for (uint64_t id = 1; id <= 10; id++) {
		v = must_get(c, id, size);
		assert_int_equal(reserve_patiently(v, 0, 16, RESERVE_READER),
				 0);
		for (uint64_t b = 0; b < 16; b++)
			assert_int_equal(store(v, b), 0);
		version_put(v);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(n[0], NULL);
	pthread_join(n[1], NULL);
	cache_close(c);
	scratch_remove(dir);
}

/* The same step by step, with the evictor stopped in the middle. */
static sem_t may_mark;

static int stop_at_mark(const char *name)
{
	if (strcmp(name, "evict.mark") == 0)
		sem_wait(&may_mark);
	return 0;
}

static void count_call(void *ctx)
{
	__atomic_add_fetch((unsigned *)ctx, 1, __ATOMIC_RELEASE);
}

static void wait_for(const unsigned *n, unsigned value)
{
	while (__atomic_load_n(n, __ATOMIC_ACQUIRE) < value)
		usleep(1000);
}

static void queue_and_promise(void **state)
{
	unsigned big_called = 0, small_called = 0, reader_called = 0;
	struct version *big, *small, *other;
	struct cache_config cfg;
	struct cache_stats s;

	(void)state;
	dir = scratch_dir();
	cfg = config_of(dir, capacity_for(price(8 * BLOCK) + 4 * BLOCK +
					  3 * price(0) + MIB / 4));
	sem_init(&may_mark, 0, 0);
	set_point(stop_at_mark);
	c = must_open(&cfg);
	assert_int_equal(fill_id(c, 1, 8 * BLOCK), 0);
	small = must_get(c, 3, 8 * BLOCK);
	other = must_get(c, 4, 8 * BLOCK);
	assert_int_equal(version_reserve(small, 0, 1, RESERVE_READER, NULL,
					 NULL), 0);
	assert_int_equal(version_reserve(other, 0, 1, RESERVE_READER, NULL,
					 NULL), 0);

	/* A prefetch waits for the first one's place: others of its rank
	 * queue behind it though there is room for them, readers do not. */
	big = must_get(c, 2, 12 * BLOCK);
	assert_int_equal(version_reserve(big, 0, 12, RESERVE_PREFETCH,
					 count_call, &big_called), -EAGAIN);
	assert_int_equal(version_reserve(small, 1, 1, RESERVE_PREFETCH,
					 count_call, &small_called), -EAGAIN);
	assert_int_equal(version_reserve(other, 1, 1, RESERVE_READER,
					 count_call, &reader_called), 0);
	version_unreserve(other, 1, 1);
	sem_post(&may_mark);
	wait_for(&big_called, 1);
	wait_for(&small_called, 1);
	assert_false(present(c, 1));

	/* What it is promised nobody else gets, until it asks. */
	cache_stats(c, &s);
	assert_true(s.free_bytes < 5 * BLOCK);
	assert_int_equal(version_reserve(other, 1, 5, RESERVE_READER,
					 count_call, &reader_called), -ENOSPC);
	assert_int_equal(version_reserve(big, 0, 12, RESERVE_PREFETCH,
					 count_call, &big_called), 0);
	assert_int_equal(version_reserve(small, 1, 1, RESERVE_PREFETCH,
					 count_call, &small_called), 0);
	assert_int_equal(big_called, 1);
	assert_int_equal(small_called, 1);
	assert_int_equal(reader_called, 0);
	version_unreserve(big, 0, 12);
	version_unreserve(small, 0, 8);
	version_unreserve(other, 0, 8);
	version_put(big);
	version_put(small);
	version_put(other);
	set_point(NULL);
	cache_close(c);
	scratch_remove(dir);
}

/* One who went away, or does not come, gives its promise back. */
static void promise_ends(void **state)
{
	uint64_t size = 8 * BLOCK;
	struct cache_config cfg;
	struct cache_stats s;
	struct version *v;

	(void)state;
	dir = scratch_dir();
	cfg = config_of(dir, capacity_for(price(size)));
	c = must_open(&cfg);
	for (int put_first = 0; put_first < 2; put_first++) {
		unsigned called = 0;

		assert_int_equal(fill_id(c, 1, size), 0);
		assert_int_equal(cache_flush(c), 0);
		v = must_get(c, 2, size);
		assert_int_equal(version_reserve(v, 0, 8, RESERVE_READER,
						 count_call, &called), -EAGAIN);
		if (put_first)
			version_put(v);
		wait_for(&called, 1);
		do {
			usleep(1000);
			cache_stats(c, &s);
		} while (s.free_bytes < price(size));
		if (!put_first)
			version_put(v);
	}
	cache_close(c);
	scratch_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(too_many_for_the_room),
		cmocka_unit_test(large_is_not_starved),
		cmocka_unit_test(queue_and_promise),
		cmocka_unit_test(promise_ends),
	};

	return cmocka_run_group_tests_name("cache threads", tests, NULL, NULL);
}
