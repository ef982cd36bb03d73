/* SPDX-License-Identifier: Apache-2.0 */
/*
 * datafile.c - one sparse file per version and not one per block, so that a
 * complete version can be handed to the kernel as it is (passthrough).
 *
 * No fallocate ahead: a file has the blocks that were stored and no others,
 * so deleting a version gives back what it is charged with, and nobody pays
 * for the rest of an image of which only the header was read.
 */
#include "fs/cache/datafile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "fs/cache/point.h"

#define DATA_DIR "data"
#define NAME_BYTES 24 /* 20 digits and the end */

int (*cache_test_point)(const char *name);

static const char *name_of(uint64_t id, char out[NAME_BYTES])
{
	snprintf(out, NAME_BYTES, "%" PRIu64, id);
	return out;
}

/* Only the one way to write a number: "07" is not ours. */
static int id_of(const char *name, uint64_t *ret)
{
	char again[NAME_BYTES];
	char *end;
	uint64_t id;

	if (*name < '1' || *name > '9')
		return -EINVAL;
	id = strtoull(name, &end, 10);
	if (*end || strcmp(name_of(id, again), name) != 0)
		return -EINVAL;
	*ret = id;
	return 0;
}

int datadir_open(int cache_fd, const char *dir, struct err *e)
{
	int fd;

	if (mkdirat(cache_fd, DATA_DIR, 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "%s/" DATA_DIR ": %s", dir,
			       strerror(errno));
	fd = open_beneath(cache_fd, DATA_DIR, O_RDONLY | O_DIRECTORY, 0);
	if (fd == -ELOOP || fd == -ENOTDIR)
		return err_set(e, -fd,
			       "%s/" DATA_DIR " is not a folder (links are not "
			       "followed): remove it",
			       dir);
	if (fd < 0)
		return err_set(e, -fd, "%s/" DATA_DIR ": %s", dir,
			       strerror(-fd));
	return fd;
}

static int scan_one(int dir_fd, const char *name,
		    int (*file)(void *ctx, uint64_t id, const struct stat *st),
		    void *ctx)
{
	struct stat st;
	uint64_t id;
	int r;

	r = point("file.stat");
	if (!r && fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r)
		return r == -ENOENT ? 0 : r;
	if (S_ISDIR(st.st_mode)) {
		/* lost+found, or somebody's: nothing of ours either way. */
		log_warn("cache", "data/%s is a folder: %s", name,
			 id_of(name, &id) ? "left alone"
					  : "remove it: in its place an image "
					    "cannot be stored");
		return 0;
	}
	if (S_ISREG(st.st_mode) && id_of(name, &id) == 0) {
		r = file(ctx, id, &st);
		if (r <= 0)
			return r;
	}
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int datadir_scan(int dir_fd,
		 int (*file)(void *ctx, uint64_t id, const struct stat *st),
		 void *ctx)
{
	/* A description of its own: readdir moves the offset. */
	int fd = open_beneath(dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	struct dirent *de;
	int r = 0;
	DIR *d;

	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	while (!r) {
		errno = 0;
		de = readdir(d);
		if (!de) {
			r = -errno;
			break;
		}
		if (strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0)
			r = scan_one(dir_fd, de->d_name, file, ctx);
	}
	closedir(d);
	return r;
}

int datafile_create(int dir_fd, uint64_t id, uint64_t size_bytes)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
	char name[NAME_BYTES];
	CLEAN_FD int fd = -1;
	int r;

	r = point("file.create");
	if (r)
		return r;
	fd = open_beneath(dir_fd, name_of(id, name), flags, 0600);
	if (fd == -EEXIST || fd == -ELOOP) {
		r = datafile_remove(dir_fd, id);
		if (r)
			return r;
		fd = open_beneath(dir_fd, name, flags, 0600);
	}
	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)size_bytes) < 0) {
		r = -errno;
		datafile_remove(dir_fd, id);
		return r;
	}
	r = point("file.created");
	return r ? r : TAKE_FD(fd);
}

int datafile_open(int dir_fd, uint64_t id)
{
	char name[NAME_BYTES];
	CLEAN_FD int fd = -1;
	struct stat st;
	int r;

	r = point("file.open");
	if (r)
		return r;
	/* O_NONBLOCK: a planted pipe or device must not hold us. */
	fd = open_beneath(dir_fd, name_of(id, name), O_RDWR | O_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADF;
	return TAKE_FD(fd);
}

int datafile_remove(int dir_fd, uint64_t id)
{
	char name[NAME_BYTES];
	int r = point("file.remove");

	if (r)
		return r;
	if (unlinkat(dir_fd, name_of(id, name), 0) < 0 && errno != ENOENT)
		return -errno;
	return point("file.removed");
}

int datafile_write(int fd, const void *data, size_t n, uint64_t offset)
{
	int r = point("store.write");

	if (!r)
		r = fd_pwrite_all(fd, data, n, offset);
	if (!r)
		r = point("store.written");
	return r;
}

/* Up to the unit that the file ends in: O_DIRECT reads nothing smaller. */
static int read_units(int fd, uint8_t *buf, size_t n, uint64_t offset,
		      size_t align)
{
	size_t whole = (n + align - 1) / align * align, done = 0;

	while (done < n) {
		ssize_t r = pread(fd, buf + done, whole - done,
				  (off_t)(offset + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : -ENODATA;
		done += (size_t)r;
	}
	return 0;
}

int datafile_read_disk(int dir_fd, uint64_t id, void *buf, size_t n,
		       uint64_t offset, size_t align)
{
	const int flags = O_RDONLY | O_NONBLOCK;
	char name[NAME_BYTES];
	CLEAN_FD int fd = -1;
	CLEAN_FD int plain = -1;
	int r;

	fd = open_beneath(dir_fd, name_of(id, name), flags | O_DIRECT, 0);
	r = fd < 0 ? fd : read_units(fd, buf, n, offset, align);
	if (r != -EINVAL)
		return r;
	plain = open_beneath(dir_fd, name, flags, 0);
	if (plain < 0)
		return plain;
	posix_fadvise(plain, (off_t)offset, (off_t)n, POSIX_FADV_DONTNEED);
	return read_units(plain, buf, n, offset, align);
}

int datafile_sync(int fd)
{
	int r = point("flush.sync");

	if (r)
		return r;
	if (fdatasync(fd) < 0)
		return -errno;
	return point("flush.synced");
}

int datafile_punch(int fd, uint64_t offset, uint64_t n)
{
	int r = point("forget.punch");

	if (r)
		return r;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)offset, (off_t)n) < 0)
		return -errno;
	return 0;
}

int datafile_disk_bytes(int fd, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (uint64_t)st.st_blocks * 512;
	return 0;
}
