/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reserve.c - space before bytes (C3): a reservation is room that was granted
 * (room.c), marked block by block, so that what comes back can be neither too
 * much nor too little whatever became of the blocks meanwhile.
 */
#include <errno.h>
#include <stdlib.h>

#include "common/bitmap.h"
#include "common/cleanup.h"
#include "fs/cache/internal.h"

#define ASK_MAX 64 /* for those who wait inside, against surprises */

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
		if (!version_keeps_locked(v, i))
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
		v->mends += version_keeps_locked(v, i);
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
		r = room_ask_locked(v, bytes + row, why, again, ctx, &fs);
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
	r = room_ask_locked(v, version_overhead(v), RESERVE_PREFETCH, NULL,
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

static uint64_t kept_bytes(struct version *v)
{
	LOCK_SCOPE(&v->lock);
	return v->kept_bytes;
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
	       space_block(version_stored_bytes(v)) - kept_bytes(v);
	if (v->state == VERSION_EMPTY)
		need += version_overhead(v);
	shortage = space_shortage(&c->space, &fs, need, v->promised_bytes);
	return shortage == 0 || room_can_be_had_locked(v, shortage, why);
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
		if (version_keeps_locked(v, i))
			v->mends--;
		else
			bytes += version_block_charge(v, i);
	}
	lock_give(&v->lock);
	space_unreserve(&c->space, bytes);
	v->reserved_bytes -= bytes;
	cond_wake_one(&c->bell);
	cond_wake_all(&c->moved);
}
