/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler on a real database: what a planner, an image engineer and the
 * servers do to it, and the orders and states that follow. */
#include "planworld.h"

static void test_waiting_staging_staged(void **state)
{
	uint64_t id = publish("a.wim", 600 * MB);
	int64_t e;

	(void)state;
	server("line3", 1000 * MB, 1000 * MB);
	e = plan("line3", "a.wim", T0 + 30 * H, T0 + 40 * H);
	run();
	expect_job(e, JOB_WAITING, NULL);
	assert_string_equal(orders("line3"), "");
	assert_int_equal(next, T0 + H); /* an hour at most */

	now = T0 + 6 * H; /* 24 h before */
	run();
	assert_string_equal(orders("line3"), "1 prefetch 2");
	expect_job(e, JOB_WAITING, NULL); /* not fetched yet */
	assert_int_equal(count("SELECT hold_until_s FROM orders"),
			 T0 + 40 * H);
	assert_int_equal(count("SELECT deadline_s FROM orders"), T0 + 30 * H);

	fetched("line3");
	run();
	expect_job(e, JOB_STAGING, NULL);
	/* 600 MB at 1 MB/s */
	assert_int_equal(count("SELECT expected_s FROM job"), now + 600);
	report("line3", 1, REPORT_RUNNING, 300 * MB, "");
	now += 300;
	run();
	expect_job(e, JOB_STAGING, NULL);
	assert_int_equal(count("SELECT expected_s FROM job"), now + 300);
	assert_int_equal(count("SELECT stored FROM job"), 300 * MB);

	now += 300;
	report("line3", 1, REPORT_DONE, 600 * MB, "");
	run();
	expect_job(e, JOB_STAGED, NULL);
	server("line3", 1000 * MB, 400 * MB);
	stores("line3", id, 600 * MB, 1, T0 + 40 * H);
	run();
	now += 60; /* now from the descriptor */
	run();
	expect_job(e, JOB_STAGED, NULL);
	now = T0 + 31 * H;
	run();
	expect_job(e, JOB_STAGED, NULL);
	assert_int_equal(count("SELECT count(*) FROM log WHERE event='staged'"),
			 1);
	now = T0 + 41 * H; /* over: nothing more happens */
	run();
	expect_job(e, JOB_STAGED, NULL);
	assert_int_equal(count("SELECT count(*) FROM orders"), 1);
}

/* "Staged" is what the descriptor shows, not what an order once said. */
static void test_lost_again(void **state)
{
	int64_t e;

	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 1000 * MB, 1000 * MB);
	e = plan("line3", "a.wim", T0 + H, T0 + 10 * H);
	run();
	fetched("line3");
	now += 600;
	report("line3", 1, REPORT_DONE, 600 * MB, "");
	run();
	expect_job(e, JOB_STAGED, NULL);
	now += 11; /* and it is not in the descriptor */
	run();
	expect_job(e, JOB_WAITING, NULL);
	assert_string_equal(orders("line3"), "2 prefetch 2");
}

static void test_late(void **state)
{
	int64_t e;

	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 1000 * MB, 1000 * MB);
	e = plan("line3", "a.wim", T0 + 120, 0);
	run();
	fetched("line3");
	run();
	expect_job(e, JOB_STAGING, NULL); /* known ahead: */
	assert_int_equal(count("SELECT expected_s-at_s FROM job"), 480);
	now = T0 + 120;
	run();
	expect_job(e, JOB_LATE, NULL);
	assert_int_equal(count("SELECT count(*) FROM log WHERE event='late'"),
			 1);
	now = T0 + 600;
	report("line3", 1, REPORT_DONE, 600 * MB, "");
	run();
	expect_job(e, JOB_STAGED, NULL);
	assert_int_equal(count("SELECT staged_s-at_s FROM job"), 480);
	assert_int_equal(count("SELECT count(*) FROM log WHERE event='staged'"
			       " AND text LIKE '%late by 8m%'"), 1);
}

static void test_never_staged(void **state)
{
	int64_t e;

	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 1000 * MB, 1000 * MB);
	e = plan("line3", "a.wim", T0 + 60, T0 + 120);
	run();
	now = T0 + 120;
	run();
	expect_job(e, JOB_FAILED, "was not staged before its end");
	assert_string_equal(orders("line3"), ""); /* cancelled */
}

