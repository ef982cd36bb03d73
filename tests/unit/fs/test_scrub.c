/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scrub over a real cache on disk, mended by the reader from a fake
 * origin (C7); fills that outlive the process (R7).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "fs/read/scrub.h"
#include "tests/unit/fs/reader_world.h"

static bool readers_wait; /* atomic */

static int on_mend(void *ctx, const struct version_ident *v)
{
	return reader_fill(ctx, v);
}

static bool on_busy(void *ctx)
{
	(void)ctx;
	return __atomic_load_n(&readers_wait, __ATOMIC_RELAXED);
}

static struct scrub *start(struct world *w, uint64_t span_ms)
{
	const struct scrub_config cfg = {.cache = w->cache,
					 .span_ms = span_ms,
					 .mend = on_mend,
					 .busy = on_busy,
					 .ctx = w->reader};
	struct scrub *s;

	assert_int_equal(scrub_new(&cfg, &s), 0);
	return s;
}

static struct scrub_stats stats_of(struct scrub *s)
{
	struct scrub_stats st;

	scrub_stats(s, &st);
	return st;
}

static struct cache_stats cache_of(struct world *w)
{
	struct cache_stats st;

	cache_stats(w->cache, &st);
	return st;
}

static bool complete(struct world *w, uint64_t id)
{
	struct version_info info;

	return cache_info(w->cache, id, &info) == 0 && info.complete;
}

/* A complete image; nobody has it open. */
static struct version_ident stored(struct world *w, uint64_t id, uint64_t size)
{
	struct version_ident v = ident(w, id, size);

	assert_int_equal(reader_fill(w->reader, &v), 0);
	EVENTUALLY(complete(w, id));
	EVENTUALLY(streams(w) == 0);
	return v;
}

static int data_fd(struct world *w, uint64_t id)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/data/%" PRIu64, w->dir, id);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void spoil(struct world *w, uint64_t id, uint64_t block)
{
	int fd = data_fd(w, id);

	assert_int_equal(pwrite(fd, "spoilt", 6, (off_t)(block * B + 77)), 6);
	close(fd);
}

static bool file_is_right(struct world *w, uint64_t id, uint64_t size)
{
	uint8_t got[FAKE_BLOCK], want[FAKE_BLOCK];
	int fd = data_fd(w, id);
	bool right = true;

	for (uint64_t at = 0; at < size; at += B) {
		size_t n = size - at < B ? size - at : B;

		assert_int_equal(pread(fd, got, n, (off_t)at), n);
		fake_bytes(id, at, want, n);
		right = right && !memcmp(got, want, n);
	}
	close(fd);
	return right;
}

/* C7: found and mended in the file itself, wherever it is; what is right costs
 * no transfer. */
static void finds_and_mends(void **state)
{
	const uint64_t size = 20 * B + 100;
	struct scrub *s;
	struct world w;
	int asked;

	(void)state;
	world_make(&w, 1 << 30, (struct reader_config){.fill_after_bytes = 0});
	stored(&w, 5, size);
	stored(&w, 6, size);
	asked = FAKE_GET(w.fetch, blocks_asked);
	spoil(&w, 5, 0);
	spoil(&w, 6, 7);
	spoil(&w, 6, 20);
	s = start(&w, 200);
	EVENTUALLY(cache_of(&w).repaired_blocks == 3);
	EVENTUALLY(complete(&w, 5) && complete(&w, 6));
	EVENTUALLY(stats_of(s).rounds >= 2);
	assert_int_equal(stats_of(s).bad, 3);
	assert_true(stats_of(s).bytes >= 2 * size);
	assert_int_equal(FAKE_GET(w.fetch, blocks_asked), asked + 3);
	assert_true(file_is_right(&w, 5, size) && file_is_right(&w, 6, size));
	scrub_free(s);
	world_free(&w);
}

/* Of a version that nobody wanted whole the bad block is missing as others
 * are (R1, R7). */
