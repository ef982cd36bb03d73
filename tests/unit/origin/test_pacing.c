/* SPDX-License-Identifier: Apache-2.0 */
/* Pacing: joining and leaving, time tables, and a made-up interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/units.h"
#include "origin/http/pace.h"
#include "origin/http/pacing.h"

#define M (UINT64_C(1) << 20)
#define NOON_S 1795435200 /* 2026-11-23 12:00 UTC */

static struct pacing *make(struct pacing_config c)
{
	struct pacing *p;
	struct err e;

	if (!c.demand_bps)
		c.demand_bps = RATE_UNLIMITED;
	if (pacing_new(&c, NOON_S, &p, &e))
		fail_msg("%s", e.text);
	return p;
}

static void test_prefetch_shares_by_server(void **state)
{
	struct pacing *p = make((struct pacing_config){
		.prefetch_rate = "300M/s"});
	struct pacing_entry t = {.server = "slow",
				 .rates = "20M/s",
				 .rank = PACE_RANK_LAST};
	struct pacing_flow a, b, c, reader;

	(void)state;
	assert_int_equal(pacing_set_servers(p, &t, 1, NOON_S), 0);
	assert_int_equal(pacing_join(p, &a, CLASS_PREFETCH, "fast"), 0);
	assert_true(pacing_rate(p, &a) == 300 * M);
	assert_int_equal(pacing_join(p, &b, CLASS_PREFETCH, "slow"), 0);
	assert_true(pacing_rate(p, &b) == 20 * M);
	assert_true(pacing_rate(p, &a) == 280 * M);
	assert_int_equal(pacing_join(p, &c, CLASS_PREFETCH, "slow"), 0);
	assert_true(pacing_rate(p, &b) == 10 * M);
	assert_int_equal(pacing_join(p, &reader, CLASS_FILL, "fast"), 0);
	assert_true(pacing_rate(p, &reader) == RATE_UNLIMITED);
	pacing_leave(p, &b);
	assert_true(pacing_rate(p, &c) == 20 * M);
	assert_true(pacing_rate(p, &b) == RATE_UNLIMITED);
	/* A table that goes away while its transfers run. */
	assert_int_equal(pacing_set_servers(p, NULL, 0, NOON_S), 0);
	assert_true(pacing_rate(p, &c) == 150 * M);
	pacing_leave(p, &a);
	pacing_leave(p, &a); /* harmless */
	pacing_leave(p, &c);
	pacing_leave(p, &reader);
	pacing_free(p);
}

/* A quarter of a second in which each server sends what it is given, but no
 * more than its line carries. */
static void send_for_a_tick(struct pacing *p, struct pacing_flow *f, size_t n,
			    const uint64_t *line_bps, uint64_t *now_ns)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t bps = pacing_rate(p, &f[i]);

		if (bps > line_bps[i])
			bps = line_bps[i];
		pacing_count(p, &f[i], CLASS_PREFETCH, bps / 4);
	}
	*now_ns += NS_PER_S / 4;
	pacing_tick(p, *now_ns, NOON_S);
}

/*
 * The schedule reckons with earliest deadline first: so it has to be, but for
 * what the line of the first does not carry. Lines change, plans too.
 */
static void test_earliest_deadline_first(void **state)
{
	struct pacing *p = make((struct pacing_config){
		.prefetch_rate = "400M/s"});
	struct pacing_entry e[] = {{.server = "first", .rank = 0},
				   {.server = "second", .rank = 1},
				   {.server = "third", .rank = 2}};
	uint64_t line[] = {1000 * M, 1000 * M, 1000 * M}, now = NS_PER_S;
	struct pacing_flow f[3];

	(void)state;
	assert_int_equal(pacing_set_servers(p, e, 3, NOON_S), 0);
	for (int i = 2; i >= 0; i--)
		assert_int_equal(pacing_join(p, &f[i], CLASS_PREFETCH,
					     e[i].server), 0);
	for (int i = 0; i < 20; i++) {
		assert_true(pacing_rate(p, &f[0]) ==
			    400 * M - 2 * PACE_FLOW_MIN_BPS);
		assert_true(pacing_rate(p, &f[1]) == PACE_FLOW_MIN_BPS);
		send_for_a_tick(p, f, 3, line, &now);
	}
	/* A slow line: found out, and the next one has the rest. */
	line[0] = 80 * M;
	for (int i = 0; i < 8; i++)
		send_for_a_tick(p, f, 3, line, &now);
	for (int i = 0; i < 20; i++) {
		send_for_a_tick(p, f, 3, line, &now);
		assert_true(pacing_rate(p, &f[0]) <= 100 * M);
		assert_true(pacing_rate(p, &f[1]) >= 299 * M);
		assert_true(pacing_rate(p, &f[2]) == PACE_FLOW_MIN_BPS);
	}
	/* A free one again. */
	line[0] = 1000 * M;
	for (int i = 0; i < 12; i++)
		send_for_a_tick(p, f, 3, line, &now);
	assert_true(pacing_rate(p, &f[0]) == 400 * M - 2 * PACE_FLOW_MIN_BPS);
	/* The plan changes: at once. */
	e[2].rank = 0;
	e[0].rank = 5;
	assert_int_equal(pacing_set_servers(p, e, 3, NOON_S), 0);
	assert_true(pacing_rate(p, &f[2]) == 400 * M - 2 * PACE_FLOW_MIN_BPS);
	/* Nothing is due there any more: after those that are. */
	assert_int_equal(pacing_set_servers(p, e, 2, NOON_S), 0);
	assert_true(pacing_rate(p, &f[1]) == 400 * M - 2 * PACE_FLOW_MIN_BPS);
	for (int i = 0; i < 3; i++)
		pacing_leave(p, &f[i]);
	pacing_free(p);
}

