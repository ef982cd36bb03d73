/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make.c - a version's row, and then its file (I2). Done by whoever reserves
 * or holds first; that thread has set `moving`, and others wait for it.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/bitmap.h"
#include "common/cleanup.h"
#include "fs/cache/internal.h"

/* The row: new, or that of a hold, which now takes its place in the order. */
static int make_row(struct version *v, bool fresh, bool wanted, uint64_t seq,
		    int64_t now_s, const uint8_t *bits)
{
	const struct manifest *m = version_manifest(v);
	struct index_row row = {
		.seq = seq,
		.ident = &v->ident,
		.stored_at_s = now_s,
		.complete_at_s = v->n_blocks ? 0 : now_s,
		.held_until_s = 0,
		.wanted = wanted,
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
	bool fresh, wanted, row = false;
	int r;

	lock_take(&c->lock);
	assert(v->moving);
	fresh = v->state == VERSION_EMPTY;
	wanted = v->wanted;
	key.seq = ++c->next_seq;
	lock_give(&c->lock);

	r = bits ? make_row(v, fresh, wanted, key.seq, now_s, bits) : -ENOMEM;
	row = r == 0;
	if (!r && with_file) {
		fd = datafile_create(c->data_fd, v->ident.id,
				     v->ident.size_bytes);
		r = fd < 0 ? fd : 0;
	}
	if (r && fresh && row)
		row = index_remove(c->index, &key, 1, EVICT_UNKNOWN) != 0;
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