static void part_of_an_image(void **state)
{
	struct version_ident v;
	struct stream *st;
	struct scrub *s;
	struct world w;

	(void)state;
	world_make(&w, 1 << 30,
		   (struct reader_config){.fill_after_bytes = UINT64_MAX});
	v = ident(&w, 5, 20 * B);
	assert_int_equal(reader_open(w.reader, &v, &st), 0);
	assert_int_equal(read_now(st, 5, 3 * B, 100), 0);
	assert_int_equal(read_now(st, 5, 9 * B, 100), 0);
	EVENTUALLY(version_has(stream_version(st), 3) &&
		   version_has(stream_version(st), 9));
	spoil(&w, 5, 3);
	s = start(&w, 100);
	EVENTUALLY(stats_of(s).bad == 1);
	EVENTUALLY(stats_of(s).rounds >= 2);
	assert_int_equal(FAKE_GET(w.fetch, blocks_asked), 2);
	assert_false(version_has(stream_version(st), 3));
	assert_int_equal(read_now(st, 5, 3 * B, 100), 0);
	EVENTUALLY(cache_of(&w).repaired_blocks == 1);
	reader_close(st);
	scrub_free(s);
	world_free(&w);
}

/* Its place outlives it: what was looked at is not looked at again before the
 * rest was. */
static void goes_on_where_it_was(void **state)
{
	const uint64_t blocks = 40;
	struct scrub_stats st;
	struct scrub *s;
	struct world w;
	uint64_t seen;

	(void)state;
	world_make(&w, 1 << 30, (struct reader_config){.fill_after_bytes = 0});
	for (uint64_t id = 2; id < 6; id++)
		stored(&w, id, blocks / 4 * B);
	s = start(&w, 4000);
	EVENTUALLY(stats_of(s).blocks >= 15);
	scrub_free(s);
	s = start(&w, 3600 * 1000);
	EVENTUALLY(stats_of(s).blocks >= 1);
	st = stats_of(s);
	assert_int_equal(st.total_bytes, blocks * B);
	assert_in_range(st.done_bytes, 16 * B, (blocks - 1) * B);
	seen = st.done_bytes / B;
	scrub_free(s);
	s = start(&w, 400);
	EVENTUALLY(stats_of(s).rounds == 1);
	assert_in_range(stats_of(s).blocks, 1, blocks - seen + 2);
	scrub_free(s);
	world_free(&w);
}

/* Readers first; but not for ever. */
static void yields_to_readers(void **state)
{
	struct scrub *s;
	struct world w;

	(void)state;
	world_make(&w, 1 << 30, (struct reader_config){.fill_after_bytes = 0});
	stored(&w, 2, 20 * B);
	__atomic_store_n(&readers_wait, true, __ATOMIC_RELAXED);
	s = start(&w, 10);
	usleep(300 * 1000);
	assert_int_equal(stats_of(s).blocks, 0);
	__atomic_store_n(&readers_wait, false, __ATOMIC_RELAXED);
	EVENTUALLY(stats_of(s).rounds >= 1);
	__atomic_store_n(&readers_wait, true, __ATOMIC_RELAXED);
	{
		uint64_t before = stats_of(s).blocks;

		EVENTUALLY(stats_of(s).blocks > before);
	}
	__atomic_store_n(&readers_wait, false, __ATOMIC_RELAXED);
	scrub_free(s);
	world_free(&w);
}

static void evenly(void **state)
{
	const uint64_t day_ns = UINT64_C(24) * 3600 * NS_PER_S;
	const uint64_t month_ms = 30 * day_ns / NS_PER_MS;

	(void)state;
	assert_int_equal(scrub_interval_ns(1000, 1, 10), 100 * NS_PER_MS);
	assert_int_equal(scrub_interval_ns(1000, 10, 0), NS_PER_S);
	assert_int_equal(scrub_interval_ns(1000, 0, 0), 0);
	/* A terabyte in a month: a block of a mebibyte every 2.5 s. */
	assert_in_range(scrub_interval_ns(month_ms, 1 << 20,
					  UINT64_C(1) << 40),
			2400 * NS_PER_MS, 2500 * NS_PER_MS);
	assert_in_range(scrub_interval_ns(366 * day_ns / NS_PER_MS, 1 << 20,
					  UINT64_C(1) << 50),
			29 * NS_PER_MS, 30 * NS_PER_MS);
}