static void test_none_holds_back_new_ones(void **state)
{
	struct pacing *p = make((struct pacing_config){
		.prefetch_rate = "11:00 100M/s, 13:00 none"});
	struct pacing_entry t = {.server = "night",
				 .rates = "none",
				 .rank = PACE_RANK_LAST};
	struct pacing_flow a, b;

	(void)state;
	assert_int_equal(setenv("TZ", "UTC", 1), 0);
	assert_int_equal(pacing_set_servers(p, &t, 1, NOON_S), 0);
	pacing_tick(p, NS_PER_S, NOON_S);
	assert_int_equal(pacing_join(p, &b, CLASS_PREFETCH, "night"), -EAGAIN);
	assert_false(b.joined);
	assert_int_equal(pacing_join(p, &a, CLASS_PREFETCH, "day"), 0);
	/* At 13:00 what runs gets the minimum, what is new nothing. */
	pacing_tick(p, 2 * NS_PER_S, NOON_S + 3600);
	assert_true(pacing_rate(p, &a) == PACE_FLOW_MIN_BPS);
	assert_int_equal(pacing_join(p, &b, CLASS_PREFETCH, "day"), -EAGAIN);
	/* Readers are not concerned. */
	assert_int_equal(pacing_join(p, &b, CLASS_DEMAND, "day"), 0);
	pacing_leave(p, &b);
	pacing_tick(p, 3 * NS_PER_S, NOON_S + 86400);
	assert_true(pacing_rate(p, &a) == 100 * M);
	assert_int_equal(pacing_join(p, &b, CLASS_PREFETCH, "day"), 0);
	pacing_leave(p, &b);
	pacing_leave(p, &a);
	pacing_free(p);
}

/* As the schedule reckons: by the clock of the server. */
static void test_tables_in_the_servers_zone(void **state)
{
	struct pacing *p = make((struct pacing_config){.prefetch_rate = NULL});
	struct pacing_entry t[] = {
		{"tokyo", "20:00 20M/s, 22:00 80M/s", "Asia/Tokyo", 0},
		{"nowhere", "12:00 30M/s, 13:00 90M/s", "No/Where", 1}};
	struct pacing_flow a, b;

	(void)state;
	assert_int_equal(setenv("TZ", "UTC", 1), 0);
	assert_int_equal(pacing_set_servers(p, t, 2, NOON_S), 0);
	assert_int_equal(pacing_join(p, &a, CLASS_PREFETCH, "tokyo"), 0);
	assert_true(pacing_rate(p, &a) == 20 * M); /* 21:00 there */
	assert_int_equal(pacing_join(p, &b, CLASS_PREFETCH, "nowhere"), 0);
	assert_true(pacing_rate(p, &b) == 30 * M); /* this machine's zone */
	pacing_leave(p, &a);
	pacing_leave(p, &b);
	pacing_free(p);
}

static void test_demand_cap(void **state)
{
	struct pacing *p = make((struct pacing_config){.demand_bps = 80 * M});
	struct pacing_flow f[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pacing_join(p, &f[i],
					     (enum wire_class)(i % 3), "x"),
				 0);
	assert_true(pacing_rate(p, &f[3]) == 20 * M);
	for (int i = 0; i < 3; i++)
		pacing_leave(p, &f[i]);
	assert_true(pacing_rate(p, &f[3]) == 80 * M);
	pacing_leave(p, &f[3]);
	pacing_free(p);
}

static void set_counter(const char *dir, uint64_t v)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/eth0/statistics/tx_bytes", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%llu\n", (unsigned long long)v);
	fclose(f);
}