static void test_failed_and_tried_again(void **state)
{
	int64_t e;

	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 1000 * MB, 1000 * MB);
	e = plan("line3", "a.wim", T0 + 10 * H, 0);
	run();
	fetched("line3");
	report("line3", 1, REPORT_FAILED, 0, "disk error");
	run();
	expect_job(e, JOB_FAILED, "order 1: disk error");
	assert_true(next <= now + 30);
	now += 30;
	run();
	assert_string_equal(orders("line3"), "2 prefetch 2");
	report("line3", 2, REPORT_FAILED, 0, "disk error");
	now += 30; /* twice as long now */
	run();
	assert_string_equal(orders("line3"), "");
	now += 30;
	run();
	assert_string_equal(orders("line3"), "3 prefetch 2");
}

/* Set back by two hours: what failed "in the future" is tried again all the
 * same, and what was done then is not believed without a descriptor. */
static void test_clock_set_back(void **state)
{
	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 1000 * MB, 1000 * MB);
	plan("line3", "a.wim", T0 + H, T0 + 10 * H);
	run();
	assert_string_equal(orders("line3"), "1 prefetch 2");
	report("line3", 1, REPORT_FAILED, 0, "disk error");
	now -= 2 * H;
	run();
	assert_string_equal(orders("line3"), "2 prefetch 2");
	now += 2 * H;
	report("line3", 2, REPORT_DONE, 600 * MB, "");
	now -= 2 * H;
	run();
	assert_string_equal(orders("line3"), "3 prefetch 2");
}

static void test_removed_entry(void **state)
{
	uint64_t id = publish("a.wim", 200 * MB);
	uint64_t other = publish("b.wim", 100 * MB);
	int64_t e, f;

	(void)state;
	server("line3", 1000 * MB, 1000 * MB);
	e = plan("line3", "a.wim", T0 + H, T0 + 10 * H);
	f = plan("line3", "b.wim", T0 + 2 * H, T0 + 10 * H);
	run();
	assert_string_equal(orders("line3"), "1 prefetch 2, 2 prefetch 3");
	fetched("line3");
	assert_int_equal(plan_remove(db, &e, 1, now, NULL), 0);
	run();
	assert_string_equal(orders("line3"), "2 prefetch 3, 3 cancel 1");
	report("line3", 3, REPORT_DONE, 0, "");
	report("line3", 2, REPORT_DONE, 100 * MB, "");
	stores("line3", id, 50 * MB, 1, T0 + 10 * H);
	stores("line3", other, 100 * MB, 2, T0 + 10 * H);
	run();
	/* what it left is not held any more */
	assert_string_equal(orders("line3"), "4 release 2");
	report("line3", 4, REPORT_DONE, 0, "");
	stores("line3", id, 50 * MB, 1, 0);
	now += 60;
	run();
	assert_string_equal(orders("line3"), "");
	expect_job(f, JOB_STAGED, NULL);
	assert_int_equal(plan_remove(db, &f, 1, now, NULL), 0);
	run();
	assert_string_equal(orders("line3"), "5 release 3");
	assert_int_equal(plan_remove(db, &f, 1, now, NULL), -ENOENT);
}

/* A hold by hand, or of nobody, is not the plan's to take away. */
static void test_foreign_hold(void **state)
{
	uint64_t id = publish("a.wim", 600 * MB);

	(void)state;
	server("line3", 1000 * MB, 400 * MB);
	stores("line3", id, 600 * MB, 1, T0 + 50 * H);
	run();
	assert_string_equal(orders("line3"), "");
	plan("line3", "a.wim", T0 + H, T0 + 10 * H);
	run();
	assert_string_equal(orders("line3"), "");
}

