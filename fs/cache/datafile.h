/* SPDX-License-Identifier: Apache-2.0 */
/*
 * datafile.h - CACHE/data/<id>: sparse files, named by number, opened beneath
 * the folder's descriptor without following links. All return 0 or -errno
 * (or a descriptor); all touch the disk.
 */
#ifndef STAGEFS_FS_CACHE_DATAFILE_H
#define STAGEFS_FS_CACHE_DATAFILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/err.h"

/* Opens CACHE/data, made if missing. */
int datadir_open(int cache_fd, const char *dir, struct err *e);
/*
 * Calls `file` for each file named by an id; what has another name, or makes
 * `file` return > 0, is removed. A negative return ends the walk.
 */
int datadir_scan(int dir_fd,
		 int (*file)(void *ctx, uint64_t id, const struct stat *st),
		 void *ctx);

/* A new file of this size without blocks; one that is in the way has no row
 * and is removed. */
int datafile_create(int dir_fd, uint64_t id, uint64_t size_bytes);
int datafile_open(int dir_fd, uint64_t id);
/* 0 also if there is none. */
int datafile_remove(int dir_fd, uint64_t id);
int datafile_write(int fd, const void *data, size_t n, uint64_t offset);
int datafile_sync(int fd);
/* Reads what the disk has, by a descriptor of its own (see check.c). `buf` is
 * aligned, and has room for n bytes in whole units, of `align`. */
int datafile_read_disk(int dir_fd, uint64_t id, void *buf, size_t n,
		       uint64_t offset, size_t align);
/* Gives the bytes back to the disk; reads as zeros then. */
int datafile_punch(int fd, uint64_t offset, uint64_t n);
/* What the file takes on disk. */
int datafile_disk_bytes(int fd, uint64_t *ret);

#endif
