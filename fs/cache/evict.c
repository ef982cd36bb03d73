/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evict.c - how victims go.
 *
 * Going takes two commits for a whole batch: rows marked, files removed, rows
 * removed (I2). Any thread may do it; being chosen (evict_begin_locked) takes
 * a version out of service under the lock, so two threads never choose the
 * same one, and what others are deleting already counts as `dying`: nobody
 * chooses more than needed.
 *
 * If the mark cannot be committed because the disk is full, the files go all
 * the same: a row without a file is harmless, and deleting must not need
 * space (C6).
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "fs/cache/internal.h"

#include <utlist.h>

#define BATCH_MAX 64
#define FAILED_PAUSE_NS (5 * NS_PER_S)

/* ---- one batch ----------------------------------------------------------- */

void evict_begin_locked(struct version *v)
{
	struct cache *c = v->cache;
	struct leftovers none = LEFTOVERS_NONE;

	assert(!v->moving && v->reserved_bytes == 0 && v->mends == 0);
	v->moving = v->leaving = true;
	v->uses++;
	flush_forget_locked(v, &none);
	c->space.dying_bytes += v->place.bytes;
	LOCK_SCOPE(&v->lock);
	v->doomed_bits = TAKE(v->bits);
	v->doomed_n = v->n_stored;
	v->doomed_bytes = v->stored_bytes;
	v->n_stored = v->stored_bytes = 0;
	v->n_cleared++;
}

static void revert_locked(struct version *v)
{
	struct cache *c = v->cache;

	c->space.dying_bytes -= v->place.bytes;
	lock_take(&v->lock);
	v->bits = TAKE(v->doomed_bits);
	v->n_stored = v->doomed_n;
	v->stored_bytes = v->doomed_bytes;
	lock_give(&v->lock);
	/* It may have had volatile bits. */
	if (v->state == VERSION_LIVE && v->fd >= 0)
		flush_note_locked(v, false);
}

/* Our descriptor goes before the file, so that unlink really frees it; unless
 * somebody may be reading from it. */
static void give_up_fd(struct version *v, struct retired *r, bool *ret_kept)
{
	struct cache *c = v->cache;
	int fd;

	lock_take(&c->lock);
	while (v->in_file)
		cond_wait(&c->moved, &c->lock);
	fd = v->fd;
	__atomic_store_n(&v->fd, -1, __ATOMIC_RELEASE);
	*ret_kept = fd >= 0 && v->refs > 0;
	if (*ret_kept) {
		*r = (struct retired){.fd = fd, .bytes = v->place.bytes};
		LL_PREPEND(v->retired, r);
	}
	lock_give(&c->lock);
	if (fd >= 0 && !*ret_kept)
		close(fd);
}

/* The file. *ret_freed: are its bytes free now? */
static int remove_file(struct version *v, bool *ret_freed)
{
	struct retired *r = calloc(1, sizeof(*r));
	bool kept;
	int ret;

	if (!r)
		return -ENOMEM;
	give_up_fd(v, r, &kept);
	if (!kept)
		free(r);
	ret = datafile_remove(v->cache->data_fd, v->ident.id);
	*ret_freed = !kept;
	return ret;
}

static void gone_locked(struct version *v, int error, bool freed,
			uint64_t *sum)
{
	struct cache *c = v->cache;

	c->space.dying_bytes -= v->place.bytes;
	if (error) {
		/* Marked: the next start removes it. Its bytes stay used. */
		v->state = VERSION_STUCK;
		return;
	}
	c->n.evicted++;
	c->n.evicted_bytes += v->doomed_bytes;
	c->n.evicted_held += v->place.held_until_s > clock_unix_s();
	order_remove_locked(c, v);
	c->space.rows_bytes -= space_row(v->n_blocks);
	if (freed) {
		space_free(&c->space, v->place.bytes);
		*sum += v->place.bytes;
	}
	v->state = VERSION_EMPTY;
	version_unkeep_all_locked(v);
	v->wanted = false;
	v->place.bytes = 0;
	v->place.held_until_s = 0;
	v->complete_at_s = v->stored_at_s = 0;
}