static void test_hold_is_the_longest(void **state)
{
	uint64_t id = publish("a.wim", 600 * MB);
	int64_t e;

	(void)state;
	server("line3", 1000 * MB, 400 * MB);
	stores("line3", id, 600 * MB, 1, 0);
	plan("line3", "a.wim", T0 + H, T0 + 10 * H);
	run();
	assert_string_equal(orders("line3"), "1 hold 2");
	report("line3", 1, REPORT_DONE, 0, "");
	stores("line3", id, 600 * MB, 1, T0 + 10 * H);
	e = plan("line3", "a.wim", T0 + 2 * H, T0 + 20 * H);
	run();
	assert_string_equal(orders("line3"), "2 hold 2");
	assert_int_equal(count("SELECT max(hold_until_s) FROM orders"),
			 T0 + 20 * H);
	report("line3", 2, REPORT_DONE, 0, "");
	stores("line3", id, 600 * MB, 1, T0 + 20 * H);
	now += 60;
	run();
	assert_string_equal(orders("line3"), "");
	plan_remove(db, &e, 1, now, NULL);
	run();
	assert_string_equal(orders("line3"), "3 hold 2");
	assert_int_equal(
		count("SELECT hold_until_s FROM orders WHERE number=3"),
		T0 + 10 * H);
}

static void test_replaced_image(void **state)
{
	int64_t e;
	uint64_t id;

	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 2000 * MB, 2000 * MB);
	e = plan("line3", "a.wim", T0 + 5 * H, T0 + 10 * H);
	run();
	fetched("line3");
	publish("a.wim", 700 * MB);
	run();
	assert_string_equal(orders("line3"), "2 cancel 1, 3 prefetch 3");
	fetched("line3");
	run();
	expect_job(e, JOB_STAGING, NULL);
	assert_int_equal(count("SELECT id FROM job"), 3);
	now += 700;
	report("line3", 2, REPORT_DONE, 0, "");
	report("line3", 3, REPORT_DONE, 700 * MB, "");
	stores("line3", 3, 700 * MB, 1, T0 + 10 * H);
	run();
	expect_job(e, JOB_STAGED, NULL);
	/* Staged, and replaced again: staged is the old one. */
	id = publish("a.wim", 100 * MB);
	run();
	assert_int_equal(id, 4);
	expect_job(e, JOB_WAITING, NULL);
	assert_string_equal(orders("line3"), "4 release 3, 5 prefetch 4");
	now += 100;
	report("line3", 5, REPORT_DONE, 100 * MB, "");
	run();
	expect_job(e, JOB_STAGED, NULL);
	assert_int_equal(count("SELECT staged_s FROM job"), now);
}

/* What a transfer under way has reserved is its own: neither missing twice,
 * nor free for the next. */
static void test_reserved(void **state)
{
	uint64_t a = publish("a.wim", 600 * MB);
	uint64_t old = publish("old.iso", 100 * MB);

	(void)state;
	publish("b.wim", 300 * MB);
	server("line3", 1000 * MB, 900 * MB);
	stores("line3", old, 100 * MB, 1, 0);
	plan("line3", "a.wim", T0 + 5 * H, T0 + 9 * H);
	run();
	fetched("line3");
	report("line3", 1, REPORT_RUNNING, 500 * MB, "");
	stores("line3", a, 500 * MB, 2, T0 + 9 * H);
	sql("UPDATE server SET reserved=100000000,free=300000000");
	plan("line3", "b.wim", T0 + 6 * H, T0 + 9 * H);
	run();
	/* 300 are free beside what is reserved: nothing has to go. */
	assert_string_equal(orders("line3"), "1 prefetch 2, 2 prefetch 4");
	publish("c.wim", 50 * MB);
	sql("UPDATE server SET reserved=400000000,free=0");
	plan("line3", "c.wim", T0 + 7 * H, T0 + 9 * H);
	run();
	/* All that is left is reserved. A reclaim asks for what is free. */
	assert_string_equal(orders("line3"), "1 prefetch 2, 2 prefetch 4");
	report("line3", 1, REPORT_DONE, 600 * MB, "");
	stores("line3", a, 600 * MB, 2, T0 + 9 * H);
	report("line3", 2, REPORT_RUNNING, 200 * MB, "");
	sql("UPDATE server SET reserved=100000000,free=0");
	run();
	assert_string_equal(orders("line3"),
			    "2 prefetch 4, 3 reclaim 50000000");
}

