/* SPDX-License-Identifier: Apache-2.0 */
/* test_notify.c - order of names, inodes collected, end with work queued. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fs/kernel/notify.h"

struct heard {
	pthread_t thread;	/* that told */
	unsigned entries, inodes, pages;
	bool ordered;
	sem_t entry_gate;	/* each entry waits here */
	sem_t entry, inode;	/* posted after each */
};

static void on_entry(void *ctx, uint64_t parent, const char *name)
{
	struct heard *h = ctx;
	char expected[32];

	sem_wait(&h->entry_gate);
	snprintf(expected, sizeof(expected), "n%u", h->entries);
	h->ordered = h->ordered && parent == h->entries + 100 &&
		     !strcmp(name, expected);
	h->thread = pthread_self();
	h->entries++;
	sem_post(&h->entry);
}

static void on_inode(void *ctx, uint64_t id, bool pages)
{
	struct heard *h = ctx;

	(void)id;
	h->inodes++;
	h->pages += pages;
	sem_post(&h->inode);
}

static const struct notify_target target = {.entry = on_entry,
					    .inode = on_inode};

static struct notify *start(struct heard *h, unsigned open_gates)
{
	struct notify *n;

	*h = (struct heard){.ordered = true};
	sem_init(&h->entry_gate, 0, open_gates);
	sem_init(&h->entry, 0, 0);
	sem_init(&h->inode, 0, 0);
	assert_int_equal(notify_new(&target, h, &n), 0);
	return n;
}

static void put_names(struct notify *n, unsigned count)
{
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		notify_entry(n, i + 100, name);
	}
}

static void names_in_order_from_another_thread(void **state)
{
	struct heard h;
	struct notify *n = start(&h, 1000);

	(void)state;
	put_names(n, 1000);
	for (int i = 0; i < 1000; i++)
		sem_wait(&h.entry);
	notify_free(n);
	assert_true(h.ordered);
	assert_int_equal(h.entries, 1000);
	assert_false(pthread_equal(h.thread, pthread_self()));
}

/* A fill changes an image per block; the kernel hears of it once. */
static void inodes_are_collected(void **state)
{
	struct heard h;
	struct notify *n = start(&h, 0);

	(void)state;
	/* The thread is held in an entry while changes come in. */
	put_names(n, 1);
	for (int i = 0; i < 10000; i++)
		notify_inode(n, 5 + (uint64_t)(i % 2), i == 0);
	sem_post(&h.entry_gate);
	sem_wait(&h.inode);
	sem_wait(&h.inode);
	notify_free(n);
	/* At most those taken before the thread was held, and the rest. */
	assert_in_range(h.inodes, 2, 4);
	/* One of the changes took the pages along: of that inode, once. */
	assert_int_equal(h.pages, 1);
}

static void ends_with_work_queued(void **state)
{
	struct heard h;
	struct notify *n = start(&h, 1);

	(void)state;
	put_names(n, 1);
	sem_wait(&h.entry);
	for (unsigned i = 0; i < 100; i++)
		notify_inode(n, i, false);
	notify_free(n);
	assert_int_equal(h.entries, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_in_order_from_another_thread),
		cmocka_unit_test(inodes_are_collected),
		cmocka_unit_test(ends_with_work_queued),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
