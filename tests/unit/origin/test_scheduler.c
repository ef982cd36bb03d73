/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler on a real database: what a planner, an image engineer and the
 * servers do to it, and the orders and states that follow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "origin/db/origindb.h"
#include "origin/plan/plan.h"
#include "origin/schedule/due.h"
#include "origin/schedule/scheduler.h"
#include "origin/schedule/view.h"
#include "origin/servers/servers.h"

#define T0 INT64_C(1795420800) /* 2026-11-23 08:00 UTC */
#define H INT64_C(3600)
#define MB UINT64_C(1000000)

static char dir[] = "/tmp/stagefs-scheduler-XXXXXX";
static struct db *db;
static int64_t now;
static int64_t next;

/* ---- the world ------------------------------------------------------------ */

static void sql(const char *text)
{
	struct err e;
	int r = db_run(db, &e, text, "");

	if (r)
		print_message("%s: %s\n", text, e.text);
	assert_int_equal(r, 0);
}

static int setup(void **state)
{
	struct err e;

	(void)state;
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(origindb_create(dir, &db, &e), 0);
	now = T0;
	assert_int_equal(origindb_set(db, "prefetch_rate", "1000000/s", &e), 0);
	assert_int_equal(origindb_set(db, "margin_time", "0", &e), 0);
	return 0;
}

static int teardown(void **state)
{
	static const char *const file[] = {"origin.db", "origin.db-wal",
					   "origin.db-shm"};
	char path[128];

	(void)state;
	db_close(db);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, file[i]);
		unlink(path);
	}
	rmdir(dir);
	return 0;
}

/* Publishes a version; one of this name goes. */
static uint64_t publish(const char *name, uint64_t size)
{
	static uint8_t fill;
	uint8_t digest[DIGEST_BYTES];

	memset(digest, ++fill, sizeof(digest));
	assert_int_equal(db_run(db, NULL, "UPDATE node SET removed=1 WHERE "
				"name=?", "s", name), 0);
	assert_int_equal(
		db_run(db, NULL,
		       "INSERT INTO node(parent,name,fold,is_dir,mtime_s,size,"
		       "block_bytes,digest,added_s,revision)"
		       " VALUES(1,?1,?1,0,0,?2,1048576,?3,0,1)",
		       "sub", name, size, digest, sizeof(digest)),
		0);
	return (uint64_t)db_last_id(db);
}

static void server(const char *name, uint64_t capacity, uint64_t free_bytes)
{
	assert_int_equal(
		db_run(db, NULL,
		       "INSERT INTO server(name,first_seen_s,last_seen_s,"
		       "capacity,free,time_zone) VALUES(?1,?2,?2,?3,?4,'UTC')"
		       " ON CONFLICT(name) DO UPDATE SET capacity=?3,free=?4,"
		       "last_seen_s=?2",
		       "siuu", name, now, capacity, free_bytes),
		0);
}

/* What the server says of one image; complete if stored == size. */
static void stores(const char *name, uint64_t id, uint64_t stored,
		   uint64_t seq, int64_t held_until_s)
{
	assert_int_equal(
		db_run(db, NULL,
		       "INSERT OR REPLACE INTO server_image(server,id,name,"
		       "digest,size,stored,state,stored_seq,stored_at_s,"
		       "held_until_s,open) SELECT ?1,id,name,digest,size,?3,"
		       "CASE size WHEN ?3 THEN 2 ELSE 1 END,?4,0,?5,0 FROM node"
		       " WHERE id=?2",
		       "suuui", name, id, stored, seq, held_until_s),
		0);
}

static int64_t plan(const char *srv, const char *image, int64_t at,
		    int64_t until)
{
	struct plan_entry p = {.at_s = at, .until_s = until, .zone = "UTC"};
	struct err e;
	int r;

	snprintf(p.server, sizeof(p.server), "%s", srv);
	p.image = (char *)image;
	r = plan_add(db, &p, now, &e);
	if (r)
		print_message("plan_add: %s\n", e.text);
	assert_int_equal(r, 0);
	return p.entry;
}

