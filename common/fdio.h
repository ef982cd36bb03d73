/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdio.h - files: whole reads and writes, durable replacement, opening
 * beneath a directory. All return 0 (or a count) or -errno; EINTR is retried;
 * every descriptor is O_CLOEXEC.
 */
#ifndef STAGEFS_COMMON_FDIO_H
#define STAGEFS_COMMON_FDIO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Exactly n bytes; a file that ends before gives -ENODATA. */
int fd_pread_all(int fd, void *buf, size_t n, uint64_t offset);
int fd_pwrite_all(int fd, const void *buf, size_t n, uint64_t offset);
int fd_write_all(int fd, const void *buf, size_t n);
/* A whole small file, malloc'd with an end byte. -EFBIG above `max`. */
int file_read(const char *path, size_t max, char **ret, size_t *ret_n);
int file_read_at(int dirfd, const char *name, size_t max, char **ret,
		 size_t *ret_n);
/* Temporary file, fdatasync, rename, fsync of the folder. */
int file_replace_at(int dirfd, const char *name, const void *data, size_t n,
		    mode_t mode);
/* openat2 with RESOLVE_BENEATH|NO_SYMLINKS|NO_MAGICLINKS. fd or -errno. */
int open_beneath(int dirfd, const char *path, int flags, mode_t mode);
/* mkdir -p with this mode for what is made; the last part's fd or -errno. */
int dir_make(const char *path, mode_t mode);
int fsync_dir(int dirfd);

#endif
