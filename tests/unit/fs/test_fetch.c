/* SPDX-License-Identifier: Apache-2.0 */
/* test_fetch.c - windows and manifests, right and over every obstacle. */
#include "fetch_origin.h"

static void test_whole_image(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	struct fetch_stats st;

	(void)state;
	start(x, &x->w, 0, N_BLOCKS, CLASS_FILL);
	wait_end(&x->w);
	all_there(&x->w, 0, N_BLOCKS);
	st = stats_of(x);
	assert_int_equal(st.bytes[CLASS_FILL], LENGTH);
	assert_int_equal(st.requests[CLASS_FILL], 1);
	assert_int_equal(st.retries, 0);
	assert_int_equal(st.in_flight, 0);
	assert_int_equal(st.buffers_bytes, 0);
	assert_int_equal(atomic_load(&x->o[0].bytes), LENGTH);
	fix_free(x);
}

/* One after the other: one connection, kept. */
static void test_connection_is_kept(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});

	(void)state;
	for (uint64_t i = 0; i < 10; i++) {
		struct win w;

		win_init(&w);
		start(x, &w, i * 4, 4, CLASS_DEMAND);
		wait_end(&w);
		all_there(&w, i * 4, 4);
		win_free(&w);
	}
	assert_int_equal(atomic_load(&x->o[0].m.connections), 1);
	fix_free(x);
}

/* Each fault once or twice, then the source is good: the window comes, right,
 * and verified blocks are not fetched again. */
static void test_faults_are_overcome(void **state)
{
	static const struct {
		enum fault fault;
		int times;
		unsigned retries_min, retries_max;
	} t[] = {
		{STATUS_200, 2, 2, 2},	 {STATUS_503, 2, 2, 2},
		{WRONG_RANGE, 1, 1, 1},	 {WRONG_TOTAL, 1, 1, 1},
		{NO_RANGE, 1, 1, 1},	 {TWO_RANGES, 1, 1, 1},
		{WRONG_LENGTH, 1, 1, 1}, {SHORT, 2, 2, 2},
		{RESET, 2, 2, 2},	 {GZIP, 1, 1, 1},
		{LOOP, 4, 1, 1},	 {TO_FTP, 1, 1, 1},
		{GARBAGE, 1, 1, 1},	 {NOTHING, 1, 1, 1},
		{HEADERS, 1, 1, 1},
		/* The end of the last block may come with what is too much,
		 * and is refused with it: a second one. */
		{LONGER, 2, 1, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct fix *x = fix_new(&(struct params){.origins = 1});
		struct fetch_stats st;

		print_message("fault %d\n", (int)t[i].fault);
		atomic_store(&x->o[0].fault, (int)t[i].fault);
		atomic_store(&x->o[0].times, t[i].times);
		start(x, &x->w, 3, 20, CLASS_DEMAND);
		wait_end(&x->w);
		all_there(&x->w, 3, 20);
		st = stats_of(x);
		assert_in_range(st.retries, t[i].retries_min,
				t[i].retries_max);
		if (t[i].fault == STATUS_200 || t[i].fault == STATUS_503)
			assert_int_equal(st.wrong_status, t[i].times);
		if (t[i].fault >= WRONG_RANGE && t[i].fault <= WRONG_LENGTH)
			assert_int_equal(st.wrong_range, t[i].times);
		if (t[i].fault == SHORT) {
			/* Half, then half of the half, then the rest: what
			 * was a whole block by then came once. */
			assert_int_equal(st.short_body, 2);
			assert_true(atomic_load(&x->o[0].bytes) <=
				    22 * (uint64_t)BLOCK);
		}
		fix_free(x);
	}
}

static void test_redirect_is_followed(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});

	(void)state;
	atomic_store(&x->o[0].fault, MOVED);
	atomic_store(&x->o[0].times, -1);
	start(x, &x->w, 0, N_BLOCKS, CLASS_DEMAND);
	wait_end(&x->w);
	all_there(&x->w, 0, N_BLOCKS);
	assert_int_equal(stats_of(x).retries, 0);
	fix_free(x);
}

static void test_stall(void **state)
{
	static const enum fault faults[] = {STALL, TRICKLE, STALL_ERROR};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct fix *x = fix_new(&(struct params){.origins = 1,
							 .stall_ms = 150});

		atomic_store(&x->o[0].fault, (int)faults[i]);
		atomic_store(&x->o[0].times, 1);
		start(x, &x->w, 0, 8, CLASS_DEMAND);
		wait_end(&x->w);
		all_there(&x->w, 0, 8);
		assert_true(stats_of(x).retries > 0);
		fix_free(x);
	}
}