static void test_removed_image(void **state)
{
	int64_t e;

	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 1000 * MB, 1000 * MB);
	e = plan("line3", "a.wim", T0 + 5 * H, 0);
	run();
	sql("UPDATE node SET removed=1 WHERE name='a.wim'");
	run();
	expect_job(e, JOB_FAILED, "no image of this name");
	assert_string_equal(orders("line3"), "");
	publish("a.wim", 600 * MB);
	run();
	assert_string_equal(orders("line3"), "2 prefetch 3");
}

static void test_server_appears_later(void **state)
{
	int64_t e;

	(void)state;
	publish("a.wim", 600 * MB);
	e = plan("line3", "a.wim", T0 + H, T0 + 10 * H);
	run();
	expect_job(e, JOB_WAITING, "server line3 has not reported yet");
	assert_string_equal(orders("line3"), "");
	now = T0 + H;
	run();
	expect_job(e, JOB_LATE, "server line3 has not reported yet");
	server("line3", 1000 * MB, 1000 * MB);
	run();
	assert_string_equal(orders("line3"), "1 prefetch 2");
	now += 400; /* and is gone again */
	run();
	expect_job(e, JOB_LATE, "was last seen 6m");
}

static void test_room_is_made_first(void **state)
{
	uint64_t old = publish("old.iso", 500 * MB);
	uint64_t held = publish("held.iso", 300 * MB);
	int64_t e;

	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 1000 * MB, 200 * MB);
	stores("line3", held, 300 * MB, 1, T0 + 50 * H);
	stores("line3", old, 500 * MB, 2, 0);
	e = plan("line3", "a.wim", T0 + 5 * H, T0 + 9 * H);
	run();
	assert_string_equal(orders("line3"), "1 reclaim 600000000");
	expect_job(e, JOB_WAITING, "room is being made");
	fetched("line3");
	run();
	report("line3", 1, REPORT_DONE, 500 * MB, "");
	run(); /* the descriptor does not show it yet: wait */
	assert_string_equal(orders("line3"), "");
	sql("DELETE FROM server_image WHERE name='old.iso'");
	server("line3", 1000 * MB, 700 * MB);
	run();
	assert_string_equal(orders("line3"), "2 prefetch 4");
}

static void test_does_not_fit(void **state)
{
	uint64_t held = publish("held.iso", 700 * MB);
	int64_t e, f;

	(void)state;
	publish("huge.wim", 1001 * MB);
	publish("a.wim", 400 * MB);
	server("line3", 1000 * MB, 300 * MB);
	stores("line3", held, 700 * MB, 1, T0 + 30 * H);
	e = plan("line3", "huge.wim", T0 + 5 * H, 0);
	f = plan("line3", "a.wim", T0 + 6 * H, T0 + 60 * H);
	run();
	expect_job(e, JOB_FAILED,
		   "does not fit: needs 954.6M, capacity 953.7M");
	expect_job(f, JOB_WAITING, "held.iso (held)");
	assert_string_equal(orders("line3"), "");
	/* When the hold ends it will go. */
	assert_int_equal(count("SELECT start_s FROM job WHERE entry=2"),
			 T0 + 30 * H);
	now = T0 + 30 * H;
	run();
	assert_string_equal(orders("line3"), "1 reclaim 400000000");
}

static void test_reclaim_fails(void **state)
{
	uint64_t old = publish("old.iso", 900 * MB);
	int64_t e;

	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 1000 * MB, 100 * MB);
	stores("line3", old, 900 * MB, 2, 0);
	e = plan("line3", "a.wim", T0 + 5 * H, 0);
	run();
	fetched("line3");
	report("line3", 1, REPORT_FAILED, 0, "all are being read");
	run();
	expect_job(e, JOB_WAITING, "to make room: all are being read");
	assert_string_equal(orders("line3"), "");
	now += 59;
	run();
	assert_string_equal(orders("line3"), "");
	now += 1;
	run();
	assert_string_equal(orders("line3"), "2 reclaim 600000000");
}

