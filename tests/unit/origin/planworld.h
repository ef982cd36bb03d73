/* SPDX-License-Identifier: Apache-2.0 */
/*
 * planworld.h - a real database with a plan, for the tests of the scheduler:
 * what a planner, an image engineer and the servers do to it.
 */
#ifndef STAGEFS_TESTS_PLANWORLD_H
#define STAGEFS_TESTS_PLANWORLD_H

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

static inline void sql(const char *text)
{
	struct err e;
	int r = db_run(db, &e, text, "");

	if (r)
		print_message("%s: %s\n", text, e.text);
	assert_int_equal(r, 0);
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
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
static inline uint64_t publish(const char *name, uint64_t size)
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

static inline void server(const char *name, uint64_t capacity,
			  uint64_t free_bytes)
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
static inline void stores(const char *name, uint64_t id, uint64_t stored,
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

static inline int64_t plan(const char *srv, const char *image, int64_t at,
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

static inline void run_once(void)
{
	struct err e;
	int r = scheduler_run(db, now, 0, 0, &next, &e);

	if (r)
		print_message("scheduler: %s\n", e.text);
	assert_int_equal(r, 0);
	assert_true(next > now);
}

static inline int64_t count(const char *text)
{
	int64_t n = -1;

	assert_int_equal(db_get_int(db, NULL, &n, text, ""), 0);
	return n;
}

/* Runs until nothing is ordered any more; then once more changes nothing. */
static inline void run(void)
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
static inline void fetched(const char *srv)
{
	struct wire_orders o = {0};

	assert_int_equal(orders_open(db, srv, 0, &o, NULL), 0);
	snprintf(o.server, sizeof(o.server), "%s", srv);
	assert_int_equal(orders_sent(db, &o, now), 0);
	wire_orders_free(&o);
}

static inline void report(const char *srv, uint64_t number,
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
static inline const char *orders(const char *srv)
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

static inline void expect_job(int64_t entry, enum job_state want,
			      const char *says)
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