/* R1: wrong bytes, right bytes of another place: the second source is asked,
 * the first no more. */
static void test_liar_is_left_out(void **state)
{
	static const enum fault faults[] = {FLIP, SHIFT};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fix *x = fix_new(&(struct params){.origins = 2});
		struct source_state st;
		unsigned before;
		struct win w;

		atomic_store(&x->o[0].fault, (int)faults[i]);
		atomic_store(&x->o[0].times, -1);
		start(x, &x->w, 0, 16, CLASS_FILL);
		wait_end(&x->w);
		all_there(&x->w, 0, 16);
		assert_true(stats_of(x).blocks_bad > 0);
		sources_state(x->sources, 0, &st);
		assert_true(st.bad_blocks > 0);
		before = atomic_load(&x->o[0].m.requests);
		win_init(&w);
		start(x, &w, 20, 4, CLASS_DEMAND);
		wait_end(&w);
		all_there(&w, 20, 4);
		assert_int_equal(atomic_load(&x->o[0].m.requests), before);
		win_free(&w);
		fix_free(x);
	}
}

/* One bit that flips on the way from the only source is repaired. */
static void test_one_flip_is_repaired(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});

	(void)state;
	atomic_store(&x->o[0].fault, FLIP);
	atomic_store(&x->o[0].times, 1);
	start(x, &x->w, 0, 16, CLASS_DEMAND);
	wait_end(&x->w);
	all_there(&x->w, 0, 16);
	assert_int_equal(stats_of(x).blocks_bad, 1);
	fix_free(x);
}

static void test_all_lie(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 2});

	(void)state;
	for (int i = 0; i < 2; i++) {
		atomic_store(&x->o[i].fault, SHIFT);
		atomic_store(&x->o[i].times, -1);
	}
	start(x, &x->w, 0, 4, CLASS_DEMAND);
	wait_end(&x->w);
	assert_int_equal(x->w.n_blocks, 0);
	assert_int_equal(x->w.n_lost, 4);
	assert_int_equal(x->w.error, -EIO);
	fix_free(x);
}

static void test_absent(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 2});
	struct win w;

	(void)state;
	/* On one of two: the other has it. */
	atomic_store(&x->o[0].fault, STATUS_404);
	atomic_store(&x->o[0].times, -1);
	start(x, &x->w, 0, 4, CLASS_DEMAND);
	wait_end(&x->w);
	all_there(&x->w, 0, 4);
	/* On both. */
	atomic_store(&x->o[1].fault, STATUS_404);
	atomic_store(&x->o[1].times, -1);
	win_init(&w);
	start(x, &w, 4, 5, CLASS_DEMAND);
	wait_end(&w);
	assert_int_equal(w.n_lost, 5);
	assert_int_equal(w.error, -ENOENT);
	assert_true(sources_reachable(x->sources));
	win_free(&w);
	fix_free(x);
}

/* The second source takes over in the middle of a window. */
static void test_switch_in_mid_window(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 2});

	(void)state;
	atomic_store(&x->o[0].fault, RESET);
	atomic_store(&x->o[0].times, -1);
	start(x, &x->w, 0, N_BLOCKS, CLASS_DEMAND);
	wait_end(&x->w);
	all_there(&x->w, 0, N_BLOCKS);
	assert_true(atomic_load(&x->o[0].bytes) > 0);
	assert_true(atomic_load(&x->o[1].bytes) > 0);
	fix_free(x);
}

/* Refused, then there: the window waits for it, whoever that takes. */
static void test_origin_returns(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	uint16_t port = x->o[0].m.port;
	uint64_t until = clock_mono_ns() + PATIENCE_NS;

	(void)state;
	mini_stop(&x->o[0].m);
	start(x, &x->w, 0, 8, CLASS_DEMAND);
	while (sources_reachable(x->sources) && clock_mono_ns() < until)
		usleep(5000);
	assert_false(sources_reachable(x->sources));
	assert_int_equal(x->w.ended, 0);
	assert_int_equal(mini_start_at(&x->o[0].m, port, handle, &x->o[0]), 0);
	wait_end(&x->w);
	all_there(&x->w, 0, 8);
	assert_true(sources_reachable(x->sources));
	fix_free(x);
}

/* ---- manifests ------------------------------------------------------- */

struct doc {
	struct lock lock;
	struct wait_cond cond;
	struct manifest *m;
	int error;
	unsigned n;
};

