/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fetch_order.c - who goes first, who waits, and what happens to those
 * that are told to stop: classes, connections, buffers, promotion, cancelling.
 * Order is judged by what the server was asked, never by a clock.
 */
#include "fetch_origin.h"

/* A pool of four blocks, all kept by the owner: the transfer stands still,
 * without tripping the stall timer, and goes on when they come back. */
static void test_pool_runs_dry(void **state)
{
	struct fix *x = fix_new(&(struct params){
		.origins = 1, .memory_bytes = 4 * BLOCK, .stall_ms = 400});

	(void)state;
	atomic_store(&x->o[0].pace_us, 200);
	x->w.keep = true;
	start(x, &x->w, 0, N_BLOCKS, CLASS_DEMAND);
	wait_blocks(&x->w, 4);
	usleep(1000 * 1000);
	assert_int_equal(x->w.n_blocks, 4);
	assert_int_equal(stats_of(x).buffers_bytes, 4 * BLOCK);
	lock_take(&x->w.lock);
	x->w.keep = false;
	lock_give(&x->w.lock);
	for (unsigned i = 0; i < x->w.n_kept; i++)
		buf_put(x->w.kept[i]);
	wait_end(&x->w);
	all_there(&x->w, 0, N_BLOCKS);
	assert_int_equal(stats_of(x).stalls, 0);
	assert_int_equal(stats_of(x).retries, 0);
	fix_free(x);
}

/* A pool of one buffer is enough for all classes together. */
static void test_one_buffer(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .memory_bytes = BLOCK});
	struct win w[CLASS_COUNT];

	(void)state;
	atomic_store(&x->o[0].pace_us, 200);
	for (unsigned c = 0; c < CLASS_COUNT; c++) {
		win_init(&w[c]);
		start(x, &w[c], c * 10, 10, CLASS_PREFETCH - c);
	}
	for (unsigned c = 0; c < CLASS_COUNT; c++) {
		wait_end(&w[c]);
		all_there(&w[c], c * 10, 10);
		win_free(&w[c]);
	}
	fix_free(x);
}

static void test_cancel_in_every_state(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .connections = 1});
	struct fetch_window *a, *b;
	struct win w[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		win_init(&w[i]);
	/* in flight, no head yet; and queued behind it */
	atomic_store(&x->o[0].gate, true);
	a = start(x, &w[0], 0, 20, CLASS_DEMAND);
	b = start(x, &w[1], 20, 20, CLASS_DEMAND);
	while (atomic_load(&x->o[0].m.requests) == 0)
		usleep(1000);
	fetch_cancel(x->f, b);
	wait_end(&w[1]);
	assert_int_equal(w[1].n_blocks + w[1].n_lost, 0);
	fetch_cancel(x->f, a);
	wait_end(&w[0]);
	assert_int_equal(w[0].n_blocks, 0);
	/* in flight, half of it here */
	atomic_store(&x->o[0].pace_us, 5000);
	atomic_store(&x->o[0].gate, false);
	a = start(x, &w[2], 0, 40, CLASS_DEMAND);
	wait_blocks(&w[2], 3);
	fetch_cancel(x->f, a);
	wait_end(&w[2]);
	assert_true(w[2].n_blocks < 40);
	/* and the connection is free for the next */
	atomic_store(&x->o[0].pace_us, 0);
	start(x, &x->w, 0, 4, CLASS_DEMAND);
	wait_end(&x->w);
	assert_int_equal(stats_of(x).buffers_bytes, 0);
	for (int i = 0; i < 3; i++)
		win_free(&w[i]);
	fix_free(x);
}

/* Cancelled while it waits for a dead origin, and while it is dry. */
static void test_cancel_while_waiting(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .memory_bytes = 2 * BLOCK});
	struct fetch_window *a;
	struct win w;

	(void)state;
	x->w.keep = true;
	a = start(x, &x->w, 0, 8, CLASS_DEMAND);
	wait_blocks(&x->w, 2);
	fetch_cancel(x->f, a);
	wait_end(&x->w);
	for (unsigned i = 0; i < x->w.n_kept; i++)
		buf_put(x->w.kept[i]);
	atomic_store(&x->o[0].fault, STATUS_503);
	atomic_store(&x->o[0].times, -1);
	win_init(&w);
	a = start(x, &w, 0, 8, CLASS_DEMAND);
	while (stats_of(x).wrong_status < 3)
		usleep(1000);
	fetch_cancel(x->f, a);
	wait_end(&w);
	assert_int_equal(w.n_blocks + w.n_lost, 0);
	win_free(&w);
	fix_free(x);
}

