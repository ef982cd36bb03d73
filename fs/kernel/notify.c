/* SPDX-License-Identifier: Apache-2.0 */
/* notify.c - a list of names and a set of inodes, taken whole by the thread. */
#include "fs/kernel/notify.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/lock.h"
#include "common/pulse.h"
#include "fs/locks.h"

struct name {
	struct name *next;
	uint64_t parent;
	char text[];
};

struct inode {
	uint64_t id;
	bool pages;
	UT_hash_handle hh;
};

struct notify {
	struct notify_target target; /* set once */
	void *ctx;
	pthread_t thread;

	struct lock lock; /* the rest */
	struct wait_cond wake;
	struct name *first, *last;
	size_t n_names;
	struct inode *inodes;
	bool quit;
};

/* Waits for work: names at once, inodes when `attr_ns` has come. */
static bool wait_locked(struct notify *n, uint64_t attr_ns)
{
	while (!n->quit && !n->first) {
		pulse_expect();
		if (!n->inodes)
			cond_wait_until(&n->wake, &n->lock,
					clock_mono_ns() + pulse_round_ns());
		else if (clock_mono_ns() >= attr_ns)
			break;
		else
			cond_wait_until(&n->wake, &n->lock, attr_ns);
	}
	return !n->quit;
}

static void tell_names(struct notify *n, struct name *list)
{
	struct name *name, *next;

	LL_FOREACH_SAFE(list, name, next) {
		n->target.entry(n->ctx, name->parent, name->text);
		free(name);
	}
}

static void tell_inodes(struct notify *n, struct inode *set)
{
	struct inode *i, *next;

	HASH_ITER(hh, set, i, next) {
		HASH_DEL(set, i);
		n->target.inode(n->ctx, i->id, i->pages);
		free(i);
	}
}

static void *run(void *arg)
{
	struct notify *n = arg;
	uint64_t attr_ns = 0;

	pulse_name("notify");
	lock_take(&n->lock);
	while (wait_locked(n, attr_ns)) {
		struct name *names = TAKE(n->first);
		struct inode *inodes = NULL;

		n->last = NULL;
		n->n_names = 0;
		if (clock_mono_ns() >= attr_ns) {
			inodes = TAKE(n->inodes);
			attr_ns = clock_mono_ns() + NOTIFY_ATTR_MS * NS_PER_MS;
		}
		lock_give(&n->lock);
		pulse_rest(); /* the kernel may wait for a client */
		tell_names(n, names);
		tell_inodes(n, inodes);
		lock_take(&n->lock);
	}
	lock_give(&n->lock);
	return NULL;
}

int notify_new(const struct notify_target *target, void *ctx,
	       struct notify **ret)
{
	struct notify *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	n->target = *target;
	n->ctx = ctx;
	lock_init(&n->lock, LOCK_NOTIFY);
	cond_init(&n->wake);
	r = pthread_create(&n->thread, NULL, run, n);
	if (r) {
		cond_destroy(&n->wake);
		lock_destroy(&n->lock);
		free(n);
		return -r;
	}
	*ret = n;
	return 0;
}

void notify_free(struct notify *n)
{
	struct name *name, *next_name;
	struct inode *i, *next;

	if (!n)
		return;
	lock_take(&n->lock);
	n->quit = true;
	cond_wake_all(&n->wake);
	lock_give(&n->lock);
	pthread_join(n->thread, NULL);
	LL_FOREACH_SAFE(n->first, name, next_name)
		free(name);
	HASH_ITER(hh, n->inodes, i, next) {
		HASH_DEL(n->inodes, i);
		free(i);
	}
	cond_destroy(&n->wake);
	lock_destroy(&n->lock);
	free(n);
}

void notify_entry(struct notify *n, uint64_t parent, const char *name)
{
	size_t len = strlen(name) + 1;
	struct name *e = malloc(sizeof(*e) + len);

	if (!e)
		return; /* the kernel's time limit covers it */
	e->next = NULL;
	e->parent = parent;
	memcpy(e->text, name, len);

	lock_take(&n->lock);
	if (n->n_names < NOTIFY_NAMES_MAX) {
		if (n->last)
			n->last->next = e;
		else
			n->first = e;
		n->last = e;
		n->n_names++;
		cond_wake_one(&n->wake);
		e = NULL;
	}
	lock_give(&n->lock);
	free(e);
}

void notify_inode(struct notify *n, uint64_t id, bool pages)
{
	LOCK_SCOPE(&n->lock);
	struct inode *i;

	HASH_FIND(hh, n->inodes, &id, sizeof(id), i);
	if (i) {
		i->pages = i->pages || pages;
		return;
	}
	i = malloc(sizeof(*i));
	if (!i)
		return;
	i->id = id;
	i->pages = pages;
	HASH_ADD(hh, n->inodes, id, sizeof(i->id), i);
	cond_wake_one(&n->wake);
}
