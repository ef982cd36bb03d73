/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flush.c - how a bit becomes durable (C1): picture, fdatasync, commit.
 *
 *	1. under the lock: a copy of the version's bits. Each bit in it was
 *	   set after its pwrite returned.
 *	2. no lock: fdatasync of the file. All bytes of the picture are on
 *	   disk now; bits set since are not in the picture.
 *	3. fsync of the folder, if a file was made.
 *	4. commit of the pictures of all dirty versions.
 *
 * At most flush_ms after the first volatile bit, or at once when a version
 * became complete. One flush at a time: whoever clears bits owns the flush,
 * so that no older picture brings them back (forget).
 *
 * When fdatasync fails the kernel may have dropped the pages and called them
 * clean, so a second fdatasync that succeeds proves nothing. Every volatile
 * bit of that file is forgotten then; the blocks are fetched again.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bitmap.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "common/pulse.h"
#include "fs/cache/internal.h"

#include <utlist.h>

#define RETRY_NS NS_PER_S /* after a flush that failed, at the earliest */
#define SAY_AGAIN_NS (60 * NS_PER_S)

struct picture {
	struct version *v; /* one of its uses */
	struct index_key key;
	uint8_t *bits;
	int64_t complete_at_s;
	bool wanted;
	struct picture *next;
};

void flush_note_locked(struct version *v, bool now)
{
	struct cache *c = v->cache;
	uint64_t at_ns = clock_mono_ns() + (now ? 0 : c->flush_ns);

	if (!v->dirty) {
		v->dirty = true;
		v->uses++;
		LL_PREPEND2(c->dirty, v, dirty_next);
	}
	if (!c->flush_at_ns || at_ns < c->flush_at_ns) {
		c->flush_at_ns = at_ns;
		cond_wake_all(&c->flush_bell);
	}
}

void flush_forget_locked(struct version *v, struct leftovers *out)
{
	if (!v->dirty)
		return;
	v->dirty = false;
	LL_DELETE2(v->cache->dirty, v, dirty_next);
	version_unuse_locked(v, out);
}

void flush_own(struct cache *c)
{
	lock_take(&c->lock);
	while (c->flushing)
		cond_wait(&c->moved, &c->lock);
	c->flushing = true;
	lock_give(&c->lock);
}

void flush_disown(struct cache *c)
{
	lock_take(&c->lock);
	c->flushing = false;
	cond_wake_all(&c->moved);
	lock_give(&c->lock);
}

static void unuse(struct version *v)
{
	struct leftovers l = LEFTOVERS_NONE;
	struct cache *c = v->cache;

	lock_take(&c->lock);
	version_unuse_locked(v, &l);
	lock_give(&c->lock);
	leftovers_end(c, &l);
}

static void picture_free(struct picture *p)
{
	if (!p)
		return;
	free(p->bits);
	free(p);
}

/* ---- one version --------------------------------------------------------- */

/* The bytes behind these bits may be lost. */
static void lost(struct version *v, struct index_key key)
{
	size_t n = bitmap_bytes(v->n_blocks);
	CLEAN_FREE uint8_t *durable = calloc(1, n ? n : 1);
	CLEAN_FREE uint8_t *drop = calloc(1, n ? n : 1);
	uint64_t n_stored;
	int r;

	if (!durable || !drop)
		return;
	version_copy_bits(v, drop, &n_stored);
	r = index_get_bits(v->cache->index, key, durable, n);
	if (r == -ENOENT)
		return; /* evicted meanwhile */
	if (r)
		memset(durable, 0, n); /* nothing is sure */
	for (size_t i = 0; i < n; i++)
		drop[i] = (uint8_t)(drop[i] & ~durable[i]);
	if (said_is_news(&v->cache->said_lost, key.id, clock_mono_ns(),
			 SAY_AGAIN_NS))
		log_err("cache", "%s: writing to disk failed: its last blocks "
			"will be fetched again", v->ident.name);
	blocks_drop(v, drop);
}

/*
 * Step 1. False if it was evicted. State, key and bits have to be of the same
 * moment: bits of one incarnation under the key of the next would be lies.
 */
static bool snap(struct version *v, struct picture *p)
{
	uint64_t n_stored;

	LOCK_SCOPE(&v->cache->lock);
	/* Not every arrow leads away: a hold is one too. */
	version_settle_locked(v);
	if (v->state != VERSION_LIVE)
		return false;
	p->v = v;
	p->key = version_key(v);
	p->wanted = v->wanted;
	version_copy_bits(v, p->bits, &n_stored);
	if (n_stored == v->n_blocks)
		p->complete_at_s = v->complete_at_s ? v->complete_at_s
						    : clock_unix_s();
	v->in_file++; /* its descriptor stays */
	return true;
}

/* Step 2. */
static int sync_one(struct version *v)
{
	struct cache *c = v->cache;
	int r = datafile_sync(v->fd);

	LOCK_SCOPE(&c->lock);
	v->in_file--;
	if (r)
		c->n.write_errors++;
	cond_wake_all(&c->moved);
	return r;
}

