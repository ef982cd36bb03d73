/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocks.c - the bits of one version, and the bytes behind them.
 *
 * Reads ask the bitmap in memory, under the version's own lock and nothing
 * else. A bit is set as soon as pwrite returned: the page cache has the bytes,
 * and a reader must not wait for the disk (C1 is about the bit in the index,
 * which the flusher sets later).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bitmap.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "fs/cache/internal.h"

/* A failing disk must not cost the whole cache, one victim per block. */
#define EIO_EVICT_GAP_NS (60 * NS_PER_S)

/* ---- blocks and bytes ---------------------------------------------------- */

uint32_t version_block_length(const struct version *v, uint64_t block)
{
	return manifest_block_length(v->ident.size_bytes, v->ident.block_bytes,
				     block);
}

uint64_t version_block_charge(const struct version *v, uint64_t block)
{
	return space_block(version_block_length(v, block));
}

uint64_t version_overhead(const struct version *v)
{
	return space_row(v->n_blocks) + space_inode(v->n_blocks);
}

void version_copy_bits(struct version *v, uint8_t *out, uint64_t *ret_n_stored)
{
	LOCK_SCOPE(&v->lock);
	if (v->bits)
		memcpy(out, v->bits, bitmap_bytes(v->n_blocks));
	else
		memset(out, 0, bitmap_bytes(v->n_blocks));
	*ret_n_stored = v->n_stored;
}

static uint64_t cut(const struct version *v, uint64_t end)
{
	return end < v->n_blocks ? end : v->n_blocks;
}

bool version_complete(struct version *v)
{
	LOCK_SCOPE(&v->lock);
	return v->n_stored == v->n_blocks;
}

bool version_has_all(struct version *v, uint64_t first, uint64_t n)
{
	if (first > v->n_blocks || n > v->n_blocks - first)
		return false;
	if (n == 0)
		return true;
	LOCK_SCOPE(&v->lock);
	if (v->n_stored == v->n_blocks)
		return true;
	return v->bits &&
	       bitmap_next_clear(v->bits, first, first + n) == first + n;
}

bool version_has(struct version *v, uint64_t block)
{
	return version_has_all(v, block, 1);
}

uint64_t version_next_missing(struct version *v, uint64_t from, uint64_t end)
{
	uint64_t at, last = cut(v, end);

	LOCK_SCOPE(&v->lock);
	if (from >= last)
		return end;
	at = v->bits ? bitmap_next_clear(v->bits, from, last) : from;
	return at < last ? at : end;
}

uint64_t version_next_stored(struct version *v, uint64_t from, uint64_t end)
{
	uint64_t at, last = cut(v, end);

	LOCK_SCOPE(&v->lock);
	if (from >= last || !v->bits)
		return end;
	at = bitmap_next_set(v->bits, from, last);
	return at < last ? at : end;
}

uint64_t version_stored_bytes(struct version *v)
{
	LOCK_SCOPE(&v->lock);
	return v->stored_bytes;
}

/* ---- kept blocks --------------------------------------------------------- */

bool version_keeps_locked(const struct version *v, uint64_t block)
{
	return v->kept && bitmap_get(v->kept, block);
}

static void keep_locked(struct version *v, uint64_t block)
{
	bitmap_set(v->kept, block);
	v->kept_bytes += version_block_charge(v, block);
}

static void unkeep_locked(struct version *v, uint64_t block)
{
	bitmap_clear(v->kept, block);
	v->kept_bytes -= version_block_charge(v, block);
}

void version_unkeep_all_locked(struct version *v)
{
	LOCK_SCOPE(&v->lock);
	free(v->kept);
	free(v->bad);
	v->kept = v->bad = NULL;
	v->kept_bytes = v->n_bad = 0;
}

/* ---- storing ------------------------------------------------------------- */

/* The reservation is this caller's from here on: no unreserve gives it back
 * while the write is on its way. *ret_charge: what it was given; nothing for
 * a kept block. */
static bool claim(struct version *v, uint64_t block, uint64_t *ret_charge)
{
	LOCK_SCOPE(&v->lock);
	if (!v->reserved || !bitmap_get(v->reserved, block))
		return false;
	bitmap_clear(v->reserved, block);
	v->n_reserved--;
	*ret_charge = version_keeps_locked(v, block)
			      ? 0
			      : version_block_charge(v, block);
	return true;
}

static int write_block(struct version *v, uint64_t block, const void *data,
		       uint32_t n)
{
	int fd = version_fd(v);

	if (fd < 0)
		return -EIO;
	return datafile_write(fd, data, n,
			      block * (uint64_t)v->ident.block_bytes);
}

