/* SPDX-License-Identifier: Apache-2.0 */
/* What is over goes after its time, and nothing that is still needed. */
#include "planworld.h"

#include "origin/schedule/history.h"

#define D INT64_C(86400)

static uint64_t prune(void)
{
	uint64_t sum = 0, n = 1;
	struct err e;

	while (n > 0) {
		int r = history_prune(db, now, &n, &e);

		if (r)
			print_message("%s\n", e.text);
		assert_int_equal(r, 0);
		sum += n;
	}
	return sum;
}

/* One entry, from plan to staged; the number of its prefetch order. */
static int64_t stage(const char *srv, const char *image, int64_t until)
{
	int64_t entry = plan(srv, image, now + 60, until);
	uint64_t id, number, size;

	run();
	number = (uint64_t)count("SELECT max(number) FROM orders WHERE kind=0");
	id = (uint64_t)count("SELECT max(id) FROM orders WHERE kind=0");
	size = (uint64_t)count("SELECT max(size) FROM orders WHERE kind=0");
	fetched(srv);
	report(srv, number, REPORT_DONE, size, "");
	stores(srv, id, size, 1, until ? until : now + 60 + 24 * H);
	run();
	expect_job(entry, JOB_STAGED, NULL);
	return entry;
}

static void test_all_that_is_over(void **state)
{
	uint64_t n;

	(void)state;
	publish("a", 10 * MB);
	server("line3", 100 * MB, 100 * MB);
	stage("line3", "a", now + 2 * H);
	assert_int_equal(prune(), 0);
	now += 89 * D;
	run_once();
	assert_int_equal(prune(), 0);
	assert_int_equal(count("SELECT count(*) FROM job"), 1);
	now += 3 * D;
	run_once();
	n = prune();
	assert_true(n > 3);
	assert_int_equal(count("SELECT count(*) FROM orders WHERE state>=2"),
			 0);
	assert_int_equal(count("SELECT count(*) FROM job"), 0);
	assert_int_equal(count("SELECT count(*) FROM plan"), 0);
	assert_int_equal(count("SELECT count(*) FROM log WHERE time_s<="
			       "1795420800+86400"), 0);
	/* Numbers are not given a second time. */
	now += 60;
	assert_true(plan("line3", "a", now + 60, 0) > 1);
	run_once();
	assert_true(count("SELECT min(number) FROM orders WHERE state<2") > 1);
}

/* Open orders, jobs that go on, holds, entries that come back: however old. */
static void test_what_goes_on_stays(void **state)
{
	struct plan_entry weekly = {.at_s = T0 + H, .until_s = T0 + 2 * H,
				    .zone = "UTC", .server = "line4",
				    .image = (char *)"a"};
	int64_t year;
	struct err e;

	(void)state;
	publish("a", 10 * MB);
	server("line3", 100 * MB, 100 * MB);
	server("line4", 100 * MB, 100 * MB);
	year = stage("line3", "a", now + 365 * D);
	strcpy(weekly.repeat, "FREQ=WEEKLY");
	assert_int_equal(plan_add(db, &weekly, now, &e), 0);
	run();
	now += 200 * D;
	server("line3", 100 * MB, 90 * MB);
	server("line4", 100 * MB, 100 * MB);
	run();
	prune();
	/* It is staged, the hold is the plan's, and nothing is ordered anew. */
	expect_job(year, JOB_STAGED, NULL);
	assert_int_equal(count("SELECT count(*) FROM orders WHERE server="
			       "'line3' AND kind=0"), 1);
	run();
	assert_string_equal(orders("line3"), "");
	assert_int_equal(count("SELECT count(*) FROM plan"), 2);
	/* The next dates of the other are made as if nothing had gone. */
	now += 7 * D;
	server("line4", 100 * MB, 100 * MB);
	run();
	assert_int_equal(count("SELECT count(*) FROM job WHERE entry=2 AND"
			       " state IN (0,1,3)"), 1);
	/* When the year is over the hold is taken back, and all goes. */
	now += 300 * D;
	run();
	prune();
	assert_int_equal(count("SELECT count(*) FROM job WHERE entry=1"), 0);
	assert_int_equal(count("SELECT count(*) FROM plan WHERE entry=1"), 0);
	assert_int_equal(count("SELECT count(*) FROM plan WHERE entry=2"), 1);
}

static void test_settable(void **state)
{
	uint64_t n;
	struct err e;

	(void)state;
	assert_int_equal(origindb_set(db, "history", "2d", &e), 0);
	assert_int_equal(origindb_log(db, &e, now, "x", NULL, 0, NULL, "y"), 0);
	now += 2 * D;
	assert_int_equal(prune(), 0);
	now += 1;
	assert_int_equal(prune(), 1);
	/* Never what the schedule itself looks back at. */
	assert_int_equal(origindb_set(db, "history", "1s", &e), 0);
	assert_int_equal(origindb_log(db, &e, now, "x", NULL, 0, NULL, "y"), 0);
	now += 60;
	assert_int_equal(prune(), 0);
	assert_int_equal(origindb_set(db, "history", "soon", &e), 0);
	assert_int_equal(history_prune(db, now, &n, &e), -EINVAL);
	assert_non_null(strstr(e.text, "history"));
}

/* In parts: many rows do not make one long transaction. */
static void test_in_parts(void **state)
{
	uint64_t n, sum = 0, rounds = 0;
	struct err e;

	(void)state;
	sql("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c"
	    " WHERE i<4500) INSERT INTO log(time_s,event) SELECT 5,'x' FROM c");
	do {
		assert_int_equal(history_prune(db, now, &n, &e), 0);
		assert_true(n <= 1000);
		sum += n;
		rounds++;
	} while (n > 0);
	assert_int_equal(sum, 4500);
	assert_int_equal(rounds, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_that_is_over),
		TEST(test_what_goes_on_stays),
		TEST(test_settable),
		TEST(test_in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
