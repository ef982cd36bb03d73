/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sumfd.c - SHA-256 of an inherited descriptor's whole file, read with pread
 * (or mapped): through this open, whatever its name points to now.
 *
 *	sumfd FD [mmap | later]
 *
 * later: mapped and closed; "mapped" is printed, and it is read at the end of
 * standard input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crypto.h"

#define CHUNK_BYTES (256u << 10)

static void *read_all(int fd, size_t size)
{
	char *buf = malloc(size ? size : 1);
	size_t at = 0;

	while (buf && at < size) {
		size_t n = size - at < CHUNK_BYTES ? size - at : CHUNK_BYTES;
		ssize_t got = pread(fd, buf + at, n, (off_t)at);

		if (got <= 0)
			return NULL;
		at += (size_t)got;
	}
	return buf;
}

static void *map_all(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? atoi(argv[1]) : -1;
	char text[DIGEST_TEXT];
	struct digest d;
	struct stat st;
	void *bytes;

	if (fstat(fd, &st) < 0) {
		perror("sumfd");
		return 2;
	}
	bytes = argc > 2 ? map_all(fd, (size_t)st.st_size)
			 : read_all(fd, (size_t)st.st_size);
	if (bytes && argc > 2 && strcmp(argv[2], "later") == 0) {
		close(fd);
		puts("mapped");
		fflush(stdout);
		while (getchar() != EOF)
			;
	}
	if (!bytes || crypto_sha256(bytes, (size_t)st.st_size, &d) < 0) {
		perror("sumfd");
		return 1;
	}
	puts(digest_text(&d, text));
	if (argc == 2)
		free(bytes);
	return 0;
}
