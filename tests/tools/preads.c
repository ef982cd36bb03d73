/* SPDX-License-Identifier: Apache-2.0 */
/*
 * preads.c - many reads at once, each in a thread with a descriptor of its
 * own, and how they ended.
 *
 *	preads [-d] [-t THREADS] [-s STRIDE] [-o OUT] FILE OFFSET BYTES
 *
 * Thread i reads BYTES at OFFSET + i * STRIDE. At the end there is a line for
 * each way in which they ended, "998 ok", "2 ETIMEDOUT"; a read that was cut
 * short counts as "short". -d: O_DIRECT, so one read is one request; -o: what
 * thread 0 read goes to that file.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 4096
#define STACK_BYTES (256 << 10)
#define SHORT_READ 4000 /* as an errno */
#define ALIGN 4096

struct one {
	pthread_t thread;
	const char *path;
	int flags;
	off_t offset;
	size_t bytes;
	unsigned char *buf;
	int error;
};

static void *run(void *ctx)
{
	struct one *o = ctx;
	int fd = open(o->path, O_RDONLY | O_CLOEXEC | o->flags);
	size_t done = 0;

	if (fd < 0) {
		o->error = errno;
		return NULL;
	}
	while (done < o->bytes) {
		ssize_t n = pread(fd, o->buf + done, o->bytes - done,
				  o->offset + (off_t)done);

		if (n <= 0) {
			o->error = n < 0 ? errno : SHORT_READ;
			break;
		}
		done += (size_t)n;
	}
	close(fd);
	return NULL;
}

static int by_error(const void *a, const void *b)
{
	return ((const struct one *)a)->error - ((const struct one *)b)->error;
}

static void print_ends(struct one *all, unsigned n)
{
	qsort(all, n, sizeof(*all), by_error);
	for (unsigned i = 0; i < n;) {
		unsigned same = i;

		while (same < n && all[same].error == all[i].error)
			same++;
		printf("%u %s\n", same - i,
		       all[i].error == 0	    ? "ok"
		       : all[i].error == SHORT_READ ? "short"
						    : strerrorname_np(
							      all[i].error));
		i = same;
	}
}

static int save(const char *path, const struct one *o)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(o->buf, 1, o->bytes, f) != o->bytes || fclose(f)) {
		perror(path);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *out = NULL;
	struct one *all;
	pthread_attr_t attr;
	unsigned n = 1;
	off_t stride = 0;
	int flags = 0, c;

	while ((c = getopt(argc, argv, "dt:s:o:")) != -1) {
		switch (c) {
		case 'd': flags = O_DIRECT; break;
		case 't': n = (unsigned)atoi(optarg); break;
		case 's': stride = atoll(optarg); break;
		case 'o': out = optarg; break;
		default: return 2;
		}
	}
	if (argc - optind != 3 || n < 1 || n > THREADS_MAX)
		return 2;
	all = calloc(n, sizeof(*all));
	if (!all)
		return 1;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (unsigned i = 0; i < n; i++) {
		all[i].path = argv[optind];
		all[i].flags = flags;
		all[i].offset = atoll(argv[optind + 1]) + i * stride;
		all[i].bytes = (size_t)atoll(argv[optind + 2]);
		all[i].buf = aligned_alloc(ALIGN, (all[i].bytes + ALIGN - 1) /
							  ALIGN * ALIGN);
		if (!all[i].buf ||
		    pthread_create(&all[i].thread, &attr, run, &all[i])) {
			perror("preads");
			return 1;
		}
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(all[i].thread, NULL);
	c = out && !all[0].error ? save(out, &all[0]) : 0;
	print_ends(all, n);
	for (unsigned i = 0; i < n; i++)
		free(all[i].buf);
	free(all);
	return c;
}
