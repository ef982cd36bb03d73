/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy.c - one block of a file: read once, hashed, and written if it has to be.
 *
 * Holes, and zeros that the source has written out, are not written.
 *
 * A file of the same length as a version that the store has (`like`) is
 * compared with its hashes block by block; nothing is written as long as they
 * agree. To the end: the content is there already. If they part, the blocks
 * until there are taken from the stored object, so a new version of a disk
 * image that differs in its last block is still read once only.
 */
#include "origin/store/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/fdio.h"

#define PIECE_BYTES 65536u /* of a block: written, or left as a hole */
#define AHEAD_BYTES (32u << 20)

static bool is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static bool is_hole(int fd, uint64_t start, uint64_t end)
{
	off_t data = lseek(fd, (off_t)start, SEEK_DATA);

	/* File systems that cannot tell say that all is data. */
	return data < 0 ? errno == ENXIO : (uint64_t)data >= end;
}

static int write_piece(struct copy *c, const uint8_t *buf, uint64_t n,
		       uint64_t offset)
{
	int r = fd_pwrite_all(c->dst, buf, n, offset);

	if (r)
		atomic_store(&c->disk, r);
	return r;
}

/* The pieces that have something other than zeros, in few writes. */
static int write_block(struct copy *c, const uint8_t *buf, uint32_t n,
		       uint64_t offset)
{
	uint32_t from = 0, to;

	while (from < n) {
		uint32_t len = n - from < PIECE_BYTES ? n - from : PIECE_BYTES;
		int r;

		if (is_zero(buf + from, len)) {
			from += len;
			continue;
		}
		for (to = from + len; to < n; to += len) {
			len = n - to < PIECE_BYTES ? n - to : PIECE_BYTES;
			if (is_zero(buf + to, len))
				break;
		}
		r = write_piece(c, buf + from, to - from, offset + from);
		if (r)
			return r;
		from = to;
	}
	/* So that the fsync at the end has little left to do. */
	sync_file_range(c->dst, (off_t)offset, n, SYNC_FILE_RANGE_WRITE);
	return 0;
}

/* Is block i as in the version we compare with, and all before it too as far
 * as is known? The first difference ends it for all threads. */
static bool still_like(struct copy *c, uint64_t i)
{
	if (!c->like || atomic_load(&c->parted))
		return false;
	if (digest_equal(&c->hash[i], &c->like->hash[i]))
		return true;
	atomic_store(&c->parted, true);
	return false;
}

/* Reads a block and hashes it; *ret_zero: there is nothing but zeros. */
static int hash_block(struct copy *c, uint64_t i, uint32_t n, uint8_t *buf,
		      bool *ret_zero)
{
	uint64_t offset = i * c->block_bytes;
	int r;

	*ret_zero = false;
	if (is_hole(c->src, offset, offset + n)) {
		memset(buf, 0, n);
		*ret_zero = true;
	} else {
		r = fd_pread_all(c->src, buf, n, offset);
		if (r) {
			atomic_store(&c->changed, r);
			return r;
		}
		posix_fadvise(c->src, (off_t)(offset + AHEAD_BYTES),
			      c->block_bytes, POSIX_FADV_WILLNEED);
		*ret_zero = is_zero(buf, n);
	}
	if (*ret_zero && n == c->block_bytes) {
		c->hash[i] = c->zero;
		return 0;
	}
	return crypto_sha256(buf, n, &c->hash[i]);
}

int copy_block(void *ctx, uint64_t i, uint8_t *buf)
{
	struct copy *c = ctx;
	uint32_t n = manifest_block_length(c->length, c->block_bytes, i);
	bool zero;
	int r;

	r = hash_block(c, i, n, buf, &zero);
	if (r)
		return r;
	if (c->write && !zero) {
		c->same[i] = still_like(c, i);
		if (!c->same[i])
			r = write_block(c, buf, n, i * c->block_bytes);
	} else if (c->write) {
		still_like(c, i);
	}
	progress_add(c->progress, n);
	return r;
}

static int read_checked(struct copy *c, int fd, uint64_t i, uint8_t *buf,
			uint32_t n)
{
	struct digest d;
	int r = fd_pread_all(fd, buf, n, i * c->block_bytes);

	if (!r)
		r = crypto_sha256(buf, n, &d);
	if (!r && !digest_equal(&d, &c->hash[i]))
		r = -EUCLEAN;
	return r;
}

int copy_catch_up(void *ctx, uint64_t i, uint8_t *buf)
{
	struct copy *c = ctx;
	uint32_t n = manifest_block_length(c->length, c->block_bytes, i);
	int r;

	if (!c->same[i])
		return 0;
	r = read_checked(c, c->like_fd, i, buf, n);
	if (r) /* damaged, or taken away: the file itself is right */
		r = read_checked(c, c->src, i, buf, n);
	if (r) {
		atomic_store(&c->changed, r);
		return r;
	}
	return write_block(c, buf, n, i * c->block_bytes);
}
