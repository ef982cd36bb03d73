/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest.c - brings a file into incoming/ and hashes it, reading it once.
 *
 * With a reflink the clone is made first and then hashed, so what was hashed
 * is what is stored, whatever happens to the source. Else each block is
 * written from the buffer that was hashed. Holes, and zeros that the source
 * has written out, are not written.
 *
 * A file of the same length as a version that the store has (`like`) is
 * compared with its hashes block by block; nothing is written as long as they
 * agree. To the end: the content is there already. If they part, the blocks
 * until there are taken from the stored object, so a new version of a disk
 * image that differs in its last block is still read once only.
 *
 * A change of the source while it is read shows in its size, mtime or ctime,
 * or as a short read. (Rejected: leases and mandatory locks. The writer may be
 * on another machine, and is not to be disturbed.)
 */
#include "origin/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/limits.h"
#include "common/units.h"

#define PIECE_BYTES 65536u /* of a block: written, or left as a hole */
#define AHEAD_BYTES (32u << 20)

struct copy {
	/* Set before the threads start. */
	struct store *store;
	const struct image_add *add;
	int src, dst;
	uint64_t length;
	uint32_t block_bytes;
	bool write; /* false: only hash (a reflink) */
	struct manifest *like;
	int like_fd;
	struct digest zero; /* of a whole block of zeros */
	struct progress *progress;
	/* Element i is touched only by the thread that has block i. */
	struct digest *hash;
	uint8_t *same; /* is as in `like` and not written yet */
	/* Any thread. */
	atomic_bool parted; /* from `like` */
	atomic_int changed, disk; /* what failed, for the message */
};

/* ---- opening the source ------------------------------------------------ */

static int refuse_kind(const char *file, mode_t mode, struct err *e)
{
	const char *kind = S_ISDIR(mode)    ? "a folder"
			   : S_ISBLK(mode)  ? "a device"
			   : S_ISCHR(mode)  ? "a device"
			   : S_ISFIFO(mode) ? "a pipe"
			   : S_ISSOCK(mode) ? "a socket"
					    : "not a regular file";

	return err_set(e, EINVAL, "%s is %s: only regular files can be added",
		       file, kind);
}

