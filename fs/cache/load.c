/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c - start-up: what the last run left, clean or not (C2).
 *
 * One walk over the rows, one over the folder, a stat per file; no file is
 * opened unless it takes more space than its bits say, nothing is hashed.
 * What a crash can have left, and what becomes of it:
 *
 *	row marked deleted		its file goes, then the row
 *	file without a row		goes
 *	row without a file		goes, or is kept empty if on hold
 *	file shorter than its bits	the bits beyond its end are cleared
 *	file longer than its image	is cut: with passthrough the kernel
 *					reads to the file's end
 *	bytes without a bit		are punched out, unless somebody may
 *					be reading the file
 *
 * All bitmaps are read: 5,000 images of 4 GiB have 2.5 MB of them, and an open
 * must not touch the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bitmap.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "fs/cache/internal.h"

#include <utarray.h>
#include <utlist.h>

struct load {
	struct cache *c;
	UT_array *dead;	 /* struct index_key: rows to remove */
	UT_array *fixed; /* struct version *: bits to write again */
};

static uint64_t stored_sum(const struct version *v)
{
	uint64_t sum = v->n_stored * v->ident.block_bytes, last;

	if (!v->n_stored)
		return 0;
	last = v->n_blocks - 1;
	if (bitmap_get(v->bits, last))
		sum -= v->ident.block_bytes - version_block_length(v, last);
	return sum;
}

static void count_bits(struct version *v)
{
	v->n_stored = bitmap_count(v->bits, v->n_blocks);
	v->stored_bytes = stored_sum(v);
	v->place.bytes = version_overhead(v) + space_block(v->stored_bytes);
	if (v->n_stored != v->n_blocks)
		v->complete_at_s = 0;
	else if (!v->complete_at_s)
		v->complete_at_s = v->stored_at_s;
}

static int on_row(void *ctx, struct index_row *row)
{
	struct load *l = ctx;
	struct cache *c = l->c;
	struct index_key key = {.id = row->ident->id, .seq = row->seq};
	struct version *v;
	int r;

	if (row->seq > c->next_seq)
		c->next_seq = row->seq;
	if (row->deleted) {
		utarray_push_back(l->dead, &key);
		return 0;
	}
	r = version_new(c, row->ident, &v);
	if (r)
		return r;
	v->bits = malloc(row->n_bits_bytes ? row->n_bits_bytes : 1);
	if (!v->bits) {
		version_free(v);
		return -ENOMEM;
	}
	if (row->n_bits_bytes)
		memcpy(v->bits, row->bits, row->n_bits_bytes);
	v->state = VERSION_ROW;
	v->place.seq = row->seq;
	v->place.held_until_s = row->held_until_s;
	v->stored_at_s = row->stored_at_s;
	v->complete_at_s = row->complete_at_s;
	v->wanted = row->wanted;
	count_bits(v);
	HASH_ADD(hh, c->table, ident.id, sizeof(v->ident.id), v);
	order_add_locked(c, v);
	return 0;
}

/* Bytes of blocks that have no bit: writes that the last run did not get to
 * count, or that failed. What cannot be punched out is charged. */
static int punch_unknown(struct version *v)
{
	CLEAN_FD int fd = datafile_open(v->cache->data_fd, v->ident.id);
	uint32_t bb = v->ident.block_bytes;
	uint64_t from = 0, to, on_disk;

	if (fd < 0)
		return fd;
	if (v->cache->in_use &&
	    v->cache->in_use(v->cache->ctx, v->ident.id))
		from = v->n_blocks;
	while ((from = bitmap_next_clear(v->bits, from, v->n_blocks)) <
	       v->n_blocks) {
		to = bitmap_next_set(v->bits, from, v->n_blocks);
		if (datafile_punch(fd, from * bb, (to - from) * bb) < 0)
			break;
		from = to;
	}
	if (datafile_disk_bytes(fd, &on_disk) == 0 && on_disk > v->place.bytes)
		v->place.bytes = on_disk;
	return 0;
}

static void clear_from(struct version *v, uint64_t first)
{
	for (uint64_t i = first; i < v->n_blocks; i++)
		bitmap_clear(v->bits, i);
	count_bits(v);
}