/* 0 with a picture, or without one if it was evicted. */
static int take_picture(struct version *v, struct picture **ret)
{
	size_t n = bitmap_bytes(v->n_blocks);
	struct picture *p = calloc(1, sizeof(*p));
	int r = 0;

	if (p)
		p->bits = malloc(n ? n : 1);
	if (!p || !p->bits) {
		picture_free(p);
		return -ENOMEM;
	}
	if (!snap(v, p)) {
		picture_free(p);
		return 0;
	}
	r = sync_one(v);
	if (r) {
		lost(v, p->key);
		picture_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

/* ---- all ----------------------------------------------------------------- */

static int sync_folder(struct cache *c)
{
	bool dirty;
	int r;

	lock_take(&c->lock);
	dirty = c->dir_dirty;
	c->dir_dirty = false;
	lock_give(&c->lock);
	if (!dirty)
		return 0;
	r = fsync_dir(c->data_fd);
	if (r) {
		lock_take(&c->lock);
		c->dir_dirty = true;
		lock_give(&c->lock);
	}
	return r;
}

static int commit(struct cache *c, struct picture *all)
{
	CLEAN_FREE struct index_bits *b = NULL;
	struct picture *p;
	size_t n = 0, i = 0;
	int r;

	LL_COUNT(all, p, n);
	b = calloc(n ? n : 1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	LL_FOREACH(all, p)
		b[i++] = (struct index_bits){
			.key = p->key,
			.bits = p->bits,
			.n_bits_bytes = bitmap_bytes(p->v->n_blocks),
			.complete_at_s = p->complete_at_s,
			.wanted = p->wanted};
	r = point("flush.commit");
	if (!r)
		r = index_put_bits(c->index, b, n);
	if (!r)
		r = point("flush.committed");
	index_measure(c);
	return r;
}

/* A picture is durable, or (failed) has to be taken again. */
static void settle(struct cache *c, struct picture *p, bool failed)
{
	struct leftovers l = LEFTOVERS_NONE;
	bool news = false;

	lock_take(&c->lock);
	if (p->v->state == VERSION_LIVE && !p->v->moving &&
	    p->v->place.seq == p->key.seq) {
		news = p->complete_at_s && !p->v->complete_at_s && !failed;
		if (news)
			p->v->complete_at_s = p->complete_at_s;
		if (failed)
			flush_note_locked(p->v, false);
	}
	version_unuse_locked(p->v, &l);
	lock_give(&c->lock);
	if (news)
		tell_changed(c, p->key.id);
	leftovers_end(c, &l);
	picture_free(p);
}

static void log_change(struct cache *c, int r)
{
	if (r && !c->flush_failing)
		log_err("cache", "index: %s: blocks stored from now on may "
			"have to be fetched again after a restart",
			strerror(-r));
	else if (!r && c->flush_failing)
		log_info("cache", "index: writing works again");
	c->flush_failing = r != 0;
}

/* Takes the dirty ones off the list, into an array: a store may put them back
 * on it at once. Their `uses` go along. */
static int take_dirty(struct cache *c, struct version ***ret, size_t *ret_n)
{
	struct version *v, **all;
	size_t n = 0, i = 0;

	lock_take(&c->lock);
	c->flush_at_ns = 0;
	LL_COUNT2(c->dirty, v, n, dirty_next);
	lock_give(&c->lock);
	all = calloc(n ? n : 1, sizeof(struct version *));
	if (!all)
		return -ENOMEM;
	lock_take(&c->lock);
	while (c->dirty && i < n) {
		v = c->dirty;
		c->dirty = v->dirty_next;
		v->dirty = false;
		all[i++] = v;
	}
	/* More came in between: a round of its own, at once. */
	if (c->dirty)
		c->flush_at_ns = clock_mono_ns();
	lock_give(&c->lock);
	*ret = all;
	*ret_n = i;
	return 0;
}

/* The caller owns the flush. */
static int flush_once(struct cache *c)
{
	struct picture *all = NULL, *p, *tmp;
	struct version **dirty;
	int sync_error = 0, r;
	size_t n;

	r = take_dirty(c, &dirty, &n);
	if (r)
		return r;
	for (size_t i = 0; i < n; i++) {
		p = NULL;
		r = take_picture(dirty[i], &p);
		if (r)
			sync_error = r;
		if (p)
			LL_PREPEND(all, p);
		else
			unuse(dirty[i]);
	}
	free(dirty);
	if (!all)
		return sync_error;
	r = sync_folder(c);
	if (!r)
		r = commit(c, all);
	LL_FOREACH_SAFE(all, p, tmp)
		settle(c, p, r != 0);
	log_change(c, r);
	return r ? r : sync_error;
}

int cache_flush(struct cache *c)
{
	int r;

	flush_own(c);
	r = flush_once(c);
	flush_disown(c);
	return r;
}

/* ---- the thread ---------------------------------------------------------- */

static void *flusher(void *arg)
{
	struct cache *c = arg;
	uint64_t earliest_ns = 0, at_ns;

	pulse_name("flush");
	lock_take(&c->lock);
	while (!c->quit) {
		pulse_expect();
		at_ns = c->flush_at_ns;
		if (!at_ns) {
			cond_wait_until(&c->flush_bell, &c->lock,
					clock_mono_ns() + pulse_round_ns());
			continue;
		}
		if (at_ns < earliest_ns)
			at_ns = earliest_ns;
		if (clock_mono_ns() < at_ns) {
			cond_wait_until(&c->flush_bell, &c->lock, at_ns);
			continue;
		}
		lock_give(&c->lock);
		pulse_rest(); /* a slow disk is no hang */
		if (cache_flush(c) != 0)
			earliest_ns = clock_mono_ns() + RETRY_NS;
		lock_take(&c->lock);
	}
	lock_give(&c->lock);
	return NULL;
}

int flusher_start(struct cache *c)
{
	int r = pthread_create(&c->flusher, NULL, flusher, c);

	c->has_flusher = r == 0;
	return -r;
}

void flusher_stop(struct cache *c)
{
	if (!c->has_flusher)
		return;
	lock_take(&c->lock);
	c->quit = true;
	cond_wake_all(&c->flush_bell);
	lock_give(&c->lock);
	pthread_join(c->flusher, NULL);
	c->has_flusher = false;
}
