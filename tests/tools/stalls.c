/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stalls.c - reads files over and over, past the page cache, compares, and
 * tells how long reads had to wait.
 *
 *	stalls [-t THREADS] [-l MS] [-w] {FILE SOURCE}...
 *
 * Each thread opens a file, looks at its attributes, reads 128 KiB somewhere,
 * compares with SOURCE, closes; and keeps one file open all the time. Until
 * SIGUSR1. A read, open or stat of MS (20) or more is a stall. Prints
 *
 *	READS reads ERRORS errors WRONG wrong STALLS stalls P50 P99 MAX ms
 *
 * of the stalls, and with -w a line "stall BEGIN TOOK" for each when it ends,
 * in milliseconds since 1970 and milliseconds, as netread does; status 1 if
 * there was an error or a wrong byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES (128u << 10)
#define FILES_MAX 64
#define THREADS_MAX 64
#define STALLS_MAX 100000

struct file {
	const char *path;
	int source_fd;
	uint64_t size;
};

static struct file files[FILES_MAX];
static unsigned n_files, stall_ms = 20;
static uint64_t n_reads, errors, wrong, n_stalls; /* atomic */
static double stalls[STALLS_MAX];
static int stop; /* atomic */
static bool tell;

static void on_stop(int signal)
{
	(void)signal;
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
}

static double clock_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static double now_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

static void took(double ms)
{
	uint64_t i;

	if (ms < stall_ms)
		return;
	i = __atomic_fetch_add(&n_stalls, 1, __ATOMIC_RELAXED);
	if (i < STALLS_MAX)
		stalls[i] = ms;
	if (tell) {
		printf("stall %.0f %.0f\n", clock_ms(CLOCK_REALTIME) - ms, ms);
		fflush(stdout);
	}
}

static void bad(uint64_t *counter, const char *what, const struct file *f)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
	fprintf(stderr, "%s %s: %s\n", what, f->path, strerror(errno));
}

static void read_one(const struct file *f, int fd, uint64_t at,
		     unsigned char *got, unsigned char *expected)
{
	size_t full = f->size - at < READ_BYTES ? f->size - at : READ_BYTES;
	double begin = now_ms();
	ssize_t n = pread(fd, got, READ_BYTES, (off_t)at);

	took(now_ms() - begin);
	__atomic_add_fetch(&n_reads, 1, __ATOMIC_RELAXED);
	if (n < 0)
		bad(&errors, "read", f);
	else if ((size_t)n != full ||
		 pread(f->source_fd, expected, full, (off_t)at) != n ||
		 memcmp(got, expected, full))
		bad(&wrong, "bytes of", f);
}

static int open_one(const struct file *f)
{
	double begin = now_ms();
	int fd = open(f->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	struct stat st;

	took(now_ms() - begin);
	if (fd < 0) {
		bad(&errors, "open", f);
		return -1;
	}
	begin = now_ms();
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != f->size)
		bad(&errors, "fstat", f);
	took(now_ms() - begin);
	return fd;
}

static void *run(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	unsigned char *got = aligned_alloc(4096, READ_BYTES);
	unsigned char *expected = malloc(READ_BYTES);
	const struct file *kept = &files[seed % n_files];
	int kept_fd = open_one(kept);

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) && kept_fd >= 0) {
		const struct file *f = &files[rand_r(&seed) % n_files];
		uint64_t at = (uint64_t)rand_r(&seed) % f->size / 4096 * 4096;
		int fd = open_one(f);

		if (fd < 0)
			continue;
		read_one(f, fd, at, got, expected);
		close(fd);
		read_one(kept, kept_fd, at % kept->size / 4096 * 4096, got,
			 expected);
	}
	if (kept_fd >= 0)
		close(kept_fd);
	free(got);
	free(expected);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double part(uint64_t n, double share)
{
	return n ? stalls[(uint64_t)((double)(n - 1) * share)] : 0;
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS_MAX];
	unsigned threads = 2;
	uint64_t n;
	int c;

	while ((c = getopt(argc, argv, "t:l:w")) != -1) {
		if (c == 't')
			threads = (unsigned)atoi(optarg);
		else if (c == 'l')
			stall_ms = (unsigned)atoi(optarg);
		else if (c == 'w')
			tell = true;
		else
			return 2;
	}
	for (; optind + 1 < argc && n_files < FILES_MAX; optind += 2) {
		struct file *f = &files[n_files++];
		struct stat st;

		f->path = argv[optind];
		f->source_fd = open(argv[optind + 1], O_RDONLY | O_CLOEXEC);
		if (f->source_fd < 0 || fstat(f->source_fd, &st) < 0)
			return 2;
		f->size = (uint64_t)st.st_size;
	}
	if (!n_files || threads < 1 || threads > THREADS_MAX)
		return 2;
	signal(SIGUSR1, on_stop);
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, run,
				   (void *)(uintptr_t)(i + 1)))
			return 2;
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	n = n_stalls < STALLS_MAX ? n_stalls : STALLS_MAX;
	qsort(stalls, n, sizeof(stalls[0]), by_size);
	printf("%" PRIu64 " reads %" PRIu64 " errors %" PRIu64
	       " wrong %" PRIu64 " stalls %.0f %.0f %.0f ms\n",
	       n_reads, errors, wrong, n, part(n, 0.5), part(n, 0.99),
	       n ? stalls[n - 1] : 0);
	return errors || wrong;
}