static void on_manifest(void *ctx, struct manifest *m, int error)
{
	struct doc *d = ctx;

	LOCK_SCOPE(&d->lock);
	d->m = m;
	d->error = error;
	d->n++;
	cond_wake_all(&d->cond);
}

static void doc_wait(struct doc *d)
{
	uint64_t until = clock_mono_ns() + PATIENCE_NS;

	lock_take(&d->lock);
	while (!d->n)
		if (cond_wait_until(&d->cond, &d->lock, until))
			break;
	lock_give(&d->lock);
	assert_int_equal(d->n, 1);
}

static int doc_get(struct fix *x, const struct digest *digest)
{
	struct doc d = {0};

	lock_init(&d.lock, 1000);
	cond_init(&d.cond);
	assert_true(fetch_manifest(x->f, digest, CLASS_DEMAND, on_manifest,
				   &d) > 0);
	doc_wait(&d);
	if (d.error == 0) {
		assert_non_null(d.m);
		assert_true(digest_equal(&d.m->digest, digest));
		assert_int_equal(d.m->n_blocks, N_BLOCKS);
		manifest_free(d.m);
	} else {
		assert_null(d.m);
	}
	lock_destroy(&d.lock);
	cond_destroy(&d.cond);
	return d.error;
}

static void test_manifest(void **state)
{
	static const enum fault faults[] = {
		OK, SHORT, RESET, GZIP, STATUS_503, GARBAGE, LOOP, HEADERS,
	};
	struct digest other = {{1}};
	struct source_state st;

	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		struct fix *x = fix_new(&(struct params){.origins = 1});

		atomic_store(&x->o[0].fault, (int)faults[i]);
		atomic_store(&x->o[0].times, faults[i] == LOOP ? 4 : 1);
		assert_int_equal(doc_get(x, &manifest->digest), 0);
		/* Told to its source, or it would be asked without a pause. */
		sources_state(x->sources, 0, &st);
		assert_int_equal(st.failures, faults[i] != OK);
		assert_int_equal(doc_get(x, &other), -ENOENT);
		fix_free(x);
	}
}

/* A manifest that is not the one whose digest was asked for. */
static void test_manifest_lies(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 2});

	(void)state;
	atomic_store(&x->o[0].fault, FLIP);
	atomic_store(&x->o[0].times, -1);
	assert_int_equal(doc_get(x, &manifest->digest), 0);
	fix_free(x);

	x = fix_new(&(struct params){.origins = 1});
	atomic_store(&x->o[0].fault, FLIP);
	atomic_store(&x->o[0].times, -1);
	assert_int_equal(doc_get(x, &manifest->digest), -EIO);
	fix_free(x);
}

static void test_manifest_cancel(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	struct doc d[2] = {{.error = 1}, {.error = 1}};
	uint64_t number;

	(void)state;
	atomic_store(&x->o[0].gate, true);
	for (int i = 0; i < 2; i++) {
		lock_init(&d[i].lock, 1000);
		cond_init(&d[i].cond);
	}
	number = fetch_manifest(x->f, &manifest->digest, CLASS_FILL,
				on_manifest, &d[0]);
	while (atomic_load(&x->o[0].m.requests) == 0)
		usleep(1000);
	fetch_manifest_cancel(x->f, number);
	doc_wait(&d[0]);
	assert_int_equal(d[0].error, -ECANCELED);
	fetch_manifest_cancel(x->f, number); /* late: harmless */
	fetch_manifest_cancel(x->f, 12345);
	fetch_manifest(x->f, &manifest->digest, CLASS_FILL, on_manifest, &d[1]);
	fetch_free(x->f);
	x->f = NULL;
	assert_int_equal(d[1].error, -ECANCELED);
	for (int i = 0; i < 2; i++) {
		lock_destroy(&d[i].lock);
		cond_destroy(&d[i].cond);
	}
	fix_free(x);
}

/* With an argument: only the tests that match it. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_image),
		cmocka_unit_test(test_connection_is_kept),
		cmocka_unit_test(test_faults_are_overcome),
		cmocka_unit_test(test_redirect_is_followed),
		cmocka_unit_test(test_stall),
		cmocka_unit_test(test_liar_is_left_out),
		cmocka_unit_test(test_one_flip_is_repaired),
		cmocka_unit_test(test_all_lie),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_switch_in_mid_window),
		cmocka_unit_test(test_origin_returns),
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_manifest_lies),
		cmocka_unit_test(test_manifest_cancel),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