/* R5: demand that comes last is done first; nothing below it starts. */
static void test_demand_first(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .connections = 2});
	struct win low[6], demand;

	(void)state;
	atomic_store(&x->o[0].pace_us, 2000);
	for (unsigned i = 0; i < 6; i++) {
		win_init(&low[i]);
		start(x, &low[i], i * 5, 5, i % 2 ? CLASS_PREFETCH
						  : CLASS_FILL);
	}
	wait_blocks(&low[0], 1);
	win_init(&demand);
	start(x, &demand, 35, 6, CLASS_DEMAND);
	wait_end(&demand);
	for (unsigned i = 0; i < 6; i++) {
		wait_end(&low[i]);
		all_there(&low[i], i * 5, 5);
	}
	for (unsigned i = 1; i < 6; i++)
		assert_true(place(x, i * 5) > place(x, 35));
	for (unsigned i = 0; i < 6; i += 2)
		for (unsigned k = 1; k < 6; k += 2)
			assert_true(place(x, i * 5) < place(x, k * 5));
	for (unsigned i = 0; i < 6; i++)
		win_free(&low[i]);
	win_free(&demand);
	fix_free(x);
}

/* R5 at block granularity: what runs stands still while demand is served. */
static void test_fill_pauses(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	struct origin *o = &x->o[0];
	struct win demand;
	unsigned before;

	(void)state;
	atomic_store(&o->pace_us, 3000);
	start(x, &x->w, 0, 30, CLASS_FILL);
	wait_blocks(&x->w, 2);
	atomic_store(&o->gate, true);
	win_init(&demand);
	start(x, &demand, 35, 2, CLASS_DEMAND);
	while (atomic_load(&o->m.requests) < 2)
		usleep(1000);
	usleep(50 * 1000);
	before = x->w.n_blocks;
	usleep(120 * 1000);
	assert_in_range(x->w.n_blocks, before, before + 3);
	atomic_store(&o->gate, false);
	wait_end(&demand);
	wait_end(&x->w);
	all_there(&x->w, 0, 30);
	/* Not even asked for again. */
	assert_int_equal(atomic_load(&o->class_seen[CLASS_FILL]), 1);
	win_free(&demand);
	fix_free(x);
}

/* R5: nothing below look-ahead is asked for while demand is in flight. */
static void test_fill_does_not_start(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	struct origin *o = &x->o[0];
	struct win w[4];

	(void)state;
	atomic_store(&o->gate, true);
	for (unsigned i = 0; i < 4; i++) {
		win_init(&w[i]);
		start(x, &w[i], i, 1, (enum wire_class)i);
		while (i == 0 && atomic_load(&o->m.requests) == 0)
			usleep(1000);
	}
	while (atomic_load(&o->m.requests) < 2)
		usleep(1000);
	usleep(50 * 1000);
	assert_int_equal(atomic_load(&o->m.requests), 2);
	assert_int_equal(stats_of(x).waiting, 2);
	atomic_store(&o->gate, false);
	for (unsigned i = 0; i < 4; i++) {
		wait_end(&w[i]);
		all_there(&w[i], i, 1);
		win_free(&w[i]);
	}
	fix_free(x);
}

/* The only buffer is half full with a fill when demand comes: the fill goes
 * on to the end of its block instead of pausing with it for ever. */
static void test_fill_gives_its_buffer(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .memory_bytes = BLOCK});
	struct win demand;

	(void)state;
	atomic_store(&x->o[0].pace_us, 20000);
	start(x, &x->w, 0, 2, CLASS_FILL);
	while (stats_of(x).buffers_bytes == 0)
		usleep(1000);
	win_init(&demand);
	start(x, &demand, 35, 1, CLASS_DEMAND);
	wait_end(&demand);
	assert_int_equal(x->w.ended, 0);
	wait_end(&x->w);
	all_there(&x->w, 0, 2);
	win_free(&demand);
	fix_free(x);
}