/* Ends the walk of all, whatever came out. */
static void end_all(struct cache *c, struct version **v, size_t n, int marked,
		    const int *error, const bool *freed, uint64_t *sum)
{
	for (size_t i = 0; i < n; i++) {
		struct leftovers l = LEFTOVERS_NONE;
		uint64_t id = v[i]->ident.id;
		uint8_t *bits;

		lock_take(&c->lock);
		if (marked)
			revert_locked(v[i]);
		else
			gone_locked(v[i], error[i], freed[i], sum);
		bits = TAKE(v[i]->doomed_bits);
		v[i]->moving = v[i]->leaving = false;
		version_unuse_locked(v[i], &l);
		cond_wake_all(&c->moved);
		lock_give(&c->lock);
		leftovers_end(c, &l);
		free(bits);
		tell_changed(c, id);
	}
}

int evict_end(struct cache *c, struct version **v, size_t n,
	      enum evict_why why, uint64_t *ret_freed)
{
	struct index_key key[BATCH_MAX] = {0};
	int error[BATCH_MAX] = {0};
	bool freed[BATCH_MAX] = {false};
	uint64_t sum = 0;
	size_t n_gone = 0;
	int marked, r = 0;

	assert(n <= BATCH_MAX);
	for (size_t i = 0; i < n; i++)
		key[i] = version_key(v[i]);
	marked = index_mark(c->index, key, n);
	if (marked == -ENOSPC)
		marked = 0;
	for (size_t i = 0; i < n && !marked; i++) {
		error[i] = remove_file(v[i], &freed[i]);
		if (!error[i])
			key[n_gone++] = version_key(v[i]);
		else
			r = error[i];
	}
	/* Should the rows stay, the next start or the next row of the same id
	 * removes them. */
	if (!marked && n_gone)
		(void)index_remove(c->index, key, n_gone, why);
	index_measure(c);
	end_all(c, v, n, marked, error, freed, &sum);
	*ret_freed = sum;
	return marked ? marked : r;
}

/* ---- by the rules -------------------------------------------------------- */

/* Takes the chain out of service, up to a batch. */
static size_t begin_chain_locked(struct place *first, struct version **out)
{
	size_t n = 0;

	for (struct place *p = first; p && n < BATCH_MAX; p = p->next_victim)
		out[n++] = version_of(p);
	for (size_t i = 0; i < n; i++)
		evict_begin_locked(out[i]);
	return n;
}

static void warn_held(struct version *const *v, size_t n)
{
	int64_t now_s = clock_unix_s();

	for (size_t i = 0; i < n; i++)
		if (v[i]->place.held_until_s > now_s)
			log_warn("cache",
				 "%s is on hold, but a reader needs its space "
				 "and nothing else can go: evicting it",
				 v[i]->ident.name);
}

/* Deletes what `shortage` takes; the lock is given back meanwhile. -ENOSPC:
 * nothing can go. */
int evict_for_locked(struct cache *c, uint64_t shortage,
		     const struct victim_rules *rules, enum evict_why why,
		     uint64_t *ret)
{
	struct version *v[BATCH_MAX];
	uint64_t freed = 0;
	size_t n;
	int r;

	if (shortage <= c->space.dying_bytes) {
		/* Others are at it: their end rings. */
		cond_wait(&c->moved, &c->lock);
		*ret = 0;
		return 0;
	}
	shortage -= c->space.dying_bytes;
	n = begin_chain_locked(victims_choose(c->order, shortage, rules), v);
	if (n == 0)
		return -ENOSPC;
	lock_give(&c->lock);
	warn_held(v, n);
	r = evict_end(c, v, n, why, &freed);
	if (r)
		log_err("cache", "evicting failed: %s; new blocks are served "
			"from memory and not stored", strerror(-r));
	lock_take(&c->lock);
	if (r)
		c->no_evict_until_ns = clock_mono_ns() + FAILED_PAUSE_NS;
	*ret = freed;
	return r;
}

int evict_now(struct cache *c, uint64_t bytes, struct victim_rules rules,
	      enum evict_why why, uint64_t *ret_freed)
{
	LOCK_SCOPE(&c->lock);
	return evict_for_locked(c, bytes, &rules, why, ret_freed);
}
