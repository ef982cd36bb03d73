/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handles.c - a hash table of handles, and the choice of the mode.
 *
 * The reader's stream is opened under the table's lock (it touches neither
 * disk nor network), so that two opens at once share one; it is closed with
 * no lock held.
 *
 * The mode is chosen by the open that finds no other one counted:
 *
 *	opens 0 -> 1	`deciding`, lock given back: is the version complete
 *			and durable, will the kernel take its file?
 *	meanwhile	other opens of the inode wait for it, as long as the
 *			supervisor may take (backing.h)
 *	then		all follow, until opens is 0 again
 *
 * The stream is open, and so the version pinned, before it is asked whether
 * it is complete: a block that is found bad from then on is not punched out
 * (fs/cache/blocks.c), which one before that makes it incomplete. So the
 * kernel never reads a file that has holes.
 */
#include "fs/kernel/handles.h"

#include <errno.h>
#include <stdlib.h>
#include <uthash.h>

#include "common/cleanup.h"
#include "common/lock.h"
#include "common/log.h"
#include "fs/kernel/backing.h"
#include "fs/kernel/point.h"
#include "fs/locks.h"
#include "fs/supervisor/wire.h"

struct entry {
	struct handle h;
	/* under the table's lock */
	unsigned opens;	     /* slots, and opens in work */
	uint32_t backing_id; /* 0: cached mode */
	bool deciding;
	UT_hash_handle hh;
};

struct handles {
	struct handles_config cfg; /* set once */

	struct lock lock;
	struct wait_cond decided;
	struct opens opens;
	struct entry *by_id;
	struct handles_stats n; /* the counters of it */
};

/* ---- references ---------------------------------------------------------- */

struct handle *handle_ref(struct handle *h)
{
	__atomic_add_fetch(&h->refs, 1, __ATOMIC_RELAXED);
	return h;
}

