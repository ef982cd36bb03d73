/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of orders without its threads: what waits, in which order, and
 * what is forgotten.
 */
#include "tests/unit/fs/agent_fakes.h"

#include "fs/agent/state.h"
#include "fs/locks.h"

static struct agent *agent_make(void)
{
	struct agent *a = calloc(1, sizeof(*a));

	lock_init(&a->lock, LOCK_AGENT);
	cond_init(&a->orders_wake);
	cond_init(&a->report_wake);
	a->queue_end = &a->queue;
	return a;
}

static void agent_unmake(struct agent *a)
{
	orders_free(a);
	cond_destroy(&a->orders_wake);
	cond_destroy(&a->report_wake);
	lock_destroy(&a->lock);
	free(a);
}

static void take(struct agent *a, uint64_t number, enum wire_order_kind kind,
		 uint64_t cancels)
{
	struct wire_order o = {.number = number,
			       .kind = kind,
			       .id = 2,
			       .cancels = cancels,
			       .name = strdup("x")};
	struct wire_orders all = {.order = &o, .n_orders = 1};

	orders_take(a, &all);
	wire_order_clear(&o);
}

/* As the report thread does once the origin has said yes. */
static void all_reported(struct agent *a)
{
	for (struct work *w = a->works; w; w = w->hh.next)
		w->reported = w->version;
}

static void waiting_are(struct agent *a, const uint64_t *number, size_t n)
{
	const struct work *w = a->queue;

	for (size_t i = 0; i < n; i++, w = w->next) {
		assert_non_null(w);
		assert_int_equal(w->o.number, number[i]);
		assert_int_equal(w->stage, WORK_QUEUED);
	}
	assert_null(w);
	assert_null(*a->queue_end);
}

/* One that is cancelled while it waits may be forgotten before its turn. */
static void cancelled_ones_leave_the_queue(void **state)
{
	struct agent *a = agent_make();
	struct work *w;
	uint64_t ids = 1;

	(void)state;
	for (uint64_t i = 1; i <= 4; i++)
		take(a, i, ORDER_PREFETCH, 0);
	waiting_are(a, (uint64_t[]){1, 2, 3, 4}, 4);
	take(a, 5, ORDER_CANCEL, 4);
	waiting_are(a, (uint64_t[]){1, 2, 3}, 3);
	take(a, 6, ORDER_CANCEL, 2);
	waiting_are(a, (uint64_t[]){1, 3}, 2);
	take(a, 7, ORDER_PREFETCH, 0);
	take(a, 8, ORDER_CANCEL, 1);
	take(a, 9, ORDER_CANCEL, 1); /* again: harmless */
	waiting_are(a, (uint64_t[]){3, 7}, 2);
	all_reported(a);
	for (uint64_t i = 10; i < 10 + WORK_ENDED_MAX; i++) {
		take(a, i, ORDER_CANCEL, 1 << 30);
		all_reported(a);
	}
	HASH_FIND(hh, a->works, &ids, sizeof(ids), w);
	assert_null(w); /* forgotten */
	assert_int_equal(a->n_ended, WORK_ENDED_MAX);
	take(a, 5000, ORDER_DELETE, 0);
	waiting_are(a, (uint64_t[]){3, 7, 5000}, 3);
	assert_int_equal(a->n_open, 3);
	agent_unmake(a);
}

/* Ordered again after a reconnect: told again, not done again. */
static void the_same_order_twice(void **state)
{
	struct agent *a = agent_make();

	(void)state;
	take(a, 1, ORDER_PREFETCH, 0);
	take(a, 1, ORDER_PREFETCH, 0);
	waiting_are(a, (uint64_t[]){1}, 1);
	take(a, 2, ORDER_CANCEL, 1);
	all_reported(a);
	take(a, 1, ORDER_PREFETCH, 0);
	waiting_are(a, NULL, 0);
	assert_int_not_equal(a->works->reported, a->works->version);
	agent_unmake(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cancelled_ones_leave_the_queue),
		cmocka_unit_test(the_same_order_twice),
	};

	return cmocka_run_group_tests_name("orders", tests, NULL, NULL);
}