/* C6: the disk took less than the accounts said. */
static int make_room_below(struct cache *c, int error, uint64_t bytes)
{
	struct victim_rules rules = rules_now(c, RESERVE_PREFETCH);
	uint64_t freed;

	lock_take(&c->lock);
	c->n.write_errors++;
	if (error == -EIO && rules.now_ns < c->io_evict_after_ns) {
		lock_give(&c->lock);
		return error;
	}
	if (error == -EIO)
		c->io_evict_after_ns = rules.now_ns + EIO_EVICT_GAP_NS;
	lock_give(&c->lock);
	return evict_now(c, bytes, rules, EVICT_ROOM, &freed);
}

/* No hole is made in the file of a version that is open (I5). */
static bool must_keep(struct version *v)
{
	LOCK_SCOPE(&v->cache->lock);
	return v->opens > 0;
}

/*
 * What a failed write left in the file is harmless (its bit is clear) but
 * takes space: punch it out, and charge what stays all the same. Writes on
 * their way look like leftovers too; that errs on the dear side.
 */
static uint64_t leftover_bytes(struct version *v, uint64_t block,
			       uint64_t charge)
{
	int fd = version_fd(v);
	uint64_t on_disk, left;

	if (fd < 0 || charge == 0)
		return 0;
	if ((!must_keep(v) &&
	     datafile_punch(fd, block * (uint64_t)v->ident.block_bytes,
			    version_block_length(v, block)) == 0) ||
	    datafile_disk_bytes(fd, &on_disk) < 0)
		return 0;
	LOCK_SCOPE(&v->cache->lock);
	left = on_disk > v->place.bytes ? on_disk - v->place.bytes : 0;
	return left < charge ? left : charge;
}

static void store_failed(struct version *v, uint64_t block, uint64_t charge)
{
	struct cache *c = v->cache;
	uint64_t left = leftover_bytes(v, block, charge);

	lock_take(&c->lock);
	space_use(&c->space, left);
	space_unreserve(&c->space, charge - left);
	v->reserved_bytes -= charge;
	v->mends -= charge == 0;
	v->place.bytes += left;
	cond_wake_one(&c->bell);
	lock_give(&c->lock);
}

static void store_done(struct version *v, uint64_t block, uint64_t charge,
		       uint32_t n)
{
	struct cache *c = v->cache;
	bool complete;

	lock_take(&c->lock);
	v->mends -= charge == 0;
	space_use(&c->space, charge);
	v->reserved_bytes -= charge;
	v->place.bytes += charge;
	lock_take(&v->lock);
	bitmap_set(v->bits, block);
	if (charge == 0)
		unkeep_locked(v, block);
	if (v->bad && bitmap_get(v->bad, block)) {
		bitmap_clear(v->bad, block);
		v->n_bad--;
		c->n.repaired_blocks++;
	}
	v->n_stored++;
	v->stored_bytes += n;
	complete = v->n_stored == v->n_blocks;
	lock_give(&v->lock);
	c->n.stored_blocks++;
	flush_note_locked(v, complete);
	lock_give(&c->lock);
	tell_changed(c, v->ident.id);
}

int version_store(struct version *v, uint64_t block, const void *data,
		  uint32_t n)
{
	uint64_t charge;
	int r;

	if (block >= v->n_blocks || n != version_block_length(v, block) ||
	    !claim(v, block, &charge))
		return -EINVAL;
	r = write_block(v, block, data, n);
	if ((r == -ENOSPC || r == -EDQUOT || r == -EIO) &&
	    make_room_below(v->cache, r, charge) == 0)
		r = write_block(v, block, data, n);
	if (r)
		store_failed(v, block, charge);
	else
		store_done(v, block, charge, n);
	return r;
}

bool version_stored_now(struct version *v, uint64_t first, uint64_t n,
			uint64_t *ret)
{
	LOCK_SCOPE(&v->lock);
	*ret = v->n_cleared;
	return v->bits &&
	       bitmap_next_clear(v->bits, first, first + n) == first + n;
}

/*
 * Takes no lock that others hold for long. What was cleared while we read
 * may have been punched out under us, or the whole file have been another
 * one: then what we have are perhaps zeros, and not what was stored (R1).
 */
int version_read(struct version *v, void *buf, uint32_t n, uint64_t offset)
{
	uint32_t bb = v->ident.block_bytes;
	uint64_t first = offset / bb, blocks, before, after;
	int fd, r;

	if (offset > v->ident.size_bytes || n > v->ident.size_bytes - offset)
		return -EINVAL;
	if (n == 0)
		return 0;
	blocks = (offset + n - 1) / bb - first + 1;
	if (!version_stored_now(v, first, blocks, &before))
		return -ENODATA;
	r = point("read.read");
	fd = version_fd(v);
	if (!r)
		r = fd < 0 ? -EIO : fd_pread_all(fd, buf, n, offset);
	version_stored_now(v, first, blocks, &after);
	return after == before ? r : -ENODATA;
}

/* ---- forgetting ---------------------------------------------------------- */

/* From the bits in memory. Returns what the dropped blocks are charged; with
 * `keep` they stay charged. */
