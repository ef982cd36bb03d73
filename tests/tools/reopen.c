/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reopen.c - file handles as NFS servers keep them: takes one of each PATH,
 * has the kernel forget all inodes, opens them again by handle, and compares
 * inode number, type and size.
 *
 *	reopen MOUNT PATH...
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATHS_MAX 64

struct taken {
	struct file_handle *handle;
	struct stat st;
};

static int die(const char *what)
{
	fprintf(stderr, "reopen: %s: %s\n", what, strerror(errno));
	return 1;
}

static int take(const char *path, struct taken *t)
{
	int mount_id;

	t->handle = calloc(1, sizeof(*t->handle) + MAX_HANDLE_SZ);
	if (!t->handle)
		return -1;
	t->handle->handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(AT_FDCWD, path, t->handle, &mount_id, 0) < 0)
		return -1;
	return stat(path, &t->st);
}

static void forget_inodes(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "2", 1) != 1)
		die("drop_caches");
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct taken t[PATHS_MAX] = {0};
	int mount_fd, status = 0;

	if (argc < 3 || argc - 2 > PATHS_MAX)
		return 2;
	for (int i = 2; i < argc; i++)
		if (take(argv[i], &t[i - 2]) < 0)
			return die(argv[i]);
	mount_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mount_fd < 0)
		return die(argv[1]);
	forget_inodes();
	for (int i = 2; i < argc; i++) {
		const struct stat *was = &t[i - 2].st;
		int fd = open_by_handle_at(mount_fd, t[i - 2].handle,
					   O_RDONLY | O_CLOEXEC);
		struct stat now;

		if (fd < 0 || fstat(fd, &now) < 0) {
			status = die(argv[i]);
		} else if (now.st_ino != was->st_ino ||
			   now.st_mode != was->st_mode ||
			   now.st_size != was->st_size) {
			fprintf(stderr, "reopen: %s: another file\n", argv[i]);
			status = 1;
		}
		if (fd >= 0)
			close(fd);
		free(t[i - 2].handle);
	}
	close(mount_fd);
	return status;
}
