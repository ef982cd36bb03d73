/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders: redelivered until they are final, harmless twice, the first result
 * stands; and a random run against a model.
 */
#include "storetest.h"

#include "origin/servers/servers.h"

static char image_name[] = "win11/base.wim";

static uint64_t add(struct storetest *t, const char *server,
		    enum wire_order_kind kind)
{
	struct wire_order o = {.kind = kind,
			       .id = 5,
			       .name = image_name,
			       .size_bytes = 10 * MIB,
			       .hold_until_s = NOW + 100,
			       .deadline_s = NOW + 50,
			       .job = 3};

	if (kind == ORDER_RECLAIM)
		o.bytes = 7 * MIB;
	memset(o.digest.b, 0xab, sizeof(o.digest.b));
	assert_int_equal(orders_add(t->db, server, &o, NOW, &t->e), 0);
	assert_true(o.number > 0);
	return o.number;
}

static int report(struct storetest *t, const char *server, uint64_t number,
		  enum wire_report_state state, uint64_t stored)
{
	struct wire_report r = {.number = number,
				.state = state,
				.stored_bytes = stored};

	if (state == REPORT_FAILED)
		strcpy(r.message, "no room");
	return orders_report(t->db, server, &r, NOW + 9, &t->e);
}

static enum order_state state_of(struct storetest *t, uint64_t number)
{
	enum order_state s;
	struct order o;

	assert_int_equal(orders_get(t->db, number, &o, &t->e), 0);
	s = o.state;
	order_clear(&o);
	return s;
}

/* Numbers of the open orders, as text. */
static const char *open_after(struct storetest *t, const char *server,
			      uint64_t after)
{
	static char text[256];
	struct wire_orders o = {0};
	size_t n = 0;

	assert_int_equal(orders_open(t->db, server, after, &o, &t->e), 0);
	text[0] = '\0';
	for (size_t i = 0; i < o.n_orders; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%llu",
				      i ? " " : "",
				      (unsigned long long)o.order[i].number);
	wire_orders_free(&o);
	return text;
}

static int64_t log_lines(struct storetest *t, const char *event,
			 uint64_t number)
{
	int64_t n;

	assert_int_equal(db_get_int(t->db, &t->e, &n,
				    "SELECT count(*) FROM log WHERE event=?"
				    " AND order_number=?",
				    "su", event, number),
			 0);
	return n;
}

static void deliver(struct storetest *t, const char *server)
{
	struct wire_orders o = {0};

	strcpy(o.server, server);
	assert_int_equal(orders_open(t->db, server, 0, &o, &t->e), 0);
	assert_int_equal(orders_sent(t->db, &o, NOW + 1), 0);
	wire_orders_free(&o);
}

static void test_an_order_goes_out_as_it_came(void **state)
{
	struct wire_orders open = {0};
	struct wire_order *o;
	struct storetest t;
	uint64_t a, b;

	(void)state;
	storetest_begin(&t);
	a = add(&t, "line3", ORDER_PREFETCH);
	b = add(&t, "line3", ORDER_RECLAIM);
	add(&t, "line4", ORDER_DELETE);
	assert_true(b > a);
	assert_int_equal(orders_open(t.db, "line3", 0, &open, &t.e), 0);
	assert_int_equal(open.n_orders, 2);
	o = &open.order[0];
	assert_int_equal(o->number, a);
	assert_int_equal(o->kind, ORDER_PREFETCH);
	assert_int_equal(o->id, 5);
	assert_string_equal(o->name, "win11/base.wim");
	assert_true(o->size_bytes == 10 * MIB);
	assert_int_equal(o->hold_until_s, NOW + 100);
	assert_int_equal(o->deadline_s, NOW + 50);
	assert_int_equal(o->job, 3);
	assert_int_equal(o->digest.b[31], 0xab);
	assert_true(open.order[1].bytes == 7 * MIB);
	wire_orders_free(&open);
	storetest_end(&t);
}