static uint64_t drop_bits_locked(struct version *v, uint8_t *drop, bool keep)
{
	uint64_t charge = 0, i = 0;

	LOCK_SCOPE(&v->lock);
	v->n_cleared++;
	while ((i = bitmap_next_set(drop, i, v->n_blocks)) < v->n_blocks) {
		if (!v->bits || !bitmap_get(v->bits, i)) {
			bitmap_clear(drop, i);
		} else {
			bitmap_clear(v->bits, i);
			v->n_stored--;
			v->stored_bytes -= version_block_length(v, i);
			charge += version_block_charge(v, i);
			if (keep)
				keep_locked(v, i);
		}
		i++;
	}
	return charge;
}

/* From the bits in the index. */
static int drop_durable(struct version *v, struct index_key key,
			const uint8_t *drop, bool wanted)
{
	size_t n = bitmap_bytes(v->n_blocks);
	CLEAN_FREE uint8_t *bits = malloc(n ? n : 1);
	struct index_bits put = {.key = key, .bits = bits, .n_bits_bytes = n,
				 .wanted = wanted};
	int r;

	if (!bits)
		return -ENOMEM;
	r = point("forget.commit");
	if (!r)
		r = index_get_bits(v->cache->index, key, bits, n);
	if (r)
		return r;
	for (size_t i = 0; i < n; i++)
		bits[i] = (uint8_t)(bits[i] & ~drop[i]);
	return index_put_bits(v->cache->index, &put, 1);
}

static int punch(struct version *v, const uint8_t *drop)
{
	uint32_t bb = v->ident.block_bytes;
	uint64_t from = 0, to;
	int fd = version_fd(v);
	int r = fd < 0 ? -EIO : 0;

	while (!r && (from = bitmap_next_set(drop, from, v->n_blocks)) <
			     v->n_blocks) {
		to = bitmap_next_clear(drop, from, v->n_blocks);
		r = datafile_punch(fd, from * bb, (to - from) * bb);
		from = to;
	}
	return r;
}

int blocks_drop(struct version *v, uint8_t *drop)
{
	struct cache *c = v->cache;
	size_t n = bitmap_bytes(v->n_blocks);
	CLEAN_FREE uint8_t *map = calloc(1, n ? n : 1);
	struct index_key key;
	uint64_t charge;
	bool keep, wanted;
	int r = 0;

	if (!map)
		return -ENOMEM;
	lock_take(&c->lock);
	version_settle_locked(v);
	v->mending = true;
	key = version_key(v);
	/* Whoever opens it from here on finds it incomplete. */
	keep = v->opens > 0;
	if (keep && !v->kept)
		v->kept = TAKE(map);
	charge = drop_bits_locked(v, drop, keep);
	if (charge) {
		v->wanted = v->wanted || v->complete_at_s;
		v->complete_at_s = 0;
	}
	wanted = v->wanted;
	lock_give(&c->lock);

	/* Not punched while the index may still say that it is there (I3). It
	 * stays charged then, which errs on the dear side. */
	if (charge) {
		r = drop_durable(v, key, drop, wanted);
		if (!r && (keep || punch(v, drop) < 0))
			charge = 0;
	}
	lock_take(&c->lock);
	if (!r && charge) {
		space_free(&c->space, charge);
		v->place.bytes -= charge;
	}
	v->mending = false;
	cond_wake_all(&c->moved);
	cond_wake_one(&c->bell);
	lock_give(&c->lock);
	tell_changed(c, v->ident.id);
	return r;
}

/* To be known when it is stored again. False: it is not stored. Too little
 * memory for the note costs the note. */
static bool note_bad(struct version *v, uint64_t block)
{
	size_t n = bitmap_bytes(v->n_blocks);
	CLEAN_FREE uint8_t *map = calloc(1, n ? n : 1);
	bool stored;

	lock_take(&v->cache->lock);
	lock_take(&v->lock);
	stored = v->bits && bitmap_get(v->bits, block);
	if (stored) {
		v->cache->n.bad_blocks++;
		if (!v->bad)
			v->bad = TAKE(map);
	}
	if (stored && v->bad && !bitmap_get(v->bad, block)) {
		bitmap_set(v->bad, block);
		v->n_bad++;
	}
	lock_give(&v->lock);
	lock_give(&v->cache->lock);
	return stored;
}

int version_forget_block(struct version *v, uint64_t block)
{
	size_t n = bitmap_bytes(v->n_blocks);
	CLEAN_FREE uint8_t *drop = calloc(1, n ? n : 1);
	struct cache *c = v->cache;
	bool stored;
	int r = 0;

	if (!drop)
		return -ENOMEM;
	if (block >= v->n_blocks)
		return -EINVAL;
	bitmap_set(drop, block);
	/* No flush in flight has a picture with this bit. */
	flush_own(c);
	stored = note_bad(v, block);
	if (stored)
		r = blocks_drop(v, drop);
	flush_disown(c);
	if (stored && c->forgotten)
		c->forgotten(c->ctx, v->ident.id);
	return r;
}
