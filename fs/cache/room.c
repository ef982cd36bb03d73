/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room.c - who gets room, and in which order (C3, C5).
 *
 * Whoever cannot be served at once waits in a queue: readers before
 * prefetches, else as they came. The evictor makes room for the first one,
 * promises it to that version and calls `again`; while the queue is not empty
 * nobody of the same rank takes room past it, so a stream of small requests
 * cannot starve a large one. A promise that is not called for ends after
 * PROMISE_NS (evictor.c). (Handing out the reservation itself instead was
 * rejected: one who went away meanwhile would never give it back.)
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "fs/cache/internal.h"

#include <utlist.h>

/* ---- samples ------------------------------------------------------------- */

void fs_sample_take(struct cache *c, struct fs_sample *ret)
{
	struct statvfs sv;
	uint64_t written;

	lock_take(&c->lock);
	written = c->space.written_bytes;
	lock_give(&c->lock);
	/* Unknown counts as none: nothing is stored on a guess. */
	ret->avail_bytes = 0;
	if (fstatvfs(c->data_fd, &sv) == 0)
		ret->avail_bytes = (uint64_t)sv.f_bavail * sv.f_frsize;
	ret->written_bytes = written;
}

void index_measure(struct cache *c)
{
	uint64_t bytes = index_file_bytes(c->index);

	LOCK_SCOPE(&c->lock);
	c->space.index_bytes = bytes;
}

static bool busy(const struct place *p)
{
	const struct version *v = version_of(p);

	/* A descriptor that somebody may read from keeps the bytes: deleting
	 * the file would free nothing now. */
	return version_in_work_locked(v) || (v->refs > 0 && v->fd >= 0);
}

struct victim_rules rules_now(const struct cache *c, enum reserve_for why)
{
	return (struct victim_rules){.now_ns = clock_mono_ns(),
				     .now_s = clock_unix_s(),
				     .just_read_ns = c->just_read_ns,
				     .take_held = why == RESERVE_READER,
				     .busy = busy};
}

/* ---- files of others ----------------------------------------------------- */

/* Somebody else writes them: what they may take is used from here on. */
static int claim_files_locked(struct cache *c, uint64_t bytes)
{
	struct victim_rules rules = rules_now(c, RESERVE_PREFETCH);
	struct fs_sample fs;
	uint64_t more, shortage, freed;
	int r = 0;

	while (!r && bytes > c->space.files_bytes) {
		more = bytes - c->space.files_bytes;
		lock_give(&c->lock);
		fs_sample_take(c, &fs);
		lock_take(&c->lock);
		shortage = space_shortage(&c->space, &fs, more, 0);
		if (!shortage)
			break;
		r = evict_for_locked(c, shortage, &rules, EVICT_ROOM, &freed);
	}
	return r;
}

int cache_room_for_files(struct cache *c, uint64_t bytes)
{
	int r;

	bytes = space_block(bytes);
	LOCK_SCOPE(&c->lock);
	r = claim_files_locked(c, bytes);
	if (r)
		return r;
	c->space.files_bytes = bytes;
	cond_wake_one(&c->bell);
	return 0;
}

/* ---- the queue ----------------------------------------------------------- */

void promise_drop_locked(struct version *v)
{
	struct cache *c = v->cache;

	if (!v->promised_bytes)
		return;
	c->space.promised_bytes -= v->promised_bytes;
	v->promised_bytes = 0;
	LL_DELETE2(c->promised, v, promised_next);
	cond_wake_one(&c->bell);
}

static void promise_use_locked(struct version *v, uint64_t need)
{
	uint64_t left = v->promised_bytes > need ? v->promised_bytes - need : 0;

	if (left == 0) {
		promise_drop_locked(v);
		return;
	}
	v->cache->space.promised_bytes -= need;
	v->promised_bytes = left;
}

static int enqueue_locked(struct version *v, uint64_t need,
			  enum reserve_for why, void (*again)(void *ctx),
			  void *ctx)
{
	struct cache *c = v->cache;
	struct waiter *w = calloc(1, sizeof(*w));
	struct waiter **at = &c->waiters;

	if (!w)
		return -ENOMEM;
	*w = (struct waiter){.v = v, .need_bytes = need, .why = why,
			     .again = again, .ctx = ctx};
	while (*at && (*at)->why <= why)
		at = &(*at)->next;
	w->next = *at;
	*at = w;
	v->uses++;
	v->waiting++;
	cond_wake_one(&c->bell);
	return -EAGAIN;
}

/* Would it have to go past somebody of its rank? */
static bool behind_others_locked(const struct cache *c, enum reserve_for why)
{
	return c->waiters && c->waiters->why <= why;
}

/* Room, and what could be made by the rules, for something new in `v`. */
bool room_can_be_had_locked(struct version *v, uint64_t shortage,
			    enum reserve_for why)
{
	struct cache *c = v->cache;
	struct victim_rules rules = rules_now(c, why);
	uint64_t total;

	v->waiting++; /* not at its own expense */
	total = victims_total(c->order, &rules) + c->space.dying_bytes;
	v->waiting--;
	return total >= shortage;
}

/*
 * Room for `need` bytes, in space.reserved: 0, -EAGAIN (queued, `again` will
 * be called), -ENOSPC, -EIO.
 */
static int ask_locked(struct version *v, uint64_t need, enum reserve_for why,
		      void (*again)(void *ctx), void *ctx,
		      const struct fs_sample *fs)
{
	struct cache *c = v->cache;
	uint64_t promise = v->promised_bytes;
	uint64_t shortage = space_shortage(&c->space, fs, need, promise);

	if (!shortage && (promise >= need || !behind_others_locked(c, why))) {
		promise_use_locked(v, need);
		space_reserve(&c->space, need);
		return 0;
	}
	if (shortage && !room_can_be_had_locked(v, shortage, why)) {
		c->n.refused++;
		return -ENOSPC;
	}
	if (c->quit)
		return -ENOSPC;
	if (shortage && clock_mono_ns() < c->no_evict_until_ns)
		return -EIO;
	return enqueue_locked(v, need, why, again, ctx);
}

struct sleeper {
	struct cache *c;
	bool woken;
};

static void wake_sleeper(void *ctx)
{
	struct sleeper *s = ctx;

	LOCK_SCOPE(&s->c->lock);
	s->woken = true;
	cond_wake_all(&s->c->moved);
}

int room_ask_locked(struct version *v, uint64_t need, enum reserve_for why,
		    void (*again)(void *ctx), void *ctx,
		    const struct fs_sample *fs)
{
	struct sleeper s = {.c = v->cache};
	int r;

	if (again)
		return ask_locked(v, need, why, again, ctx, fs);
	r = ask_locked(v, need, why, wake_sleeper, &s, fs);
	while (r == -EAGAIN && !s.woken)
		cond_wait(&s.c->moved, &s.c->lock);
	return r;
}
