/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dents.c - a folder's names as a client with a small buffer gets them:
 *
 *	dents FOLDER BYTES
 *
 * reads it with getdents64 and a buffer of BYTES; then once more, seeking with
 * a new descriptor to the cookie of each entry, as NFS servers do. Prints the
 * names in order; fails if the two runs differ.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMES_MAX 100000

struct seen {
	char *name;
	off_t cookie;
};

static struct seen seen[NAMES_MAX];
static int n_seen;

static int die(const char *what)
{
	fprintf(stderr, "dents: %s: %s\n", what, strerror(errno));
	return 1;
}

static int read_all(int fd, char *buf, size_t bytes)
{
	ssize_t n;

	while ((n = getdents64(fd, buf, bytes)) > 0) {
		for (ssize_t at = 0; at < n && n_seen < NAMES_MAX;) {
			struct dirent64 *e = (struct dirent64 *)(buf + at);

			seen[n_seen].name = strdup(e->d_name);
			seen[n_seen++].cookie = e->d_off;
			at += e->d_reclen;
		}
	}
	return n < 0 ? die("getdents64") : 0;
}

/* Is what comes behind each entry's cookie the next entry? */
static int seek_all(const char *path, char *buf, size_t bytes)
{
	for (int i = 0; i < n_seen; i++) {
		int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct dirent64 *e = (struct dirent64 *)buf;
		ssize_t n;

		if (fd < 0 || lseek(fd, seen[i].cookie, SEEK_SET) < 0)
			return die("seek");
		n = getdents64(fd, buf, bytes);
		close(fd);
		if (n < 0)
			return die("getdents64 after a seek");
		if (i + 1 == n_seen ? n != 0
				    : n == 0 || strcmp(e->d_name,
						       seen[i + 1].name)) {
			fprintf(stderr, "dents: behind %s comes %s\n",
				seen[i].name, n ? e->d_name : "the end");
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	size_t bytes = argc == 3 ? (size_t)atoi(argv[2]) : 0;
	char *buf = bytes ? aligned_alloc(8, (bytes + 7) / 8 * 8) : NULL;
	int fd, r;

	if (!buf)
		return 2;
	fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return die(argv[1]);
	r = read_all(fd, buf, bytes);
	close(fd);
	if (!r)
		r = seek_all(argv[1], buf, bytes);
	for (int i = 0; i < n_seen; i++) {
		if (!r && strcmp(seen[i].name, ".") &&
		    strcmp(seen[i].name, ".."))
			puts(seen[i].name);
		free(seen[i].name);
	}
	free(buf);
	return r;
}