static int cut(const struct version *v)
{
	CLEAN_FD int fd = datafile_open(v->cache->data_fd, v->ident.id);

	if (fd < 0)
		return fd;
	log_warn("cache", "data/%llu (%s) is longer than its image: cut",
		 (unsigned long long)v->ident.id, v->ident.name);
	return ftruncate(fd, (off_t)v->ident.size_bytes) < 0 ? -errno : 0;
}

/* 1: remove it. */
static int on_file(void *ctx, uint64_t id, const struct stat *st)
{
	struct load *l = ctx;
	struct version *v;
	uint64_t known;
	int r;

	HASH_FIND(hh, l->c->table, &id, sizeof(id), v);
	if (!v)
		return 1;
	v->state = VERSION_LIVE;
	if ((uint64_t)st->st_size < v->ident.size_bytes) {
		clear_from(v, (uint64_t)st->st_size / v->ident.block_bytes);
		utarray_push_back(l->fixed, &v);
	}
	if ((uint64_t)st->st_size > v->ident.size_bytes) {
		r = cut(v);
		if (r)
			return r;
	}
	known = space_inode(v->n_blocks) + space_block(v->stored_bytes);
	if ((uint64_t)st->st_blocks * 512 > known)
		return punch_unknown(v);
	return 0;
}

/* Rows whose file is not there. */
static void without_file(struct load *l)
{
	struct cache *c = l->c;
	int64_t now_s = clock_unix_s();
	struct place *p, *tmp;

	DL_FOREACH_SAFE(c->order, p, tmp) {
		struct version *v = version_of(p);
		struct index_key key = version_key(v);

		if (v->state == VERSION_LIVE)
			continue;
		if (p->held_until_s > now_s) {
			if (v->n_stored)
				utarray_push_back(l->fixed, &v);
			clear_from(v, 0);
			continue;
		}
		if (v->n_stored)
			log_warn("cache", "data/%llu (%s) is gone: its image "
				 "will be fetched again",
				 (unsigned long long)key.id, v->ident.name);
		utarray_push_back(l->dead, &key);
		DL_DELETE(c->order, p);
		HASH_DEL(c->table, v);
		version_free(v);
	}
}

static int write_back(struct load *l)
{
	struct index *x = l->c->index;
	unsigned n = utarray_len(l->dead);
	int r = 0;

	if (n)
		r = index_remove(x, (struct index_key *)utarray_front(l->dead),
				 n, EVICT_UNKNOWN);
	for (unsigned i = 0; i < utarray_len(l->fixed) && !r; i++) {
		struct version *v =
			*(struct version **)utarray_eltptr(l->fixed, i);
		struct index_bits b = {
			.key = version_key(v),
			.bits = v->bits,
			.n_bits_bytes = bitmap_bytes(v->n_blocks),
			.complete_at_s = v->complete_at_s,
			.wanted = v->wanted};

		r = index_put_bits(x, &b, 1);
	}
	return r;
}

/* What others have in the folder (C3); the catalog says when it changes. */
static uint64_t files_bytes(const struct cache *c)
{
	static const char *const names[] = {"catalog", "catalog.new",
					    "catalog.bad"};
	uint64_t sum = 0;
	struct stat st;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (fstatat(c->dir_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			sum += (uint64_t)st.st_size;
	return space_block(sum);
}

static void sum_up(struct cache *c)
{
	struct place *p;

	DL_FOREACH(c->order, p) {
		c->space.data_bytes += p->bytes;
		c->space.rows_bytes += space_row(version_of(p)->n_blocks);
	}
	c->space.index_bytes = index_file_bytes(c->index);
	c->space.files_bytes = files_bytes(c);
	c->trim = space_excess(&c->space) > 0;
}

int cache_load(struct cache *c, struct err *e)
{
	static const UT_icd key_icd = {sizeof(struct index_key), 0, 0, 0};
	static const UT_icd ptr_icd = {sizeof(struct version *), 0, 0, 0};
	struct load l = {.c = c};
	int r;

	utarray_new(l.dead, &key_icd);
	utarray_new(l.fixed, &ptr_icd);
	r = index_load(c->index, on_row, &l, e);
	if (!r) {
		r = datadir_scan(c->data_fd, on_file, &l);
		if (!r) {
			without_file(&l);
			r = write_back(&l);
		}
		if (r)
			err_set(e, -r, "putting the cache in order: %s",
				strerror(-r));
	}
	if (!r)
		sum_up(c);
	utarray_free(l.dead);
	utarray_free(l.fixed);
	return r;
}