static void test_repeating(void **state)
{
	struct plan_entry p = {.at_s = T0 + 2 * H, .until_s = T0 + 4 * H,
			       .zone = "UTC", .repeat = "FREQ=DAILY",
			       .server = "line3", .image = (char *)"a.wim"};
	uint64_t id = publish("a.wim", 600 * MB);
	struct err e;

	(void)state;
	server("line3", 1000 * MB, 1000 * MB);
	assert_int_equal(plan_add(db, &p, now, &e), 0);
	run();
	/* Today's, and the next one after the lead time. */
	assert_int_equal(count("SELECT count(*) FROM job"), 2);
	assert_string_equal(orders("line3"), "1 prefetch 2");
	fetched("line3");
	now += 600;
	report("line3", 1, REPORT_DONE, 600 * MB, "");
	stores("line3", id, 600 * MB, 1, T0 + 4 * H);
	run();
	for (int day = 0; day < 5; day++) {
		now = T0 + day * 24 * H + 3 * H; /* in use */
		server("line3", 1000 * MB, 400 * MB);
		run();
		/* one in use, tomorrow's (held for), and one after */
		assert_int_equal(count("SELECT count(*) FROM job"), 3 + day);
		assert_int_equal(count("SELECT max(hold_until_s) FROM orders"),
				 T0 + (day + 1) * 24 * H + 4 * H);
		stores("line3", id, 600 * MB, 1,
		       count("SELECT max(hold_until_s) FROM orders"));
		for (int64_t n = count("SELECT min(number) FROM orders");
		     n <= count("SELECT max(number) FROM orders"); n++)
			report("line3", (uint64_t)n, REPORT_DONE, 0, "");
	}
	assert_int_equal(count("SELECT count(*) FROM orders WHERE kind=0"), 1);
}

/* The next is ordered when little is left of the one before; what is due
 * earlier goes before it all the same. */
static void test_one_after_the_other(void **state)
{
	(void)state;
	publish("a.wim", 600 * MB);
	publish("b.wim", 600 * MB);
	publish("c.wim", 600 * MB);
	server("line3", 5000 * MB, 5000 * MB);
	plan("line3", "a.wim", T0 + 6 * H, 0);
	plan("line3", "b.wim", T0 + 7 * H, 0);
	run();
	assert_string_equal(orders("line3"), "1 prefetch 2");
	plan("line3", "c.wim", T0 + 5 * H, 0);
	run();
	assert_string_equal(orders("line3"), "1 prefetch 2, 2 prefetch 4");
	fetched("line3");
	report("line3", 1, REPORT_RUNNING, 590 * MB, "");
	report("line3", 2, REPORT_RUNNING, 400 * MB, "");
	run();
	assert_string_equal(orders("line3"),
			    "1 prefetch 2, 2 prefetch 4, 3 prefetch 3");
}

/* Two servers, one image, two entries of one server: three jobs, two orders. */
static void test_shared(void **state)
{
	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 1000 * MB, 1000 * MB);
	server("line4", 1000 * MB, 1000 * MB);
	plan("line3", "a.wim", T0 + 5 * H, T0 + 10 * H);
	plan("line3", "a.wim", T0 + 8 * H, T0 + 12 * H);
	plan("line4", "a.wim", T0 + 6 * H, T0 + 10 * H);
	run();
	assert_string_equal(orders("line3"), "1 prefetch 2");
	assert_string_equal(orders("line4"), "2 prefetch 2");
	assert_int_equal(count("SELECT hold_until_s FROM orders"), T0 + 12 * H);
	/* 600 s each, one after the other by deadline */
	assert_int_equal(count("SELECT expected_s FROM job WHERE entry=2"),
			 T0 + 600);
	assert_int_equal(count("SELECT expected_s FROM job WHERE entry=3"),
			 T0 + 1200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_waiting_staging_staged),
		TEST(test_lost_again),
		TEST(test_late),
		TEST(test_never_staged),
		TEST(test_failed_and_tried_again),
		TEST(test_clock_set_back),
		TEST(test_removed_entry),
		TEST(test_foreign_hold),
		TEST(test_hold_is_the_longest),
		TEST(test_replaced_image),
		TEST(test_reserved),
		TEST(test_removed_image),
		TEST(test_server_appears_later),
		TEST(test_room_is_made_first),
		TEST(test_does_not_fit),
		TEST(test_reclaim_fails),
		TEST(test_repeating),
		TEST(test_one_after_the_other),
		TEST(test_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
