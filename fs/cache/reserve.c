/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reserve.c - space before bytes (C3, C5), the row before the file (C2).
 *
 * Whoever cannot be served at once waits in a queue: readers before
 * prefetches, else as they came. The evictor makes room for the first one,
 * promises it to that version and calls `again`; while the queue is not empty
 * nobody of the same rank takes room past it, so a stream of small requests
 * cannot starve a large one. A promise that is not called for ends after
 * PROMISE_NS (evict.c). (Handing out the reservation itself instead was rejected: one
 * who went away meanwhile would never give it back.)
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/bitmap.h"
#include "common/cleanup.h"
#include "fs/cache/internal.h"

#include <utlist.h>

#define ASK_MAX 64 /* for those who wait inside, against surprises */

/* ---- samples ------------------------------------------------------------ */

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

/* ---- the queue ---------------------------------------------------------- */

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
static int can_be_had_locked(struct version *v, uint64_t shortage,
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
	if (shortage && !can_be_had_locked(v, shortage, why)) {
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

/* Waits itself, where the caller has no `again`; -EAGAIN then says that it
 * waited, and has to look anew. */
static int ask_or_wait_locked(struct version *v, uint64_t need,
			      enum reserve_for why, void (*again)(void *ctx),
			      void *ctx, const struct fs_sample *fs)
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

/* ---- row and file ------------------------------------------------------- */

/* The row: new, or that of a hold, which now takes its place in the order. */
static int make_row(struct version *v, bool fresh, uint64_t seq, int64_t now_s,
		    const uint8_t *bits)
{
	const struct manifest *m = version_manifest(v);
	struct index_row row = {
		.seq = seq,
		.ident = &v->ident,
		.stored_at_s = now_s,
		.complete_at_s = v->n_blocks ? 0 : now_s,
		.held_until_s = 0,
		.bits = bits,
		.n_bits_bytes = bitmap_bytes(v->n_blocks)};
	CLEAN_FREE void *data = NULL;
	size_t n = 0;
	int r;

	if (!fresh)
		return index_move(v->cache->index, v->ident.id, v->place.seq,
				  seq, now_s);
	if (m) {
		r = manifest_encode(m, &data, &n);
		if (r)
			return r;
	}
	return index_add(v->cache->index, &row, data, n);
}

static void made_locked(struct version *v, bool fresh, uint64_t seq,
			int64_t now_s, uint8_t **bits, int *fd)
{
	struct cache *c = v->cache;

	if (fresh) {
		space_use(&c->space, version_overhead(v));
		c->space.rows_bytes += space_row(v->n_blocks);
		v->place.bytes = version_overhead(v);
		v->complete_at_s = v->n_blocks ? 0 : now_s;
	} else {
		order_remove_locked(c, v);
	}
	v->place.seq = seq;
	v->stored_at_s = now_s;
	order_add_locked(c, v);
	v->state = VERSION_ROW;
	if (*fd < 0)
		return;
	v->state = VERSION_LIVE;
	__atomic_store_n(&v->fd, TAKE_FD(*fd), __ATOMIC_RELEASE);
	c->dir_dirty = true;
	LOCK_SCOPE(&v->lock);
	if (!v->bits)
		v->bits = TAKE(*bits);
}

int make_on_disk(struct version *v, bool with_file)
{
	struct cache *c = v->cache;
	size_t n = bitmap_bytes(v->n_blocks);
	CLEAN_FREE uint8_t *bits = calloc(1, n ? n : 1);
	CLEAN_FD int fd = -1;
	int64_t now_s = clock_unix_s();
	struct index_key key = {.id = v->ident.id};
	bool fresh, row = false;
	int r;

	lock_take(&c->lock);
	assert(v->moving);
	fresh = v->state == VERSION_EMPTY;
	key.seq = ++c->next_seq;
	lock_give(&c->lock);

	r = bits ? make_row(v, fresh, key.seq, now_s, bits) : -ENOMEM;
	row = r == 0;
	if (!r && with_file) {
		fd = datafile_create(c->data_fd, v->ident.id,
				     v->ident.size_bytes);
		r = fd < 0 ? fd : 0;
	}
	if (r && fresh && row)
		row = index_remove(c->index, &key, 1) != 0;
	index_measure(c);

	lock_take(&c->lock);
	if (row)
		made_locked(v, fresh, key.seq, now_s, &bits, &fd);
	else if (fresh)
		space_unreserve(&c->space, version_overhead(v));
	v->moving = false;
	cond_wake_all(&c->moved);
	lock_give(&c->lock);
	return r;
}

/* ---- reservations ------------------------------------------------------- */

/* What [first, first + n) needs; -EINVAL if any of it is reserved already. */
static int price_locked(struct version *v, uint64_t first, uint64_t n,
			uint64_t *ret)
{
	uint64_t sum = 0;

	LOCK_SCOPE(&v->lock);
	for (uint64_t i = first; i < first + n; i++) {
		if (v->bits && bitmap_get(v->bits, i))
			continue;
		if (v->reserved && bitmap_get(v->reserved, i))
			return -EINVAL;
		sum += version_block_charge(v, i);
	}
	*ret = sum;
	return 0;
}

static void grant_locked(struct version *v, uint64_t first, uint64_t n,
			 uint64_t bytes, uint8_t **map)
{
	v->reserved_bytes += bytes;
	LOCK_SCOPE(&v->lock);
	if (!v->reserved)
		v->reserved = TAKE(*map);
	for (uint64_t i = first; i < first + n; i++) {
		if (v->bits && bitmap_get(v->bits, i))
			continue;
		bitmap_set(v->reserved, i);
		v->n_reserved++;
	}
}

/* One round: asks for room and marks the blocks. With *ret_make the caller has
 * to make row and file. Without `again` it returns -EAGAIN after the wait. */
static int reserve_once(struct version *v, uint64_t first, uint64_t n,
			enum reserve_for why, void (*again)(void *ctx),
			void *ctx, uint8_t **map, bool *ret_make)
{
	struct cache *c = v->cache;
	struct fs_sample fs;
	uint64_t bytes, row;
	int r;

	fs_sample_take(c, &fs);
	LOCK_SCOPE(&c->lock);
	version_settle_locked(v);
	if (v->state == VERSION_STUCK)
		return -EIO;
	r = price_locked(v, first, n, &bytes);
	if (r)
		return r;
	row = v->state == VERSION_EMPTY ? version_overhead(v) : 0;
	if (bytes + row)
		r = ask_or_wait_locked(v, bytes + row, why, again, ctx, &fs);
	if (r)
		return r;
	grant_locked(v, first, n, bytes, map);
	*ret_make = v->state != VERSION_LIVE;
	if (*ret_make)
		v->moving = true;
	return 0;
}

int version_reserve(struct version *v, uint64_t first, uint64_t n,
		    enum reserve_for why, void (*again)(void *ctx), void *ctx)
{
	size_t map_bytes = bitmap_bytes(v->n_blocks);
	CLEAN_FREE uint8_t *map = calloc(1, map_bytes ? map_bytes : 1);
	bool make = false;
	int r = -EAGAIN;

	if (!map)
		return -ENOMEM;
	if (first > v->n_blocks || n > v->n_blocks - first)
		return -EINVAL;
	for (int i = 0; r == -EAGAIN && i < (again ? 1 : ASK_MAX); i++)
		r = reserve_once(v, first, n, why, again, ctx, &map, &make);
	if (r == -EAGAIN && !again)
		r = -ENOSPC;
	if (r || !make)
		return r;
	r = make_on_disk(v, true);
	if (r)
		version_unreserve(v, first, n);
	return r;
}

static int row_once(struct version *v)
{
	struct fs_sample fs;
	int r;

	fs_sample_take(v->cache, &fs);
	LOCK_SCOPE(&v->cache->lock);
	version_settle_locked(v);
	if (v->state != VERSION_EMPTY)
		return v->state == VERSION_STUCK ? -EIO : 0;
	r = ask_or_wait_locked(v, version_overhead(v), RESERVE_PREFETCH, NULL,
			       NULL, &fs);
	if (r)
		return r;
	v->moving = true;
	return 1;
}

int room_for_row(struct version *v)
{
	int r = -EAGAIN;

	for (int i = 0; r == -EAGAIN && i < ASK_MAX; i++)
		r = row_once(v);
	return r == -EAGAIN ? -ENOSPC : r;
}

bool version_could_fit(struct version *v, enum reserve_for why)
{
	struct cache *c = v->cache;
	struct fs_sample fs;
	uint64_t need, shortage;

	fs_sample_take(c, &fs);
	LOCK_SCOPE(&c->lock);
	if (v->state == VERSION_STUCK)
		return false;
	need = space_block(v->ident.size_bytes) - v->reserved_bytes -
	       space_block(version_stored_bytes(v));
	if (v->state == VERSION_EMPTY)
		need += version_overhead(v);
	shortage = space_shortage(&c->space, &fs, need, v->promised_bytes);
	return shortage == 0 || can_be_had_locked(v, shortage, why);
}

void version_unreserve(struct version *v, uint64_t first, uint64_t n)
{
	struct cache *c = v->cache;
	uint64_t bytes = 0, end = first + n;

	if (end > v->n_blocks || end < first)
		end = v->n_blocks;
	LOCK_SCOPE(&c->lock);
	lock_take(&v->lock);
	for (uint64_t i = first; v->reserved && i < end; i++) {
		if (!bitmap_get(v->reserved, i))
			continue;
		bitmap_clear(v->reserved, i);
		v->n_reserved--;
		bytes += version_block_charge(v, i);
	}
	lock_give(&v->lock);
	space_unreserve(&c->space, bytes);
	v->reserved_bytes -= bytes;
	cond_wake_one(&c->bell);
	cond_wake_all(&c->moved);
}
