/* SPDX-License-Identifier: Apache-2.0 */
/* What the schedule and the pacing are told of the database: settings, rates,
 * and who is due first. */
#include "planworld.h"

static size_t rank_of(const struct due *d, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(d[i].server, name) == 0)
			return d[i].rank;
	return SIZE_MAX;
}

/* The pacing serves servers in the order in which the schedule reckons. */
static void test_due_as_scheduled(void **state)
{
	static const char *const name[] = {"e", "d", "c", "b", "a"};
	struct wire_order by_hand = {.kind = ORDER_PREFETCH,
				     .deadline_s = T0 + 30,
				     .name = (char *)"img"};
	size_t n, rank[5];
	struct due *due;
	struct err e;

	(void)state;
	publish("img", 10 * MB);
	for (int i = 0; i < 5; i++)
		server(name[i], 100 * MB, 100 * MB);
	plan("d", "img", now + 60, 0);
	plan("c", "img", now + 120, 0);
	plan("b", "img", now + 120, 0);
	sql("UPDATE plan SET priority=5 WHERE server='b'");
	run();
	by_hand.id = 1;
	assert_int_equal(orders_add(db, "e", &by_hand, now, &e), 0);
	by_hand.deadline_s = 0; /* whenever */
	assert_int_equal(orders_add(db, "a", &by_hand, now, &e), 0);
	assert_int_equal(orders_add(db, "d", &by_hand, now, &e), 0);
	assert_int_equal(due_list(db, &due, &n, &e), 0);
	assert_int_equal(n, 5);
	for (size_t i = 1; i < n; i++)
		assert_true(strcmp(due[i - 1].server, due[i].server) < 0);
	/* e in 30 s, d in 60, b before c by priority, a without a time. */
	rank[0] = rank_of(due, n, "e");
	rank[1] = rank_of(due, n, "d");
	rank[2] = rank_of(due, n, "b");
	rank[3] = rank_of(due, n, "c");
	rank[4] = rank_of(due, n, "a");
	for (int i = 1; i < 5; i++)
		assert_true(rank[i - 1] < rank[i]);
	free(due);
	/* What is done is not due. */
	sql("UPDATE orders SET state=2 WHERE server<>'c'");
	assert_int_equal(due_list(db, &due, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(due[0].server, "c");
	free(due);
}

/* The night of a server is its own: 08:00 UTC is 17:00 in Tokyo. */
static void test_rates_in_the_servers_zone(void **state)
{
	struct view *v;
	struct err e;

	(void)state;
	publish("a", 10 * MB);
	server("line3", 100 * MB, 100 * MB);
	server("line4", 100 * MB, 100 * MB);
	sql("UPDATE server SET prefetch_rate='16:00 500000/s, 18:00 none'");
	sql("UPDATE server SET time_zone='Asia/Tokyo' WHERE name='line3'");
	plan("line3", "a", now + 60, 0);
	plan("line4", "a", now + 60, 0);
	assert_int_equal(view_make(db, now, 0, 0, 0, &v, &e), 0);
	assert_int_equal(v->in.n_wants, 2);
	/* 10 MB at half a megabyte per second, beginning now; on line4 it is
	 * 08:00, and nothing goes before 16:00. */
	assert_int_equal(v->out.job[0].expected_s, now + 20);
	assert_int_equal(v->out.job[1].expected_s, now + 8 * H + 20);
	view_free(v);
}

static void test_bad_settings(void **state)
{
	struct err e;

	(void)state;
	origindb_set(db, "lead", "soon", &e);
	assert_int_equal(scheduler_run(db, now, 0, 0, &next, &e), -EINVAL);
	assert_non_null(strstr(e.text, "setting lead"));
	origindb_set(db, "lead", "1h", &e);
	origindb_set(db, "margin", "lots", &e);
	assert_int_equal(scheduler_run(db, now, 0, 0, &next, &e), -EINVAL);
	assert_non_null(strstr(e.text, "setting margin"));
	origindb_set(db, "margin", "10%", &e);
	origindb_set(db, "link", "eth0=8Gbit/s", &e);
	run();
}

/* As `serve` leaves them when it was started without options. */
static void test_empty_settings(void **state)
{
	static const char *const name[] = {"prefetch_rate", "link", "lead",
					   "margin"};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		assert_int_equal(origindb_set(db, name[i], "", &e), 0);
	run();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_due_as_scheduled),
		TEST(test_rates_in_the_servers_zone),
		TEST(test_bad_settings),
		TEST(test_empty_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
