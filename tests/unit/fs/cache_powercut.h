/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_powercut.h - what a power cut would leave of the cache's folder.
 *
 * This file has its own fdatasync and fsync, which note which blocks had their
 * right bytes at that moment, and which files their name. The copy of the
 * folder with which a test goes on keeps those, and loses the others by
 * chance. Included by test_cache_model.c alone.
 */
#ifndef STAGEFS_TESTS_CACHE_POWERCUT_H
#define STAGEFS_TESTS_CACHE_POWERCUT_H

#include <pthread.h>
#include <sys/syscall.h>

#include "cache_model.h"

static struct shadow {
	ino_t ino;
	ino_t named; /* that the folder has durably */
	bool has[MAX_BLOCKS];
} shadow[N_IDS + 1];
static pthread_mutex_t shadow_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t commit_lock = PTHREAD_MUTEX_INITIALIZER;
static __thread bool has_commit_lock;
static uint64_t const_size[N_IDS + 1]; /* of m, for other threads */

static bool block_right(int fd, uint64_t id, uint64_t b)
{
	uint64_t tag[2] = {id, b}, got[2];
	uint64_t len = manifest_block_length(const_size[id], BLOCK, b);

	return pread(fd, got, 16, (off_t)(b * BLOCK)) == 16 &&
	       memcmp(tag, got, 16) == 0 &&
	       pread(fd, got, 16, (off_t)(b * BLOCK + len - 16)) == 16 &&
	       memcmp(tag, got, 16) == 0;
}

/* What follows CACHE in the path of a descriptor, from "/data" on. */
static const char *path_of(int fd, char path[512])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, 511);
	path[n > 0 ? n : 0] = 0;
	return strstr(path, "/data");
}

/* Instead of libc's: the disk is what these two have seen. */
int fsync(int fd)
{
	char path[512], name[24];
	const char *at = path_of(fd, path);
	struct stat st;

	if (!at || strcmp(at, "/data") != 0)
		return (int)syscall(SYS_fsync, fd);
	pthread_mutex_lock(&shadow_lock);
	for (uint64_t id = 1; id <= N_IDS; id++) {
		snprintf(name, sizeof(name), "%" PRIu64, id);
		shadow[id].named = 0;
		if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			shadow[id].named = st.st_ino;
	}
	pthread_mutex_unlock(&shadow_lock);
	return 0;
}

int fdatasync(int fd)
{
	char path[512];
	const char *at = path_of(fd, path);
	struct stat st;
	uint64_t id, blocks;

	if (!at || strncmp(at, "/data/", 6) != 0)
		return (int)syscall(SYS_fdatasync, fd);
	id = strtoull(at + 6, NULL, 10);
	fstat(fd, &st);
	blocks = manifest_block_count(const_size[id], BLOCK);
	pthread_mutex_lock(&shadow_lock);
	shadow[id].ino = st.st_ino;
	for (uint64_t b = 0; b < blocks; b++)
		shadow[id].has[b] = block_right(fd, id, b);
	pthread_mutex_unlock(&shadow_lock);
	return 0;
}

/* No commit of another thread is half done while the folder is copied. */
static int hook(const char *name)
{
	if (!strcmp(name, "flush.commit") || !strcmp(name, "evict.mark")) {
		pthread_mutex_lock(&commit_lock);
		has_commit_lock = true;
	} else if (has_commit_lock && (!strcmp(name, "flush.committed") ||
				       !strcmp(name, "evict.unrowed"))) {
		has_commit_lock = false;
		pthread_mutex_unlock(&commit_lock);
	}
	return 0;
}

static void copy_plain(const char *from, const char *to, const char *name)
{
	char a[512], b[512], buf[65536];
	int in, out;
	ssize_t n;

	snprintf(a, sizeof(a), "%s/%s", from, name);
	snprintf(b, sizeof(b), "%s/%s", to, name);
	in = open(a, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return;
	out = open(b, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			abort();
	close(in);
	close(out);
}

/* Blocks that were synced, and by chance others. */
static void copy_data(const char *to, uint64_t id)
{
	static uint8_t buf[BLOCK];
	char path[512];
	struct stat st;
	int in, out;

	snprintf(path, sizeof(path), "%s/data/%" PRIu64, dir, id);
	in = open(path, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return;
	fstat(in, &st);
	if (shadow[id].named != st.st_ino && rnd(2)) {
		close(in); /* not even its name was durable */
		return;
	}
	snprintf(path, sizeof(path), "%s/data/%" PRIu64, to, id);
	out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (ftruncate(out, st.st_size) < 0)
		abort();
	for (uint64_t b = 0; b < m[id].n; b++) {
		bool safe = shadow[id].ino == st.st_ino && shadow[id].has[b];
		ssize_t n = pread(in, buf, sizeof(buf), (off_t)(b * BLOCK));

		if ((safe || rnd(2)) &&
		    pwrite(out, buf, (size_t)n, (off_t)(b * BLOCK)) != n)
			abort();
		if (!safe && rnd(4) == 0) /* some of it */
			if (pwrite(out, "?", 1, (off_t)(b * BLOCK)) != 1)
				abort();
	}
	close(in);
	close(out);
}

static char *power_cut_copy(void)
{
	char *to = scratch_dir();
	char path[512];

	snprintf(path, sizeof(path), "%s/data", to);
	mkdir(path, 0700);
	pthread_mutex_lock(&commit_lock);
	pthread_mutex_lock(&shadow_lock);
	copy_plain(dir, to, "index.db");
	copy_plain(dir, to, "index.db-wal");
	for (uint64_t id = 1; id <= N_IDS; id++)
		copy_data(to, id);
	pthread_mutex_unlock(&shadow_lock);
	pthread_mutex_unlock(&commit_lock);
	return to;
}

#endif