static void test_redelivered_until_final(void **state)
{
	struct storetest t;
	struct order o;
	uint64_t a, b;
	char want[64];

	(void)state;
	storetest_begin(&t);
	a = add(&t, "line3", ORDER_PREFETCH);
	b = add(&t, "line3", ORDER_HOLD);
	snprintf(want, sizeof(want), "%d %d", (int)a, (int)b);
	for (int i = 0; i < 3; i++) {
		deliver(&t, "line3");
		assert_string_equal(open_after(&t, "line3", 0), want);
	}
	/* Counted each time, told once. */
	assert_int_equal(orders_get(t.db, a, &o, &t.e), 0);
	assert_int_equal(o.sent_count, 3);
	assert_int_equal(o.sent_s, NOW + 1);
	order_clear(&o);
	assert_int_equal(log_lines(&t, "ordered", a), 1);
	assert_int_equal(log_lines(&t, "sent", a), 1);
	snprintf(want, sizeof(want), "%d", (int)b);
	assert_string_equal(open_after(&t, "line3", a), want);
	/* Progress keeps it open, a result does not. */
	assert_int_equal(report(&t, "line3", a, REPORT_RUNNING, 5), 0);
	assert_int_equal(state_of(&t, a), ORDER_RUNNING);
	assert_int_equal(log_lines(&t, "running", a), 0);
	assert_int_equal(report(&t, "line3", a, REPORT_DONE, 10 * MIB), 0);
	assert_string_equal(open_after(&t, "line3", 0), want);
	assert_int_equal(report(&t, "line3", b, REPORT_FAILED, 0), 0);
	assert_string_equal(open_after(&t, "line3", 0), "");
	storetest_end(&t);
}

static void test_the_first_result_stands(void **state)
{
	struct storetest t;
	struct order o;
	uint64_t a;

	(void)state;
	storetest_begin(&t);
	a = add(&t, "line3", ORDER_PREFETCH);
	assert_int_equal(report(&t, "line3", a, REPORT_DONE, 77), 0);
	assert_int_equal(report(&t, "line3", a, REPORT_DONE, 78), 0);
	assert_int_equal(report(&t, "line3", a, REPORT_FAILED, 0), 0);
	assert_int_equal(report(&t, "line3", a, REPORT_RUNNING, 1), 0);
	assert_int_equal(orders_get(t.db, a, &o, &t.e), 0);
	assert_int_equal(o.state, ORDER_DONE);
	assert_int_equal(o.stored_bytes, 77);
	assert_string_equal(o.message, "");
	order_clear(&o);
	assert_int_equal(log_lines(&t, "done", a), 1);
	assert_int_equal(log_lines(&t, "failed", a), 0);
	storetest_end(&t);
}

static void test_reports_on_others_are_refused(void **state)
{
	struct storetest t;
	uint64_t a;

	(void)state;
	storetest_begin(&t);
	a = add(&t, "line3", ORDER_PREFETCH);
	assert_int_equal(report(&t, "line4", a, REPORT_DONE, 1), -ENOENT);
	assert_int_equal(report(&t, "line3", a + 1, REPORT_DONE, 1), -ENOENT);
	assert_int_equal(state_of(&t, a), ORDER_PENDING);
	storetest_end(&t);
}

