/* SPDX-License-Identifier: Apache-2.0 */
/* The schedule: deadlines against one queue, ties, rates. */
#include "schedule_input.h"

static int by_deadline(const void *a, const void *b)
{
	const struct sched_want *x = a, *y = b;

	if (x->at_s != y->at_s)
		return x->at_s < y->at_s ? -1 : 1;
	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	return x->entry < y->entry ? -1 : 1;
}

/*
 * One line, room enough: one queue by deadline that starts now is the best
 * there is. Whatever the lead time, nothing may come late that is in time
 * there; and nothing begins before its lead time without need.
 */
static void test_no_deadline_is_missed(void **state)
{
	struct sched_server srv[3];
	unsigned tight = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		srv[i] = (struct sched_server){.name = "s", .known = true,
					       .seen_s = T0,
					       .capacity_bytes = 1u << 30,
					       .free_bytes = 1u << 30};
	for (int round = 0; round < 3000; round++) {
		struct sched_want w[10];
		struct rates r;
		struct sched_input in;
		struct schedule out;
		uint64_t bps, sum = 0;
		unsigned n;
		bool feasible = true;

		seed = 362436069u + (unsigned)round * 104729u;
		n = 1 + below(10);
		bps = 1 + below(20);
		r = constant(bps);
		in = world_input(&r);
		in.lead_s = below(60);
		for (unsigned i = 0; i < n; i++)
			w[i] = (struct sched_want){
				.entry = i + 1,
				.job = i + 1,
				.server = below(3),
				.image = "i",
				.id = i + 2,
				.size_bytes = 1 + below(300),
				.at_s = T0 + 1 + below(120),
				.until_s = T0 + 1000,
				.priority = below(3)};
		qsort(w, n, sizeof(w[0]), by_deadline);
		in.server = srv;
		in.n_servers = 3;
		in.want = w;
		in.n_wants = n;
		for (unsigned i = 0; i < n; i++) {
			sum += w[i].size_bytes;
			feasible = feasible &&
				   sum <= (uint64_t)(w[i].at_s - T0) * bps;
		}
		assert_int_equal(schedule(&in, &out), 0);
		for (unsigned i = 0; i < n && feasible; i++) {
			if (out.job[i].late_s)
				print_message("round %d want %u late %lld\n",
					      round, i,
					      (long long)out.job[i].late_s);
			assert_int_equal(out.job[i].late_s, 0);
			tight += out.job[i].start_s < w[i].at_s - in.lead_s;
		}
		for (unsigned i = 0; i < n; i++)
			assert_true(out.job[i].expected_s >= T0 + 1);
		schedule_clear(&out);
	}
	/* The worlds were such that the lead time alone did not do. */
	assert_true(tight > 100);
}

/* Same deadline: priority; same priority: the older entry. */
static void test_ties(void **state)
{
	struct rates r = constant(10);
	struct sched_input in = world_input(&r);
	struct sched_server srv = {.name = "s", .known = true, .seen_s = T0,
				   .capacity_bytes = 10000,
				   .free_bytes = 10000};
	struct sched_want w[3];
	struct schedule out;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		w[i] = (struct sched_want){.entry = 10 - i, .job = i + 1,
					   .id = i + 2, .image = "i",
					   .size_bytes = 100,
					   .at_s = T0 + 1000,
					   .until_s = T0 + 2000};
	w[1].priority = 7;
	in.server = &srv;
	in.n_servers = 1;
	in.want = w;
	in.n_wants = 3;
	assert_int_equal(schedule(&in, &out), 0);
	assert_int_equal(out.job[1].expected_s, T0 + 10); /* priority */
	assert_int_equal(out.job[2].expected_s, T0 + 20); /* entry 8 */
	assert_int_equal(out.job[0].expected_s, T0 + 30);
	assert_int_equal(out.n_actions, 3);
	assert_int_equal(out.action[0].id, 3);
	assert_int_equal(out.action[1].id, 4);
	schedule_clear(&out);
}

/* By night only, a server's own cap, and what others leave of the link. */
static void test_rates(void **state)
{
	struct rates night = {.n = 2, .zone = "UTC"}, cap = constant(5);
	struct sched_input in = world_input(&night);
	struct sched_server srv = {.name = "s", .known = true, .seen_s = T0,
				   .capacity_bytes = 100000,
				   .free_bytes = 100000};
	struct sched_want w = {.entry = 1, .job = 1, .id = 2, .image = "i",
			       .size_bytes = 7200,
			       .at_s = T0 + 20 * 3600,
			       .until_s = T0 + 90000};
	struct schedule out;

	(void)state;
	night.step[0].minute = 6 * 60;
	night.step[0].bps = 0;
	night.step[1].minute = 20 * 60;
	night.step[1].bps = 10;
	in.server = &srv;
	in.n_servers = 1;
	in.want = &w;
	in.n_wants = 1;
	assert_int_equal(schedule(&in, &out), 0);
	/* It is 08:00: from 20:00 on, 720 s. */
	assert_int_equal(out.job[0].expected_s, T0 + 12 * 3600 + 720);
	schedule_clear(&out);
	srv.rates = &cap;
	assert_int_equal(schedule(&in, &out), 0);
	assert_int_equal(out.job[0].expected_s, T0 + 12 * 3600 + 1440);
	schedule_clear(&out);
	/* A day-only table never gives it an end before it is due. */
	in.rates = NULL;
	srv.rates = NULL;
	in.link_bps = 100;
	in.demand_bps = 60;
	in.other_bps = 30;
	assert_int_equal(schedule(&in, &out), 0);
	assert_int_equal(out.job[0].expected_s, T0 + 720);
	schedule_clear(&out);
	/* ... and from the quarter of an hour on the whole link. */
	w.size_bytes = 9000 + 2000;
	assert_int_equal(schedule(&in, &out), 0);
	assert_int_equal(out.job[0].expected_s, T0 + 920);
	schedule_clear(&out);
	cap = constant(0);
	srv.rates = &cap;
	assert_int_equal(schedule(&in, &out), 0);
	assert_int_equal(out.job[0].expected_s, 0);
	assert_non_null(strstr(out.job[0].message, "no end"));
	schedule_clear(&out);
}