static void run_once(void)
{
	struct err e;
	int r = scheduler_run(db, now, 0, 0, &next, &e);

	if (r)
		print_message("scheduler: %s\n", e.text);
	assert_int_equal(r, 0);
	assert_true(next > now);
}

static int64_t count(const char *text)
{
	int64_t n = -1;

	assert_int_equal(db_get_int(db, NULL, &n, text, ""), 0);
	return n;
}

/* Runs until nothing is ordered any more; then once more changes nothing. */
static void run(void)
{
	int64_t rows, orders;

	run_once();
	run_once();
	rows = count("SELECT total_changes()");
	orders = count("SELECT count(*) FROM orders");
	run_once();
	assert_int_equal(count("SELECT total_changes()"), rows);
	assert_int_equal(count("SELECT count(*) FROM orders"), orders);
}

/* The server fetched its orders. */
static void fetched(const char *srv)
{
	struct wire_orders o = {0};

	assert_int_equal(orders_open(db, srv, 0, &o, NULL), 0);
	snprintf(o.server, sizeof(o.server), "%s", srv);
	assert_int_equal(orders_sent(db, &o, now), 0);
	wire_orders_free(&o);
}

static void report(const char *srv, uint64_t number,
		   enum wire_report_state state, uint64_t stored,
		   const char *message)
{
	struct wire_report r = {.number = number, .state = state,
				.stored_bytes = stored};

	snprintf(r.message, sizeof(r.message), "%s", message);
	assert_int_equal(orders_report(db, srv, &r, now, NULL), 0);
}

/* The open orders of a server as text: "7 prefetch 2, 8 cancel 7" with the
 * number, the kind, and the version (the bytes of a reclaim). */
static const char *orders(const char *srv)
{
	static char text[512];
	struct order *o;
	size_t n, at = 0;

	*text = '\0';
	assert_int_equal(orders_list(db, srv, false, &o, &n, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		uint64_t what = o[i].o.id;

		if (o[i].o.kind == ORDER_RECLAIM)
			what = o[i].o.bytes;
		if (o[i].o.kind == ORDER_CANCEL)
			what = o[i].o.cancels;
		at += (size_t)snprintf(text + at, sizeof(text) - at,
				       "%s%llu %s %llu", i ? ", " : "",
				       (unsigned long long)o[i].o.number,
				       wire_order_kind_name(o[i].o.kind),
				       (unsigned long long)what);
	}
	orders_free(o, n);
	return text;
}

static void expect_job(int64_t entry, enum job_state want, const char *says)
{
	struct sqlite3_stmt *q;
	int64_t state;
	char message[SCHED_MESSAGE];

	assert_int_equal(db_query(db, &q, NULL, "SELECT state,message FROM job"
				  " WHERE entry=? ORDER BY at_s", "i", entry),
			 0);
	assert_int_equal(db_next(db, q, NULL), 1);
	state = db_col_int(q, 0);
	snprintf(message, sizeof(message), "%s", db_col_text(q, 1));
	db_done(q);
	if (state != (int64_t)want || (says && !strstr(message, says)))
		print_message("job of %lld: %s: %s\n", (long long)entry,
			      job_state_name((enum job_state)state), message);
	assert_int_equal(state, want);
	if (says)
		assert_non_null(strstr(message, says));
}

/* ---- the walks -------------------------------------------------------------- */

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
	assert_int_equal(plan_remove(db, e, now, NULL), 0);
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
	assert_int_equal(plan_remove(db, f, now, NULL), 0);
	run();
	assert_string_equal(orders("line3"), "5 release 3");
	assert_int_equal(plan_remove(db, f, now, NULL), -ENOENT);
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
	plan_remove(db, e, now, NULL);
	run();
	assert_string_equal(orders("line3"), "3 hold 2");
	assert_int_equal(count("SELECT hold_until_s FROM orders WHERE number=3"),
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
	expect_job(e, JOB_FAILED, "does not fit: needs 954.6M, capacity 953.7M");
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_waiting_staging_staged),
		TEST(test_lost_again),
		TEST(test_late),
		TEST(test_never_staged),
		TEST(test_failed_and_tried_again),
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
		TEST(test_due_as_scheduled),
		TEST(test_rates_in_the_servers_zone),
		TEST(test_bad_settings),
		TEST(test_empty_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
