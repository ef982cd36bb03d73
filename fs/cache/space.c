/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.c - accounts are kept by arithmetic and not by asking the disk
 * (st_blocks, du): a number that is right only after writeback cannot be
 * promised "at every instant". The prices below err on the dear side, so the
 * disk never has more than the account says:
 *
 *	block	its length in whole pages
 *	inode	8 KiB, and 16 bytes a block: an extent (12 bytes in ext4) for
 *		each block, if they were written in the worst order
 *	row	8 KiB, and 72 bytes a block: manifest (32) and bit, once in
 *		the database, once in its log
 *
 * Rows that went leave free pages in the index, which does not shrink. So the
 * index is also measured, and what it takes above the price of the rows it
 * has is used as well.
 */
#include "fs/cache/space.h"

#include <assert.h>

#define PAGE_BYTES 4096u

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

uint64_t space_block(uint64_t length_bytes)
{
	return whole_pages(length_bytes);
}

uint64_t space_row(uint64_t n_blocks)
{
	return whole_pages(2 * PAGE_BYTES + n_blocks * 72);
}

uint64_t space_inode(uint64_t n_blocks)
{
	return whole_pages(2 * PAGE_BYTES + n_blocks * 16);
}

static uint64_t index_excess(const struct space *s)
{
	uint64_t more = s->index_bytes > s->rows_bytes
				? s->index_bytes - s->rows_bytes
				: 0;

	return more > SPACE_INDEX_BASE_BYTES ? more : SPACE_INDEX_BASE_BYTES;
}

uint64_t space_used(const struct space *s)
{
	return s->data_bytes + s->files_bytes + index_excess(s);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

uint64_t space_shortage(const struct space *s, const struct fs_sample *fs,
			uint64_t need, uint64_t promise)
{
	uint64_t ahead, below, cap_short, fs_short;

	if (promise > need)
		promise = need;
	ahead = s->reserved_bytes + s->promised_bytes - promise + need;
	cap_short = minus(space_used(s) + ahead, s->capacity_bytes);
	below = minus(fs->avail_bytes, s->written_bytes - fs->written_bytes);
	fs_short = minus(ahead + s->min_free_bytes, below);
	return cap_short > fs_short ? cap_short : fs_short;
}

uint64_t space_room(const struct space *s, const struct fs_sample *fs)
{
	uint64_t ahead = s->reserved_bytes + s->promised_bytes;
	uint64_t below = minus(fs->avail_bytes,
			       s->written_bytes - fs->written_bytes);
	uint64_t cap_room = minus(s->capacity_bytes, space_used(s) + ahead);
	uint64_t fs_room = minus(below, ahead + s->min_free_bytes);

	return cap_room < fs_room ? cap_room : fs_room;
}

uint64_t space_excess(const struct space *s)
{
	return minus(space_used(s) + s->reserved_bytes + s->promised_bytes,
		     s->capacity_bytes);
}

void space_reserve(struct space *s, uint64_t bytes)
{
	s->reserved_bytes += bytes;
}

void space_unreserve(struct space *s, uint64_t bytes)
{
	assert(s->reserved_bytes >= bytes);
	s->reserved_bytes -= bytes;
}

void space_use(struct space *s, uint64_t bytes)
{
	space_unreserve(s, bytes);
	s->data_bytes += bytes;
	s->written_bytes += bytes;
}

void space_free(struct space *s, uint64_t bytes)
{
	assert(s->data_bytes >= bytes);
	s->data_bytes -= bytes;
}