static void test_cancel(void **state)
{
	struct wire_orders open = {0};
	struct storetest t;
	uint64_t a, b, both[2];

	(void)state;
	storetest_begin(&t);
	/* One that never left needs nobody to stop. */
	a = add(&t, "line3", ORDER_PREFETCH);
	assert_int_equal(orders_cancel(t.db, &a, 1, NOW, &t.e), 0);
	assert_string_equal(open_after(&t, "line3", 0), "");
	assert_int_equal(orders_cancel(t.db, &a, 1, NOW, &t.e), -EALREADY);
	/* All, or none. */
	both[0] = add(&t, "line3", ORDER_PREFETCH);
	both[1] = both[0] + 7;
	assert_int_equal(orders_cancel(t.db, both, 2, NOW, &t.e), -ENOENT);
	assert_int_equal(state_of(&t, both[0]), ORDER_PENDING);
	assert_int_equal(orders_cancel(t.db, both, 1, NOW, &t.e), 0);
	/* One that did is followed by an order to stop. */
	b = add(&t, "line3", ORDER_PREFETCH);
	deliver(&t, "line3");
	assert_int_equal(orders_cancel(t.db, &b, 1, NOW, &t.e), 0);
	assert_int_equal(orders_open(t.db, "line3", 0, &open, &t.e), 0);
	assert_int_equal(open.n_orders, 1);
	assert_int_equal(open.order[0].kind, ORDER_CANCEL);
	assert_int_equal(open.order[0].cancels, b);
	wire_orders_free(&open);
	/* A result that was under way changes nothing any more. */
	assert_int_equal(report(&t, "line3", b, REPORT_DONE, 9), 0);
	assert_int_equal(state_of(&t, b), ORDER_CANCELLED);
	assert_int_equal(log_lines(&t, "done", b), 0);
	storetest_end(&t);
}

static void test_answers_are_bounded(void **state)
{
	struct wire_orders open = {0};
	struct storetest t;
	uint64_t first;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(db_run(t.db, &t.e, "PRAGMA synchronous=OFF", ""), 0);
	first = add(&t, "line3", ORDER_HOLD);
	for (unsigned i = 0; i < STAGEFS_ORDERS_MAX; i++)
		add(&t, "line3", ORDER_HOLD);
	assert_int_equal(orders_open(t.db, "line3", 0, &open, &t.e), 0);
	assert_int_equal(open.n_orders, STAGEFS_ORDERS_MAX);
	assert_int_equal(open.order[0].number, first);
	wire_orders_free(&open);
	/* The rest comes after those. */
	memset(&open, 0, sizeof(open));
	assert_int_equal(orders_open(t.db, "line3",
				     first + STAGEFS_ORDERS_MAX - 1, &open,
				     &t.e),
			 0);
	assert_int_equal(open.n_orders, 1);
	wire_orders_free(&open);
	storetest_end(&t);
}

/* ---- against a model --------------------------------------------------- */

#define ORDERS 400
static const char *const servers[] = {"line1", "line2", "line3"};

struct model_order {
	int server;
	enum order_state state;
	bool sent, is_cancel;
	uint64_t stored;
};

static void expect_open(struct storetest *t, const struct model_order *m,
			uint64_t n, int server, uint64_t after)
{
	struct wire_orders open = {0};
	size_t i = 0;

	assert_int_equal(orders_open(t->db, servers[server], after, &open,
				     &t->e),
			 0);
	for (uint64_t number = after + 1; number <= n; number++) {
		if (m[number].server != server ||
		    m[number].state >= ORDER_DONE)
			continue;
		assert_true(i < open.n_orders);
		assert_int_equal(open.order[i++].number, number);
	}
	assert_int_equal(i, open.n_orders);
	if (after == 0) {
		strcpy(open.server, servers[server]);
		assert_int_equal(orders_sent(t->db, &open, NOW), 0);
	}
	wire_orders_free(&open);
}

static void model_sent(struct model_order *m, uint64_t n, int server)
{
	for (uint64_t i = 1; i <= n; i++)
		if (m[i].server == server && m[i].state < ORDER_DONE)
			m[i].sent = true;
}

static void model_report(struct model_order *m, uint64_t number,
			 enum wire_report_state s, uint64_t stored)
{
	if (m[number].state >= ORDER_DONE)
		return;
	m[number].state = s == REPORT_RUNNING ? ORDER_RUNNING
			  : s == REPORT_DONE  ? ORDER_DONE
					      : ORDER_FAILED;
	m[number].stored = stored;
}

