/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest.c - brings a file into incoming/ and hashes it, reading it once: the
 * whole, of which copy.c does the blocks.
 *
 * With a reflink the clone is made first and then hashed, so what was hashed
 * is what is stored, whatever happens to the source. Else each block is
 * written from the buffer that was hashed.
 *
 * A change of the source while it is read shows in its size, mtime or ctime,
 * or as a short read. (Rejected: leases and mandatory locks. The writer may be
 * on another machine, and is not to be disturbed.)
 */
#include "origin/store/copy.h"

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
	return a->st_size == b->st_size &&
	       same_time(&a->st_mtim, &b->st_mtim) &&
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
		work.each = copy_catch_up;
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
