/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handles.c - a hash table of handles. The reader's stream is opened under
 * the table's lock (it touches neither disk nor network), so that two opens
 * at once share one; it is closed with no lock held.
 */
#include "fs/kernel/handles.h"

#include <errno.h>
#include <stdlib.h>
#include <uthash.h>

#include "common/lock.h"
#include "fs/locks.h"

struct entry {
	struct handle h;
	UT_hash_handle hh;
};

struct handles {
	struct reader *reader; /* set once */
	int (*ident)(void *ctx, uint64_t id, struct version_ident *ret);
	void *ctx;

	struct lock lock;
	struct entry *by_id;
};

int handles_new(struct reader *reader,
		int (*ident)(void *ctx, uint64_t id,
			     struct version_ident *ret),
		void *ctx, struct handles **ret)
{
	struct handles *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->reader = reader;
	t->ident = ident;
	t->ctx = ctx;
	lock_init(&t->lock, LOCK_HANDLES);
	*ret = t;
	return 0;
}

struct handle *handle_ref(struct handle *h)
{
	__atomic_add_fetch(&h->refs, 1, __ATOMIC_RELAXED);
	return h;
}

void handle_put(struct handle *h)
{
	if (!h || __atomic_sub_fetch(&h->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	reader_close(h->stream);
	free(h); /* it is the first member of its entry */
}

void handles_free(struct handles *t)
{
	struct entry *e, *next;

	if (!t)
		return;
	HASH_ITER(hh, t->by_id, e, next) {
		HASH_DEL(t->by_id, e);
		handle_put(&e->h);
	}
	lock_destroy(&t->lock);
	free(t);
}

static struct entry *find_locked(struct handles *t, uint64_t id)
{
	struct entry *e;

	lock_assert_held(&t->lock);
	HASH_FIND(hh, t->by_id, &id, sizeof(id), e);
	return e;
}

static int make_locked(struct handles *t, uint64_t id, struct entry **ret)
{
	struct version_ident ident;
	struct entry *e;
	int r;

	r = t->ident(t->ctx, id, &ident);
	if (r < 0)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	r = reader_open(t->reader, &ident, &e->h.stream);
	if (r < 0) {
		free(e);
		/* To a reader it is as good as an image without right bytes. */
		return r == -EINVAL ? -EIO : r;
	}
	e->h.id = id;
	e->h.size_bytes = ident.size_bytes;
	e->h.block_bytes = ident.block_bytes;
	e->h.mode = HANDLE_CACHED;
	e->h.refs = 1;
	HASH_ADD(hh, t->by_id, h.id, sizeof(e->h.id), e);
	*ret = e;
	return 0;
}

int handles_open(struct handles *t, uint64_t id)
{
	LOCK_SCOPE(&t->lock);
	struct entry *e = find_locked(t, id);
	int r;

	if (!e) {
		r = make_locked(t, id, &e);
		if (r < 0)
			return r;
	}
	e->h.opens++;
	return 0;
}

int handles_get(struct handles *t, uint64_t id, struct handle **ret)
{
	LOCK_SCOPE(&t->lock);
	struct entry *e = find_locked(t, id);
	int r;

	if (!e) {
		r = make_locked(t, id, &e);
		if (r < 0)
			return r;
	}
	*ret = handle_ref(&e->h);
	return 0;
}

void handles_close(struct handles *t, uint64_t id)
{
	struct entry *e;

	lock_take(&t->lock);
	e = find_locked(t, id);
	if (e && e->h.opens > 0)
		e->h.opens--;
	if (e && e->h.opens == 0)
		HASH_DEL(t->by_id, e);
	else
		e = NULL;
	lock_give(&t->lock);
	if (e)
		handle_put(&e->h);
}

uint64_t handles_count(struct handles *t)
{
	LOCK_SCOPE(&t->lock);
	return HASH_COUNT(t->by_id);
}