static void test_other_traffic_on_the_interface(void **state)
{
	char dir[] = "/tmp/stagefs-pacing-XXXXXX", path[128];
	struct pacing_stats s;
	struct pacing_flow a;
	uint64_t sent = 0, counter = 0;
	struct pacing *p;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/eth0", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	strcat(path, "/statistics");
	assert_int_equal(mkdir(path, 0700), 0);
	set_counter(dir, 0);
	p = make((struct pacing_config){.link_if = "eth0",
					.link_bps = 1000 * M,
					.sysfs = dir});
	assert_int_equal(pacing_join(p, &a, CLASS_PREFETCH, "x"), 0);
	assert_true(pacing_rate(p, &a) == 1000 * M); /* before any tick */
	for (uint64_t i = 1; i < 9; i++) {
		pacing_tick(p, i * NS_PER_S / 4, NOON_S);
		/* 160 MiB/s are ours, and 430 somebody else's. */
		sent += 40 * M;
		counter += 40 * M + 110 * M;
		pacing_count(p, &a, CLASS_PREFETCH, 40 * M);
		set_counter(dir, counter);
	}
	pacing_tick(p, 9 * NS_PER_S / 4, NOON_S);
	pacing_get(p, &s);
	assert_true(s.link_known);
	assert_true(s.sent[CLASS_PREFETCH] == sent);
	assert_true(s.interface_bps == 600 * M);
	assert_true(s.other_bps == 430 * M); /* heads: a sixteenth of ours */
	assert_true(s.budget_bps == 570 * M);
	assert_true(pacing_rate(p, &a) == 570 * M);
	assert_int_equal(s.n_prefetch, 1);
	pacing_leave(p, &a);
	pacing_free(p);
	strcat(path, "/tx_bytes");
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	rmdir(dir);
}

static void test_bad_interfaces(void **state)
{
	static const char *const name[] = {"nosuch0", "../lo", ".", "",
					   "averyveryverylongname"};
	struct pacing *p;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		struct pacing_config c = {.link_if = name[i], .link_bps = M};

		assert_int_equal(pacing_new(&c, NOON_S, &p, &e), -ENODEV);
		assert_non_null(strstr(e.text, "ip link"));
	}
}

/* A line that keeps what it cannot carry: seconds of queue at the most. */
struct pipe {
	uint64_t bps, queued_bytes;
};

static void send_through(struct pacing *p, struct pacing_flow *f,
			 struct pipe *line, bool observed, uint64_t *now_ns)
{
	uint64_t n = pacing_rate(p, f), carries = line->bps / 4, rtt_us;

	n = n > 100 * M ? 25 * M : n / 4;
	line->queued_bytes += n;
	line->queued_bytes -= line->queued_bytes < carries
				      ? line->queued_bytes
				      : carries;
	if (line->queued_bytes > 4 * line->bps)
		line->queued_bytes = 4 * line->bps; /* the rest is dropped */
	rtt_us = 2000 + line->queued_bytes * 1000000 / line->bps;
	pacing_count(p, f, CLASS_PREFETCH, n < carries ? n : carries);
	if (observed)
		pacing_observe(p, f, rtt_us, 2000);
	*now_ns += NS_PER_S / 4;
	pacing_tick(p, *now_ns, NOON_S);
}

/* Prefetch fills a line whose rate nobody told, and makes no queue in it that
 * lasts. */
static void test_queue_on_the_way(void **state)
{
	struct pacing *p = make((struct pacing_config){0});
	struct pacing_entry e = {.server = "far", .rank = 0};
	struct pipe line = {.bps = 10 * M};
	struct pacing_flow f, other;
	struct pacing_stats s;
	uint64_t now = NS_PER_S, sum = 0;

	(void)state;
	assert_int_equal(pacing_set_servers(p, &e, 1, NOON_S), 0);
	assert_int_equal(pacing_join(p, &f, CLASS_PREFETCH, "far"), 0);
	assert_int_equal(pacing_join(p, &other, CLASS_PREFETCH, "near"), 0);
	for (int i = 0; i < 40; i++)
		send_through(p, &f, &line, false, &now);
	assert_true(line.queued_bytes > 30 * M); /* as it was without */
	for (int i = 0; i < 80; i++)
		send_through(p, &f, &line, true, &now);
	for (int i = 0; i < 200; i++) {
		uint64_t bps = pacing_rate(p, &f);

		sum += bps < line.bps ? bps : line.bps;
		send_through(p, &f, &line, true, &now);
		assert_true(line.queued_bytes < 5 * M); /* half a second */
	}
	print_message("%llu of %llu used\n", (unsigned long long)(sum / 200),
		      (unsigned long long)line.bps);
	assert_true(sum / 200 > line.bps * 6 / 10);
	/* Only on that way. */
	assert_true(pacing_rate(p, &other) == RATE_UNLIMITED);
	pacing_get(p, &s);
	assert_int_equal(s.n_queueing, 1);
	/* The line grows, and what was a limit is none. */
	line.bps = 1000 * M;
	for (int i = 0; i < 300; i++)
		send_through(p, &f, &line, true, &now);
	assert_true(pacing_rate(p, &f) == RATE_UNLIMITED);
	pacing_leave(p, &f);
	pacing_leave(p, &other);
	pacing_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefetch_shares_by_server),
		cmocka_unit_test(test_earliest_deadline_first),
		cmocka_unit_test(test_none_holds_back_new_ones),
		cmocka_unit_test(test_tables_in_the_servers_zone),
		cmocka_unit_test(test_demand_cap),
		cmocka_unit_test(test_other_traffic_on_the_interface),
		cmocka_unit_test(test_bad_interfaces),
		cmocka_unit_test(test_queue_on_the_way),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
