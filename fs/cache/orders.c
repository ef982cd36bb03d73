/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders.c - what people and the origin order: evict this one, reclaim so
 * much, hold that one. They run on the caller's thread; a person who waits
 * for a deletion waits for the disk.
 */
#include <errno.h>

#include "fs/cache/internal.h"

/* What has a row, settled and kept by a use; NULL if there is none. */
static struct version *find_row_locked(struct cache *c, uint64_t id)
{
	struct version *v;

	HASH_FIND(hh, c->table, &id, sizeof(id), v);
	if (!v)
		return NULL;
	v->uses++;
	version_settle_locked(v);
	return v;
}

static int may_evict_locked(const struct version *v,
			    const struct digest *digest, bool force)
{
	if (v->state == VERSION_EMPTY)
		return -ENOENT;
	if (digest && !digest_equal(digest, &v->ident.digest))
		return -ESTALE;
	if (v->state == VERSION_STUCK)
		return -EIO;
	if (version_in_work_locked(v))
		return -EBUSY;
	if (!force && v->place.held_until_s > clock_unix_s())
		return -EPERM;
	return 0;
}

int cache_evict(struct cache *c, uint64_t id, const struct digest *digest,
		bool force, uint64_t *ret_freed_bytes)
{
	struct leftovers l = LEFTOVERS_NONE;
	struct version *v;
	uint64_t freed = 0;
	int r;

	lock_take(&c->lock);
	v = find_row_locked(c, id);
	r = v ? may_evict_locked(v, digest, force) : -ENOENT;
	if (!r)
		evict_begin_locked(v);
	if (v)
		version_unuse_locked(v, &l);
	lock_give(&c->lock);
	leftovers_end(c, &l);
	if (!r)
		r = evict_end(c, &v, 1, EVICT_ASKED, &freed);
	if (!r && ret_freed_bytes)
		*ret_freed_bytes = freed;
	return r;
}

int cache_reclaim(struct cache *c, uint64_t bytes, uint64_t *ret_freed_bytes)
{
	uint64_t freed = 0, some, room;
	struct victim_rules rules;
	struct fs_sample fs;
	int r = 0;

	while (!r) {
		fs_sample_take(c, &fs);
		lock_take(&c->lock);
		room = space_room(&c->space, &fs);
		rules = rules_now(c, RESERVE_PREFETCH);
		rules.partly = true;
		lock_give(&c->lock);
		if (room >= bytes)
			break;
		r = evict_now(c, bytes - room, rules, EVICT_RECLAIM, &some);
		if (!r)
			freed += some;
	}
	if (ret_freed_bytes)
		*ret_freed_bytes = freed;
	return r;
}

/* ---- holds --------------------------------------------------------------- */

/* A row for what has none, without a file. */
static int make_bare_row(struct version *v)
{
	struct cache *c = v->cache;
	int r = room_for_row(v);

	if (r <= 0)
		return r;
	r = make_on_disk(v, false);
	tell_changed(c, v->ident.id);
	return r;
}

static int set_hold(struct version *v, int64_t until_s)
{
	struct cache *c = v->cache;
	struct index_key key;
	int r;

	lock_take(&c->lock);
	version_settle_locked(v);
	if (v->state == VERSION_STUCK) {
		lock_give(&c->lock);
		return -EIO;
	}
	v->moving = true;
	key = version_key(v);
	lock_give(&c->lock);
	r = index_hold(c->index, key, until_s);
	lock_take(&c->lock);
	if (!r)
		v->place.held_until_s = until_s;
	v->moving = false;
	cond_wake_all(&c->moved);
	lock_give(&c->lock);
	tell_changed(c, v->ident.id);
	return r;
}

static int release(struct cache *c, uint64_t id)
{
	struct version *v;
	bool bare;
	int r = cache_find(c, id, &v);

	if (r)
		return r == -ENOENT ? 0 : r;
	lock_take(&c->lock);
	version_settle_locked(v);
	bare = v->state == VERSION_ROW;
	lock_give(&c->lock);
	/* A row that was made for the hold alone goes with it. */
	if (bare)
		r = cache_evict(c, id, NULL, true, NULL);
	if (!bare || r == -EBUSY)
		r = set_hold(v, 0);
	version_put(v);
	return r == -ENOENT ? 0 : r;
}

int cache_hold(struct cache *c, const struct version_ident *ident,
	       int64_t until_s)
{
	struct version *v;
	int r;

	if (until_s <= clock_unix_s())
		return release(c, ident->id);
	r = cache_get(c, ident, &v);
	if (r)
		return r;
	version_pin(v); /* not evicted between row and hold */
	r = make_bare_row(v);
	if (!r)
		r = set_hold(v, until_s);
	version_unpin(v);
	version_put(v);
	return r;
}