static void test_promote_queued(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .connections = 1});
	struct fetch_window *last = NULL;
	struct win w[5];

	(void)state;
	atomic_store(&x->o[0].gate, true);
	for (unsigned i = 0; i < 5; i++) {
		win_init(&w[i]);
		last = start(x, &w[i], i * 4, 4, CLASS_FILL);
		while (i == 0 && atomic_load(&x->o[0].m.requests) == 0)
			usleep(1000);
	}
	fetch_promote(x->f, last, CLASS_DEMAND);
	fetch_promote(x->f, last, CLASS_PREFETCH); /* never down */
	atomic_store(&x->o[0].gate, false);
	for (unsigned i = 0; i < 5; i++)
		wait_end(&w[i]);
	for (unsigned i = 1; i < 4; i++)
		assert_true(place(x, 16) < place(x, i * 4));
	assert_int_equal(atomic_load(&x->o[0].class_seen[CLASS_DEMAND]), 1);
	for (unsigned i = 0; i < 5; i++)
		win_free(&w[i]);
	fix_free(x);
}

/* A running fill that becomes demand is no longer paused for demand; a
 * running prefetch, which the origin holds back, is asked for anew. */
static void test_promote_running(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	struct origin *o = &x->o[0];
	struct fetch_window *fw;
	struct win w, held;

	(void)state;
	atomic_store(&o->pace_us, 3000);
	fw = start(x, &x->w, 0, 20, CLASS_FILL);
	wait_blocks(&x->w, 1);
	atomic_store(&o->gate, true);
	win_init(&held);
	start(x, &held, 35, 1, CLASS_DEMAND);
	while (atomic_load(&o->m.requests) < 2)
		usleep(1000);
	fetch_promote(x->f, fw, CLASS_DEMAND);
	wait_end(&x->w); /* while the other one waits */
	assert_int_equal(held.ended, 0);
	assert_int_equal(stats_of(x).retries, 0);
	atomic_store(&o->gate, false);
	wait_end(&held);

	win_init(&w);
	atomic_store(&o->pace_us, 20000);
	fw = start(x, &w, 0, 20, CLASS_PREFETCH);
	wait_blocks(&w, 1);
	fetch_promote(x->f, fw, CLASS_DEMAND);
	atomic_store(&o->pace_us, 0);
	wait_end(&w);
	all_there(&w, 0, 20);
	assert_int_equal(atomic_load(&o->class_seen[CLASS_PREFETCH]), 1);
	assert_int_equal(atomic_load(&o->class_seen[CLASS_DEMAND]), 2);
	win_free(&w);
	win_free(&held);
	fix_free(x);
}

/* R5: an origin that has no rate for prefetch now keeps it waiting; that is
 * no fault of the origin and in nobody's way. */
static void test_prefetch_is_held(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .stall_ms = 100});
	struct origin *o = &x->o[0];
	struct source_state st;
	struct win w;

	(void)state;
	atomic_store(&o->hold_prefetch, true);
	start(x, &x->w, 0, 8, CLASS_PREFETCH);
	while (atomic_load(&o->m.requests) < 1)
		usleep(1000);
	usleep(500000); /* five times what a stall is */
	win_init(&w);
	start(x, &w, 20, 4, CLASS_DEMAND);
	wait_end(&w);
	all_there(&w, 20, 4);
	sources_state(x->sources, 0, &st);
	assert_int_equal(st.failures, 0);
	assert_int_equal(stats_of(x).stalls, 0);
	assert_int_equal(stats_of(x).retries, 0);
	assert_int_equal(atomic_load(&o->m.requests), 2);
	assert_int_equal(x->w.ended, 0);
	atomic_store(&o->hold_prefetch, false);
	wait_end(&x->w);
	all_there(&x->w, 0, 8);
	win_free(&w);
	fix_free(x);
}

/* One that stops in the middle is asked for again, but its source is not
 * avoided for it. */
static void test_prefetch_stalls(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .stall_ms = 150});
	struct source_state st;

	(void)state;
	atomic_store(&x->o[0].fault, STALL);
	atomic_store(&x->o[0].times, 1);
	start(x, &x->w, 0, 8, CLASS_PREFETCH);
	wait_end(&x->w);
	all_there(&x->w, 0, 8);
	assert_int_equal(stats_of(x).stalls, 1);
	sources_state(x->sources, 0, &st);
	assert_int_equal(st.failures, 0);
	fix_free(x);
}