/* Random bytes go bad in random places while images are read, evicted and
 * stored anew: in the end all that is stored is right, and each block that
 * was found bad and still belongs to something was stored again. */
static void storm(void **state)
{
	enum { IMAGES = 6, BLOCKS = 12 };
	struct version_ident v[IMAGES];
	struct scrub *s;
	struct world w;

	(void)state;
	srand(4711);
	world_make(&w, 1 << 30, (struct reader_config){.fill_after_bytes = 0});
	for (uint64_t i = 0; i < IMAGES; i++)
		v[i] = stored(&w, 2 + i, BLOCKS * B);
	s = start(&w, 20);
	for (int round = 0; round < 200; round++) {
		uint64_t i = (uint64_t)rand() % IMAGES;

		switch (rand() % 3) {
		case 0:
			(void)cache_evict(w.cache, v[i].id, NULL, true, NULL);
			break;
		case 1:
			assert_int_equal(reader_fill(w.reader, &v[i]), 0);
			break;
		default:
			if (complete(&w, v[i].id))
				spoil(&w, v[i].id, (uint64_t)rand() % BLOCKS);
		}
		usleep(1000);
	}
	for (uint64_t i = 0; i < IMAGES; i++)
		assert_int_equal(reader_fill(w.reader, &v[i]), 0);
	{
		uint64_t rounds = stats_of(s).rounds;

		EVENTUALLY(stats_of(s).rounds >= rounds + 2);
	}
	for (uint64_t i = 0; i < IMAGES; i++) {
		EVENTUALLY(complete(&w, v[i].id));
		assert_true(file_is_right(&w, v[i].id, BLOCKS * B));
	}
	assert_true(stats_of(s).bad > 0);
	scrub_free(s);
	world_free(&w);
}

/* R7: a fill that was under way goes on in the next process, with nobody who
 * reads; what was only looked at does not. */
static void fills_go_on(void **state)
{
	struct version_ident filled, touched;
	struct stream *st;
	struct world w;

	(void)state;
	world_make(&w, 1 << 30,
		   (struct reader_config){.fill_after_bytes = 4 * B});
	filled = ident(&w, 5, 40 * B);
	touched = ident(&w, 6, 40 * B);
	assert_int_equal(reader_open(w.reader, &touched, &st), 0);
	assert_int_equal(read_now(st, 6, 0, 100), 0);
	reader_close(st);
	assert_int_equal(reader_open(w.reader, &filled, &st), 0);
	for (uint64_t b = 0; b < 4; b++)
		assert_int_equal(read_now(st, 5, b * B, (uint32_t)B), 0);
	FAKE_SET(w.fetch, paused, true);
	assert_int_equal(reader_fill(w.reader, &filled), 0);
	assert_false(complete(&w, 5));
	reader_close(st);

	/* The next process: what is in the index is all it has. */
	reader_free(w.reader);
	cache_close(w.cache);
	FAKE_SET(w.fetch, paused, false);
	assert_int_equal(cache_open(&w.cc, &w.cache, NULL), 0);
	w.rc.cache = w.cache;
	assert_int_equal(reader_new(&w.rc, &w.reader), 0);
	reader_resume(w.reader);
	EVENTUALLY(complete(&w, 5));
	EVENTUALLY(streams(&w) == 0);
	assert_false(complete(&w, 6));
	assert_true(file_is_right(&w, 5, 40 * B));
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_and_mends),
		cmocka_unit_test(part_of_an_image),
		cmocka_unit_test(goes_on_where_it_was),
		cmocka_unit_test(yields_to_readers),
		cmocka_unit_test(evenly),
		cmocka_unit_test(storm),
		cmocka_unit_test(fills_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