void handle_put(struct handle *h)
{
	if (!h || __atomic_sub_fetch(&h->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (h->stream)
		reader_close(h->stream);
	free(h); /* it is the first member of its entry */
}

/* ---- entries ------------------------------------------------------------- */

static struct entry *find_locked(struct handles *t, uint64_t id)
{
	struct entry *e;

	lock_assert_held(&t->lock);
	HASH_FIND(hh, t->by_id, &id, sizeof(id), e);
	return e;
}

static struct entry *add_locked(struct handles *t, uint64_t id)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->h.id = id;
	e->h.refs = 1;
	HASH_ADD(hh, t->by_id, h.id, sizeof(e->h.id), e);
	return e;
}

static int open_stream_locked(struct handles *t, struct handle *h)
{
	struct version_ident ident;
	int r;

	if (h->stream)
		return 0;
	r = t->cfg.ident(t->cfg.ctx, h->id, &ident);
	if (r == 0)
		r = reader_open(t->cfg.reader, &ident, &h->stream);
	/* Stored under another digest: as good as an image without right
	 * bytes. */
	if (r == -EINVAL)
		r = -EIO;
	if (r < 0)
		return r;
	h->size_bytes = ident.size_bytes;
	h->block_bytes = ident.block_bytes;
	return 0;
}

/* Takes one open back, and the entry out of the table with the last. The
 * caller ends it with end_entry, without the lock. */
static struct entry *drop_open_locked(struct handles *t, struct entry *e)
{
	if (--e->opens > 0)
		return NULL;
	HASH_DEL(t->by_id, e);
	return e;
}

static void end_entry(struct handles *t, struct entry *e)
{
	if (!e)
		return;
	/* First: with the version's pin its file may go. */
	if (e->backing_id) {
		kernel_point("release.unregister");
		backing_close(t->cfg.backing, e->backing_id);
	}
	handle_put(&e->h);
}

/* ---- opens of an earlier worker ------------------------------------------ */

static int take_over(void *ctx, const struct session_open *open)
{
	struct handles *t = ctx;
	struct entry *e = find_locked(t, open->id);
	int r;

	if (e) {
		e->opens++;
		if (e->backing_id != open->backing_id)
			log_err("kernel",
				"id %llu: open in two modes at once",
				(unsigned long long)open->id);
		return 0;
	}
	e = add_locked(t, open->id);
	if (!e)
		return -ENOMEM;
	e->opens = 1;
	e->backing_id = open->backing_id;
	/* Its releases count all the same; the kernel may have its file. */
	r = open_stream_locked(t, &e->h);
	if (r < 0)
		log_warn("kernel", "id %llu is open, but not known any more",
			 (unsigned long long)open->id);
	return 0;
}

struct ids {
	uint32_t *id;
	size_t n;
};

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool is_used(void *ctx, uint32_t id)
{
	struct ids *used = ctx;

	return bsearch(&id, used->id, used->n, sizeof(id), compare_ids);
}

/* Registered by the dead worker, and either never used or not used any more:
 * it did not come to say so. */
static int close_unused(struct handles *t)
{
	CLEAN_FREE uint32_t *id = calloc(HASH_COUNT(t->by_id) + 1,
					 sizeof(*id));
	struct ids used = {.id = id};
	struct entry *e, *next;

	if (!id)
		return -ENOMEM;
	HASH_ITER(hh, t->by_id, e, next)
		if (e->backing_id)
			id[used.n++] = e->backing_id;
	qsort(id, used.n, sizeof(*id), compare_ids);
	backing_close_unused(t->cfg.backing, is_used, &used);
	return 0;
}

int handles_new(const struct handles_config *cfg, struct handles **ret)
{
	struct handles *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->cfg = *cfg;
	lock_init(&t->lock, LOCK_HANDLES);
	cond_init(&t->decided);
	lock_take(&t->lock);
	r = opens_init(&t->opens, cfg->session, take_over, t);
	lock_give(&t->lock);
	if (r == 0)
		r = close_unused(t);
	if (r < 0) {
		handles_free(t);
		return r;
	}
	*ret = t;
	return 0;
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
	opens_done(&t->opens);
	cond_destroy(&t->decided);
	lock_destroy(&t->lock);
	free(t);
}

void handles_answer_again(struct handles *t,
			  void (*write)(void *ctx, uint64_t unique,
					const struct open_answer *a),
			  void *ctx)
{
	opens_answer_again(&t->opens, write, ctx);
}

/* ---- opens --------------------------------------------------------------- */

/* No lock held. 0: cached mode. */
static uint32_t choose_backing(struct handles *t, struct entry *e)
{
	uint32_t id;
	int fd;

	if (!t->cfg.passthrough ||
	    !__atomic_load_n(&t->cfg.session->passthrough, __ATOMIC_ACQUIRE))
		return 0;
	fd = version_backing_fd(stream_version(e->h.stream));
	if (fd < 0)
		return 0;
	kernel_point("open.register");
	if (backing_open(t->cfg.backing, fd, &id) < 0)
		return 0;
	kernel_point("open.registered");
	return id;
}

/* The entry stays: its opens are not 0. */
static void decide_locked(struct handles *t, struct entry *e)
{
	uint32_t id;

	e->deciding = true;
	lock_give(&t->lock);
	id = choose_backing(t, e);
	lock_take(&t->lock);
	e->backing_id = id;
	e->deciding = false;
	cond_wake_all(&t->decided);
}

static int open_locked(struct handles *t, struct entry *e, uint64_t unique,
		       struct open_answer *ret)
{
	int r = open_stream_locked(t, &e->h);

	if (r < 0)
		return r;
	version_touch(stream_version(e->h.stream));
	if (e->opens == 1)
		decide_locked(t, e);
	while (e->deciding)
		cond_wait(&t->decided, &t->lock);
	/*
	 * A block was found bad while the kernel reads the file itself: it
	 * would take no other mode now, and in this one nobody could keep the
	 * block from the reader (R1). NFS clients try again.
	 */
	if (e->backing_id && !version_complete(stream_version(e->h.stream)))
		return -ETIMEDOUT;
	r = opens_add(&t->opens, e->h.id, unique, e->backing_id, &ret->fh);
	if (r < 0)
		return r;
	ret->backing_id = e->backing_id;
	t->n.opens++;
	t->n.opens_passthrough += e->backing_id != 0;
	return 0;
}

int handles_open(struct handles *t, uint64_t id, uint64_t unique,
		 struct open_answer *ret)
{
	struct entry *e, *gone = NULL;
	int r = -ENOMEM;

	lock_take(&t->lock);
	e = find_locked(t, id);
	if (!e)
		e = add_locked(t, id);
	if (e) {
		e->opens++;
		r = open_locked(t, e, unique, ret);
		if (r < 0)
			gone = drop_open_locked(t, e);
	}
	lock_give(&t->lock);
	end_entry(t, gone);
	return r;
}

void handles_answered(struct handles *t, uint64_t fh)
{
	opens_answered(&t->opens, fh);
	kernel_point("open.answered");
}

void handles_close(struct handles *t, uint64_t fh)
{
	struct entry *e, *gone = NULL;
	uint64_t id;

	lock_take(&t->lock);
	if (opens_remove(&t->opens, fh, &id)) {
		e = find_locked(t, id);
		/* The kernel reads by itself, and does not tell when. */
		if (e->h.stream)
			version_touch(stream_version(e->h.stream));
		gone = drop_open_locked(t, e);
	}
	lock_give(&t->lock);
	end_entry(t, gone);
}

/* ---- requests on open files ---------------------------------------------- */

/* Not in the table: goes with the request. */
static int open_stray_locked(struct handles *t, uint64_t id,
			     struct handle **ret)
{
	struct entry *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->h.id = id;
	e->h.refs = 1;
	r = open_stream_locked(t, &e->h);
	if (r < 0) {
		free(e);
		return r;
	}
	*ret = &e->h;
	return 0;
}

int handles_get(struct handles *t, uint64_t id, struct handle **ret)
{
	LOCK_SCOPE(&t->lock);
	struct entry *e = find_locked(t, id);
	int r;

	if (!e)
		return open_stray_locked(t, id, ret);
	r = open_stream_locked(t, &e->h);
	if (r < 0)
		return r;
	*ret = handle_ref(&e->h);
	return 0;
}

void handles_stats(struct handles *t, struct handles_stats *ret)
{
	struct entry *e, *next;

	LOCK_SCOPE(&t->lock);
	*ret = t->n;
	ret->images = HASH_COUNT(t->by_id);
	HASH_ITER(hh, t->by_id, e, next)
		ret->passthrough += e->backing_id != 0;
}
