/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdio.c - the loops around read and write that everybody gets wrong once.
 *
 * file_replace_at makes its temporary file beside the target under a random
 * name. O_TMPFILE was rejected: linkat(2) cannot replace an existing name.
 */
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"

int fd_pread_all(int fd, void *buf, size_t n, uint64_t offset)
{
	char *p = buf;

	while (n > 0) {
		ssize_t got = pread(fd, p, n, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -ENODATA;
		p += got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

int fd_pwrite_all(int fd, const void *buf, size_t n, uint64_t offset)
{
	const char *p = buf;

	while (n > 0) {
		ssize_t put = pwrite(fd, p, n, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		if (put == 0)
			return -EIO; /* no progress: never loop on it */
		p += put;
		n -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

int fd_write_all(int fd, const void *buf, size_t n)
{
	const char *p = buf;

	while (n > 0) {
		ssize_t put = write(fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		if (put == 0)
			return -EIO;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

/* st_size is only a hint: files of /proc have 0, and files may grow. */
static int read_to_end(int fd, size_t max, char **ret, size_t *ret_n)
{
	CLEAN_FREE char *data = NULL;
	size_t n = 0, room = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
		return -EFBIG;
	for (;;) {
		ssize_t got;

		if (n == room) {
			size_t more = room ? room * 2
				      : S_ISREG(st.st_mode)
					      ? (size_t)st.st_size + 1024
					      : 4096;
			char *p = more < room ? NULL : realloc(data, more + 1);

			if (!p)
				return -ENOMEM;
			data = p;
			room = more;
		}
		got = read(fd, data + n, room - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
		if (n > max)
			return -EFBIG;
	}
	data[n] = 0;
	*ret = TAKE(data);
	*ret_n = n;
	return 0;
}

int file_read_at(int dirfd, const char *name, size_t max, char **ret,
		 size_t *ret_n)
{
	/* O_NONBLOCK: a pipe that nobody writes to must not hold us. */
	CLEAN_FD int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY |
						      O_NONBLOCK);

	if (fd < 0)
		return -errno;
	return read_to_end(fd, max, ret, ret_n);
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_n)
{
	return file_read_at(AT_FDCWD, path, max, ret, ret_n);
}

int fsync_dir(int dirfd)
{
	return fsync(dirfd) < 0 ? -errno : 0;
}

/* The folder of `name` (which may have slashes), so that it can be synced. */
static int open_folder_of(int dirfd, const char *name, const char **ret_last)
{
	const char *slash = strrchr(name, '/');
	CLEAN_FREE char *folder = NULL;
	int fd;

	if (!slash)
		folder = strdup(".");
	else
		folder = strndup(name, slash == name ? 1
						     : (size_t)(slash - name));
	if (!folder)
		return -ENOMEM;
	fd = openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_last = slash ? slash + 1 : name;
	return fd;
}

static int make_temporary(int folder, char *path, size_t size)
{
	for (int tries = 0; tries < 16; tries++) {
		uint32_t random;
		int fd;

		if (getrandom(&random, sizeof(random), 0) < 0)
			return -errno;
		snprintf(path, size, ".new-%08x", random);
		fd = openat(folder, path,
			    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int write_durably(int fd, const void *data, size_t n, mode_t mode)
{
	int r = fd_write_all(fd, data, n);

	if (r < 0)
		return r;
	/* Set at the end, and past the umask: the mode that was asked for. */
	if (fchmod(fd, mode) < 0 || fdatasync(fd) < 0)
		return -errno;
	return 0;
}

int file_replace_at(int dirfd, const char *name, const void *data, size_t n,
		    mode_t mode)
{
	char temporary[32];
	const char *last = NULL;
	CLEAN_FD int folder = open_folder_of(dirfd, name, &last);
	CLEAN_FD int fd = -1;
	int r;

	if (folder < 0)
		return folder;
	fd = make_temporary(folder, temporary, sizeof(temporary));
	if (fd < 0)
		return fd;
	r = write_durably(fd, data, n, mode);
	if (r == 0 && renameat(folder, temporary, folder, last) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(folder, temporary, 0);
		return r;
	}
	return fsync_dir(folder);
}

int open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	/* openat2 refuses a mode that nothing would use. */
	if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
		how.mode = mode;
	do {
		/* EAGAIN: a rename elsewhere raced with the walk. */
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

int dir_make(const char *path, mode_t mode)
{
	CLEAN_FREE char *part = strdup(path);
	int fd;

	if (!part)
		return -ENOMEM;
	for (char *p = part; *p; p++) {
		if (*p != '/' || p == part)
			continue;
		*p = 0;
		/* Whatever is wrong with it, the next part will tell. */
		(void)mkdir(part, mode);
		*p = '/';
	}
	if (mkdir(part, mode) < 0 && errno != EEXIST)
		return -errno;
	fd = open(part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
