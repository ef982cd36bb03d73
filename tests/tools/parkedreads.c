/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parkedreads.c - N threads, each in a read of its own block of one file.
 *
 *	parkedreads FILE N [BLOCK_BYTES]
 *
 * Ends when all reads have: status 0 if each gave its 4 KiB, else the number
 * of those that failed (at most 100) and their errors by kind on stdout. Is
 * meant to be killed as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READS_MAX 4096
#define READ_BYTES 4096
#define STACK_BYTES (64 << 10)

struct reader {
	pthread_t thread;
	int fd;
	off_t at;
	int error;
};

static void *run(void *arg)
{
	struct reader *r = arg;
	char buf[READ_BYTES];
	ssize_t n = pread(r->fd, buf, sizeof(buf), r->at);

	if (n != READ_BYTES)
		r->error = n < 0 ? errno : ENODATA;
	return NULL;
}

int main(int argc, char **argv)
{
	static struct reader r[READS_MAX];
	long n = argc > 2 ? atol(argv[2]) : 0;
	long block = argc > 3 ? atol(argv[3]) : 1 << 20;
	pthread_attr_t attr;
	int failed = 0, fd;

	if (n < 1 || n > READS_MAX)
		return 2;
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		perror(argv[1]);
		return 2;
	}
	/* One read, one request. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (long i = 0; i < n; i++) {
		r[i].fd = fd;
		r[i].at = i * block;
		if (pthread_create(&r[i].thread, &attr, run, &r[i])) {
			fprintf(stderr, "parkedreads: thread %ld\n", i);
			return 2;
		}
	}
	for (long i = 0; i < n; i++) {
		pthread_join(r[i].thread, NULL);
		if (!r[i].error)
			continue;
		printf("%s\n", strerror(r[i].error));
		failed++;
	}
	close(fd);
	return failed > 100 ? 100 : failed;
}