/* Demand finds a connection however much is below it. */
static void test_connections_are_left(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .connections = 8});
	struct win w[20], demand;
	unsigned c = 0;

	(void)state;
	atomic_store(&x->o[0].gate, true);
	for (unsigned i = 0; i < 20; i++) {
		win_init(&w[i]);
		start(x, &w[i], i, 1, CLASS_PREFETCH);
	}
	while (atomic_load(&x->o[0].m.requests) < 4)
		usleep(1000);
	usleep(20 * 1000);
	assert_int_equal(atomic_load(&x->o[0].m.requests), 4);
	assert_int_equal(stats_of(x).in_flight, 4);
	assert_int_equal(stats_of(x).waiting, 16);
	win_init(&demand);
	start(x, &demand, 30, 1, CLASS_DEMAND);
	while (atomic_load(&x->o[0].m.requests) < 5 && c++ < 10000)
		usleep(1000);
	assert_int_equal(atomic_load(&x->o[0].m.requests), 5);
	atomic_store(&x->o[0].gate, false);
	wait_end(&demand);
	for (unsigned i = 0; i < 20; i++) {
		wait_end(&w[i]);
		win_free(&w[i]);
	}
	win_free(&demand);
	fix_free(x);
}

/* Thousands of windows, some cancelled, some promoted, faults in between. */
static void test_thousands(void **state)
{
	enum { N = 3000 };
	struct fix *x = fix_new(&(struct params){.origins = 2,
						 .memory_bytes = 1u << 20});
	struct win *w = calloc(N, sizeof(*w));

	(void)state;
	atomic_store(&x->o[0].fault, RESET);
	atomic_store(&x->o[0].times, 5);
	for (unsigned i = 0; i < N; i++) {
		struct fetch_window *fw;

		win_init(&w[i]);
		/* Held, so that it is still there for promote and cancel. */
		if (i % 100 == 0)
			atomic_store(&x->o[0].gate, true);
		fw = start(x, &w[i], i % N_BLOCKS, 1,
			   (enum wire_class)(i % CLASS_COUNT));
		if (i % 100 == 1)
			fetch_promote(x->f, fw, CLASS_DEMAND);
		if (i % 100 == 2)
			fetch_cancel(x->f, fw);
		if (i % 100 == 2)
			atomic_store(&x->o[0].gate, false);
	}
	for (unsigned i = 0; i < N; i++) {
		wait_end(&w[i]);
		if (i % 100 != 2)
			all_there(&w[i], i % N_BLOCKS, 1);
		win_free(&w[i]);
	}
	assert_int_equal(stats_of(x).buffers_bytes, 0);
	free(w);
	fix_free(x);
}

/* fetch_free with everything under way: each window ends, once. */
static void test_free_in_flight(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .connections = 4});
	struct win w[30];

	(void)state;
	atomic_store(&x->o[0].pace_us, 2000);
	for (unsigned i = 0; i < 30; i++) {
		win_init(&w[i]);
		start(x, &w[i], 0, 10, (enum wire_class)(i % CLASS_COUNT));
	}
	wait_blocks(&w[0], 1);
	fetch_free(x->f);
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(w[i].ended, 1);
		assert_int_equal(w[i].wrong, 0);
		win_free(&w[i]);
	}
	x->f = NULL;
	fix_free(x);
}

/* With an argument: only the tests that match it. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pool_runs_dry),
		cmocka_unit_test(test_one_buffer),
		cmocka_unit_test(test_cancel_in_every_state),
		cmocka_unit_test(test_cancel_while_waiting),
		cmocka_unit_test(test_demand_first),
		cmocka_unit_test(test_fill_pauses),
		cmocka_unit_test(test_fill_does_not_start),
		cmocka_unit_test(test_fill_gives_its_buffer),
		cmocka_unit_test(test_promote_queued),
		cmocka_unit_test(test_promote_running),
		cmocka_unit_test(test_prefetch_is_held),
		cmocka_unit_test(test_prefetch_stalls),
		cmocka_unit_test(test_connections_are_left),
		cmocka_unit_test(test_thousands),
		cmocka_unit_test(test_free_in_flight),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