static void test_random_orders(void **state)
{
	static struct model_order m[ORDERS + 1];
	struct storetest t;
	uint64_t n = 0;
	unsigned seed = 11;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(db_run(t.db, &t.e, "PRAGMA synchronous=OFF", ""), 0);
	while (n + 2 < ORDERS) {
		int server = rand_r(&seed) % 3;
		uint64_t pick = n ? 1 + (uint64_t)rand_r(&seed) % n : 0;
		enum wire_report_state s =
			(enum wire_report_state)(rand_r(&seed) % 3);
		int r;

		switch (rand_r(&seed) % 8) {
		case 0:
		case 1:
			assert_int_equal(add(&t, servers[server],
					     ORDER_PREFETCH),
					 ++n);
			m[n] = (struct model_order){.server = server};
			break;
		case 2:
			expect_open(&t, m, n, server, 0);
			model_sent(m, n, server);
			break;
		case 3:
			if (pick)
				expect_open(&t, m, n, server, pick);
			break;
		case 4:
			if (!pick)
				break;
			r = orders_cancel(t.db, &pick, 1, NOW, &t.e);
			assert_int_equal(r, m[pick].state >= ORDER_DONE
						    ? -EALREADY
						    : 0);
			if (r)
				break;
			m[pick].state = ORDER_CANCELLED;
			if (m[pick].sent && !m[pick].is_cancel)
				m[++n] = (struct model_order){
					.server = m[pick].server,
					.is_cancel = true};
			break;
		default:
			if (!pick)
				break;
			r = report(&t, servers[server], pick, s,
				   (uint64_t)n * 3);
			assert_int_equal(r, m[pick].server == server
						    ? 0
						    : -ENOENT);
			if (!r)
				model_report(m, pick, s, n * 3);
		}
		if (pick)
			assert_int_equal(state_of(&t, pick), m[pick].state);
	}
	storetest_end(&t);
}

static void test_lists(void **state)
{
	struct storetest t;
	struct order *list;
	uint64_t a;
	size_t n;

	(void)state;
	storetest_begin(&t);
	a = add(&t, "line3", ORDER_PREFETCH);
	add(&t, "line4", ORDER_DELETE);
	assert_int_equal(report(&t, "line3", a, REPORT_FAILED, 1), 0);
	assert_int_equal(orders_list(t.db, NULL, false, &list, &n, &t.e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(list[0].server, "line4");
	orders_free(list, n);
	assert_int_equal(orders_list(t.db, "line3", true, &list, &n, &t.e),
			 0);
	assert_int_equal(n, 1);
	assert_string_equal(list[0].message, "no room");
	assert_int_equal(list[0].updated_s, NOW + 9);
	orders_free(list, n);
	assert_int_equal(orders_list(t.db, "line3", false, &list, &n, &t.e),
			 0);
	assert_int_equal(n, 0);
	orders_free(list, n);
	storetest_end(&t);
}

/* What is not logged is not done, and the caller is told why. */
static void test_without_a_log_nothing_happens(void **state)
{
	struct wire_order o = {.kind = ORDER_RECLAIM, .bytes = 5};
	struct wire_report done = {.state = REPORT_DONE};
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	done.number = add(&t, "line3", ORDER_DELETE);
	assert_int_equal(db_run(t.db, &t.e, "DROP TABLE log", ""), 0);
	t.e.text[0] = '\0';
	assert_true(orders_add(t.db, "line3", &o, NOW, &t.e) < 0);
	assert_non_null(strstr(t.e.text, "log"));
	t.e.text[0] = '\0';
	assert_true(orders_report(t.db, "line3", &done, NOW, &t.e) < 0);
	assert_non_null(strstr(t.e.text, "log"));
	t.e.text[0] = '\0';
	assert_true(orders_cancel(t.db, &done.number, 1, NOW, &t.e) < 0);
	assert_non_null(strstr(t.e.text, "log"));
	assert_int_equal(state_of(&t, done.number), ORDER_PENDING);
	storetest_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_order_goes_out_as_it_came),
		cmocka_unit_test(test_redelivered_until_final),
		cmocka_unit_test(test_the_first_result_stands),
		cmocka_unit_test(test_reports_on_others_are_refused),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_answers_are_bounded),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_without_a_log_nothing_happens),
		cmocka_unit_test(test_random_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