/* Room that only one of two can have: the later waits, and is told why. */
static void test_room_ahead(void **state)
{
	struct rates r = constant(10);
	struct sched_input in = world_input(&r);
	struct sched_image old = {.id = 9, .name = "old", .size_bytes = 30,
				  .stored_bytes = 30, .complete = true};
	struct sched_server srv = {.name = "s", .known = true, .seen_s = T0,
				   .capacity_bytes = 100, .free_bytes = 70,
				   .image = &old, .n_images = 1};
	struct sched_want w[2] = {
		{.entry = 1, .job = 1, .id = 2, .image = "one",
		 .size_bytes = 60, .at_s = T0 + 600, .until_s = T0 + 900},
		{.entry = 2, .job = 2, .id = 3, .image = "two",
		 .size_bytes = 60, .at_s = T0 + 800, .until_s = T0 + 2000}};
	struct schedule out;

	(void)state;
	in.server = &srv;
	in.n_servers = 1;
	in.want = w;
	in.n_wants = 2;
	assert_int_equal(schedule(&in, &out), 0);
	assert_int_equal(out.job[0].n_victims, 0);
	assert_int_equal(out.job[0].late_s, 0);
	/* 10 are left, `old` gives 30, `one` the rest when its hold ends. */
	assert_true(out.job[1].fits);
	assert_int_equal(out.job[1].start_s, T0 + 900);
	assert_int_equal(out.job[1].expected_s, T0 + 906);
	assert_int_equal(out.job[1].late_s, 106);
	assert_int_equal(out.job[1].n_victims, 2);
	assert_int_equal(out.victim[out.job[1].victim].id, 9);
	assert_int_equal(out.victim[out.job[1].victim + 1].id, 2);
	assert_non_null(strstr(out.job[1].message, "in the way: one (held)"));
	schedule_clear(&out);
	w[0].until_s = INT64_MAX;
	assert_int_equal(schedule(&in, &out), 0);
	assert_false(out.job[1].fits);
	assert_int_equal(out.job[1].expected_s, 0);
	schedule_clear(&out);
}

/* What a transfer under way has reserved is not missing a second time. */
static void test_reserved(void **state)
{
	struct rates r = constant(10);
	struct sched_input in = world_input(&r);
	struct sched_image image[2] = {
		{.id = 9, .name = "old", .size_bytes = 10, .stored_bytes = 10,
		 .complete = true},
		{.id = 2, .name = "one", .size_bytes = 60, .stored_bytes = 20,
		 .stored_seq = 1}};
	struct sched_server srv = {.name = "s", .known = true, .seen_s = T0,
				   .capacity_bytes = 100, .free_bytes = 30,
				   .reserved_bytes = 40, .image = image,
				   .n_images = 2};
	struct sched_want w[2] = {
		{.entry = 1, .job = 1, .id = 2, .image = "one",
		 .size_bytes = 60, .at_s = T0 + 600, .until_s = T0 + 9000},
		{.entry = 2, .job = 2, .id = 3, .image = "two",
		 .size_bytes = 30, .at_s = T0 + 800, .until_s = T0 + 9000}};
	struct sched_order o = {.number = 1, .kind = ORDER_PREFETCH, .id = 2,
				.job = 1, .sent = true, .message = ""};
	struct schedule out;

	(void)state;
	in.server = &srv;
	in.n_servers = 1;
	in.want = w;
	in.n_wants = 2;
	in.order = &o;
	in.n_orders = 1;
	assert_int_equal(schedule(&in, &out), 0);
	assert_int_equal(out.job[0].state, JOB_STAGING);
	assert_int_equal(out.job[0].expected_s, T0 + 4);
	assert_int_equal(out.job[1].n_victims, 0);
	assert_int_equal(out.n_actions, 1);
	assert_int_equal(out.action[0].kind, ORDER_PREFETCH);
	schedule_clear(&out);
	srv.reserved_bytes = 39; /* one is not: `old` has to go */
	assert_int_equal(schedule(&in, &out), 0);
	assert_int_equal(out.job[1].n_victims, 1);
	assert_int_equal(out.n_actions, 1);
	assert_int_equal(out.action[0].kind, ORDER_RECLAIM);
	assert_int_equal(out.action[0].bytes, 31);
	schedule_clear(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_deadline_is_missed),
		cmocka_unit_test(test_ties),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_room_ahead),
		cmocka_unit_test(test_reserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