int ingest_open(const char *file, uint64_t *ret_size, struct err *e)
{
	CLEAN_FD int fd = -1;
	struct stat st;
	char byte;

	/* First: opening a device or a pipe could do something. */
	if (stat(file, &st))
		return err_set(e, errno, "%s: %s", file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse_kind(file, st.st_mode, e);
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st))
		return err_set(e, errno, "%s: %s", file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse_kind(file, st.st_mode, e);
	if ((uint64_t)st.st_size > STAGEFS_IMAGE_MAX_BYTES)
		return err_set(e, EFBIG, "%s: images may have %llu bytes at "
			       "most", file,
			       (unsigned long long)STAGEFS_IMAGE_MAX_BYTES);
	/* Those of /proc say 0 and are made as they are read. */
	if (st.st_size == 0 && pread(fd, &byte, 1, 0) > 0)
		return err_set(e, EINVAL, "%s does not say how large it is: "
			       "add a copy of it", file);
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	*ret_size = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_stat(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && same_time(&a->st_mtim, &b->st_mtim) &&
	       same_time(&a->st_ctim, &b->st_ctim);
}

static int fail_changed(const char *file, struct err *e)
{
	return err_set(e, EAGAIN, "%s changed while it was read: add it again "
		       "when it is finished", file);
}

/* ---- the incoming file ------------------------------------------------- */

/*
 * The flock says that somebody works on it. A sweep may come between the
 * making and the flock: then the file has no name any more.
 */
static int try_incoming(struct store *s, struct ingest *g)
{
	uint64_t random;
	struct stat st;
	int r;

	crypto_random(&random, sizeof(random));
	snprintf(g->name, sizeof(g->name), "add-%016" PRIx64, random);
	g->fd = openat(s->incoming_fd, g->name,
		       O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, STORE_FILE_MODE);
	if (g->fd < 0) {
		r = -errno;
		g->name[0] = '\0';
		return r;
	}
	if (flock(g->fd, LOCK_EX | LOCK_NB) == 0 && fstat(g->fd, &st) == 0 &&
	    st.st_nlink > 0)
		return store_own(s, g->fd);
	ingest_end(s, g);
	return -ESTALE;
}

static int make_incoming(struct store *s, struct ingest *g, struct err *e)
{
	int r;

	do
		r = try_incoming(s, g);
	while (r == -ESTALE);
	if (r)
		return err_set(e, -r, "%s/incoming: %s", s->dir, strerror(-r));
	store_step("incoming");
	return 0;
}

void ingest_end(struct store *s, struct ingest *g)
{
	if (g->name[0])
		unlinkat(s->incoming_fd, g->name, 0);
	g->name[0] = '\0';
	cleanup_fd(&g->fd);
	g->fd = -1;
	manifest_free(g->manifest);
	g->manifest = NULL;
}

/* ---- blocks ------------------------------------------------------------ */

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

static int copy_block(void *ctx, uint64_t i, uint8_t *buf)
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

/* A block that was not written while the file was still like the other. */
static int catch_up_block(void *ctx, uint64_t i, uint8_t *buf)
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

/* ---- the whole --------------------------------------------------------- */

static int explain(struct copy *c, int r, struct err *e)
{
	int disk = atomic_load(&c->disk), changed = atomic_load(&c->changed);

	if (r == -EINTR)
		return err_set(e, EINTR, "interrupted: nothing was added");
	if (r == disk && (disk == -ENOSPC || disk == -EDQUOT))
		return err_set(e, ENOSPC, "%s: the disk is full: nothing was "
			       "added", c->store->dir);
	if (r == disk)
		return err_set(e, -r, "%s/incoming: %s", c->store->dir,
			       strerror(-r));
	if (r == changed && (r == -ENODATA || r == -EUCLEAN))
		return fail_changed(c->add->file, e);
	return err_set(e, -r, "%s: %s", c->add->file, strerror(-r));
}

/* Better now than after an hour. What is sparse needs less than its size. */
static int check_space(struct copy *c, const struct stat *st, struct err *e)
{
	uint64_t need = (uint64_t)st->st_blocks * 512, room;
	char need_text[UNITS_TEXT], room_text[UNITS_TEXT];
	struct statvfs fs;

	if (need > c->length)
		need = c->length;
	if (fstatvfs(c->store->incoming_fd, &fs))
		return 0;
	room = (geteuid() == 0 ? fs.f_bfree : fs.f_bavail) * fs.f_frsize;
	if (need <= room)
		return 0;
	return err_set(e, ENOSPC, "%s: the disk is full: %s needs %s, %s are "
		       "free", c->store->dir, c->add->file,
		       units_size(need, need_text),
		       units_size(room, room_text));
}

static int prepare_target(struct copy *c, struct ingest *g,
			  const struct stat *st, struct err *e)
{
	int r = make_incoming(c->store, g, e);

	if (r)
		return r;
	c->dst = g->fd;
	if (ioctl(g->fd, FICLONE, c->src) == 0) {
		g->reflinked = true;
		c->src = g->fd;
		return 0;
	}
	c->write = true;
	r = c->like ? 0 : check_space(c, st, e);
	if (!r && ftruncate(g->fd, (off_t)c->length))
		r = err_set(e, errno, "%s/incoming: %s", c->store->dir,
			    strerror(errno));
	return r;
}

static int run_blocks(struct copy *c, struct ingest *g)
{
	struct blocks_work work = {
		.n_blocks = manifest_block_count(c->length, c->block_bytes),
		.block_bytes = c->block_bytes,
		.each = copy_block,
		.ctx = c,
		.stop = c->add->stop,
	};
	int r = blocks_each(&work);

	if (r)
		return r;
	g->matched = c->like && c->write && !atomic_load(&c->parted);
	if (c->like && c->write && !g->matched) {
		work.each = catch_up_block;
		r = blocks_each(&work);
	}
	store_step("copied");
	if (!r && !g->matched && fsync(c->dst)) {
		r = -errno;
		atomic_store(&c->disk, r);
	}
	store_step("synced");
	return r;
}

static int copy_all(struct copy *c, struct ingest *g, struct err *e)
{
	struct stat before, after;
	int src = c->src, r;

	if (fstat(src, &before))
		return err_set(e, errno, "%s: %s", c->add->file,
			       strerror(errno));
	if ((uint64_t)before.st_size != c->length)
		return fail_changed(c->add->file, e);
	r = prepare_target(c, g, &before, e);
	if (r)
		return r;
	c->progress = c->add->show_progress
			      ? progress_new(c->add->name, c->length)
			      : NULL;
	r = run_blocks(c, g);
	progress_free(c->progress);
	if (r)
		return explain(c, r, e);
	if (fstat(src, &after) || !same_stat(&before, &after))
		return fail_changed(c->add->file, e);
	g->mtime_s = after.st_mtim.tv_sec;
	return 0;
}

/* What `like` names, if it is there and whole; else we go without. */
static void open_like(struct copy *c, const struct node *like)
{
	CLEAN_FREE void *data = NULL;
	uint64_t size;
	CLEAN_FD int mfd = -1;
	CLEAN_FD int fd = -1;

	if (!like || like->block_bytes != c->block_bytes)
		return;
	fd = store_open_object(c->store, &like->digest, &size);
	if (fd < 0 || size != c->length)
		return;
	mfd = store_open_manifest(c->store, &like->digest, &size);
	if (mfd < 0 || size > STAGEFS_MANIFEST_MAX_BYTES)
		return;
	data = malloc(size + 1);
	if (!data || fd_pread_all(mfd, data, size, 0) ||
	    manifest_decode(data, size, &like->digest, &c->like, NULL))
		return;
	c->like_fd = TAKE_FD(fd);
}

static int alloc_hashes(struct copy *c)
{
	uint64_t n = manifest_block_count(c->length, c->block_bytes);
	CLEAN_FREE uint8_t *zeros = calloc(1, c->block_bytes);

	/* One element more: an empty image has none. */
	c->hash = calloc(n + 1, sizeof(*c->hash));
	c->same = calloc(n + 1, 1);
	if (!zeros || !c->hash || !c->same)
		return -ENOMEM;
	return crypto_sha256(zeros, c->block_bytes, &c->zero);
}

int ingest_run(struct store *s, int src, uint64_t length,
	       const struct image_add *a, const struct node *like,
	       struct ingest *ret, struct err *e)
{
	struct copy c = {.store = s, .add = a, .src = src, .length = length,
			 .block_bytes = manifest_block_size_for(length),
			 .like_fd = -1};
	struct ingest g = {.fd = -1};
	int r;

	r = alloc_hashes(&c);
	if (r)
		err_set(e, -r, "%s: %s", a->file, strerror(-r));
	if (!r) {
		open_like(&c, like);
		r = copy_all(&c, &g, e);
	}
	if (!r && (r = manifest_build(c.length, c.block_bytes, c.hash,
				      &g.manifest)))
		err_set(e, -r, "%s: %s", a->file, strerror(-r));
	if (!r)
		c.hash = NULL; /* the manifest's now */
	free(c.hash);
	free(c.same);
	manifest_free(c.like);
	cleanup_fd(&c.like_fd);
	if (r)
		ingest_end(s, &g);
	else
		*ret = g;
	return r;
}
