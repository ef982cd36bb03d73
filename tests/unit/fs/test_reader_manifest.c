/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a stream's manifest comes from, and that nobody else waits for it.
 */
#include "fs/cache/index_db.h"
#include "fs/cache/internal.h"
#include "tests/unit/fs/reader_world.h"

static const struct reader_config touch_only = {.fill_after_bytes =
							UINT64_MAX};

/* Stores one block, and has the manifest forgotten, but for the index. */
static void store_one(struct world *w, const struct version_ident *v)
{
	struct stream *s;

	assert_int_equal(reader_open(w->reader, v, &s), 0);
	assert_int_equal(read_now(s, v->id, 0, 4096), 0);
	EVENTUALLY(version_has(stream_version(s), 0));
	reader_close(s);
	EVENTUALLY(streams(w) == 0);
	assert_int_equal(cache_flush(w->cache), 0);
}

/* What is stored in part needs no origin for its manifest. */
static void manifest_from_the_index(void **state)
{
	struct version_ident v;
	struct stream *s;
	struct world w;

	(void)state;
	world_make(&w, 1 << 30, touch_only);
	v = ident(&w, 5, 8 * B);
	store_one(&w, &v);
	FAKE_SET(w.fetch, manifest_error, -EIO);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	assert_int_equal(read_now(s, 5, 3 * B, 4096), 0);
	reader_close(s);
	world_free(&w);
}

/* R3: the index is busy, as it is while the flusher commits on a slow disk.
 * Who needs it waits, and nobody else. */
static void busy_index_delays_no_other_image(void **state)
{
	struct version_ident a, b;
	struct stream *sa, *sb;
	struct world w;
	struct a_read r;

	(void)state;
	world_make(&w, 1 << 30, touch_only);
	a = ident(&w, 5, 8 * B);
	b = ident(&w, 6, 8 * B);
	store_one(&w, &a);
	assert_int_equal(reader_open(w.reader, &a, &sa), 0);
	assert_int_equal(reader_open(w.reader, &b, &sb), 0);
	assert_int_equal(read_now(sb, 6, 0, 4096), 0);
	EVENTUALLY(version_has(stream_version(sb), 0));
	assert_int_equal(cache_flush(w.cache), 0);

	index_enter(w.cache->index);
	read_start(sa, &r, 5, 3 * B, 4096);
	usleep(20000); /* that it is in the middle of it */
	assert_int_equal(read_now(sb, 6, 3 * B, 4096), 0);
	assert_int_equal(answers(&r), 0);
	index_leave(w.cache->index);
	assert_int_equal(read_wait(&r), 0);
	reader_close(sa);
	reader_close(sb);
	world_free(&w);
}

/* Images that were looked at while the origin was away are not asked for
 * when it is back, and keep nothing. */
static void nobody_waits_for_it_any_more(void **state)
{
	struct version_ident v;
	struct stream *s;
	struct world w;
	struct a_read r;

	(void)state;
	world_make(&w, 1 << 30, touch_only);
	v = ident(&w, 5, 8 * B);
	FAKE_SET(w.fetch, paused, true);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(reader_open(w.reader, &v, &s), 0);
		read_start(s, &r, 5, 0, 4096);
		EVENTUALLY(FAKE_GET(w.fetch, manifests) != NULL);
		stream_cancel(s, &r.req, -EINTR);
		assert_int_equal(read_wait(&r), -EINTR);
		reader_close(s);
		EVENTUALLY(streams(&w) == 0);
		assert_null(FAKE_GET(w.fetch, manifests));
	}
	/* Asked for anew by the next reader. */
	FAKE_SET(w.fetch, paused, false);
	assert_int_equal(reader_open(w.reader, &v, &s), 0);
	assert_int_equal(read_now(s, 5, 0, 4096), 0);
	reader_close(s);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manifest_from_the_index),
		cmocka_unit_test(busy_index_delays_no_other_image),
		cmocka_unit_test(nobody_waits_for_it_any_more),
	};

	return cmocka_run_group_tests_name("reader manifest", tests, NULL,
					   NULL);
}
