/* SPDX-License-Identifier: Apache-2.0 */
/*
 * randreads.c - many threads read anywhere in many files, and compare each
 * read with what it has to be.
 *
 *	randreads [-t THREADS] [-n READS] [-r SEED] {FILE SOURCE}...
 *
 * Each thread makes READS reads (1,000) of 1 byte to 2 MiB, most of them
 * small, some in sequence, some past the page cache; opens anew now and then.
 * Prints "N reads, BYTES bytes, N errors"; status 1 if bytes were wrong or a
 * read was short, 3 if there were only errors. What was wrong is on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 256
#define READ_MAX (2u << 20)
#define ALIGN 4096u
#define THREADS_MAX 256

struct file {
	const char *path, *source;
	int source_fd;
	uint64_t size;
};

static struct file files[FILES_MAX];
static unsigned n_files, n_reads = 1000;
static uint64_t total_reads, total_bytes, errors, wrong; /* atomic */

struct one {
	pthread_t thread;
	uint64_t random;
	unsigned char *got, *expected;
	const struct file *f;
	int fd, flags;
	uint64_t next; /* where the last read ended */
};

static uint64_t rnd(struct one *o, uint64_t below)
{
	/* xorshift64*: reproducible, one state per thread. */
	o->random ^= o->random >> 12;
	o->random ^= o->random << 25;
	o->random ^= o->random >> 27;
	return (o->random * UINT64_C(0x2545F4914F6CDD1D) >> 16) % below;
}

static void reopen(struct one *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->f = &files[rnd(o, n_files)];
	o->flags = rnd(o, 4) ? 0 : O_DIRECT;
	o->next = 0;
	o->fd = open(o->f->path, O_RDONLY | O_CLOEXEC | o->flags);
	if (o->fd < 0) {
		fprintf(stderr, "%s: %s\n", o->f->path, strerror(errno));
		__atomic_add_fetch(&errors, 1, __ATOMIC_RELAXED);
	}
}

static void choose(struct one *o, uint64_t *ret_offset, uint64_t *ret_n)
{
	uint64_t n = 1 + rnd(o, rnd(o, 4) ? 65536 : READ_MAX), at;

	at = rnd(o, 3) ? o->next : rnd(o, o->f->size);
	if (o->flags) {
		at = at / ALIGN * ALIGN;
		n = (n + ALIGN - 1) / ALIGN * ALIGN;
	}
	if (at >= o->f->size)
		at = 0;
	*ret_offset = at;
	*ret_n = n > READ_MAX ? READ_MAX : n;
}

static void check(struct one *o, uint64_t offset, uint64_t n, ssize_t got)
{
	uint64_t full = offset + n > o->f->size ? o->f->size - offset : n;

	if (got < 0) {
		fprintf(stderr, "%s at %" PRIu64 ": %s\n", o->f->path, offset,
			strerror(errno));
		__atomic_add_fetch(&errors, 1, __ATOMIC_RELAXED);
		return;
	}
	if ((uint64_t)got == full &&
	    pread(o->f->source_fd, o->expected, full, (off_t)offset) == got &&
	    !memcmp(o->got, o->expected, full))
		return;
	fprintf(stderr, "%s at %" PRIu64 ": %zd of %" PRIu64 " bytes: %s\n",
		o->f->path, offset, got, full,
		(uint64_t)got == full ? "wrong" : "short");
	__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
}

static void *run(void *ctx)
{
	struct one *o = ctx;

	reopen(o);
	for (unsigned i = 0; i < n_reads; i++) {
		uint64_t offset, n;
		ssize_t got;

		if (o->fd < 0 || rnd(o, 20) == 0)
			reopen(o);
		if (o->fd < 0)
			continue;
		choose(o, &offset, &n);
		got = pread(o->fd, o->got, n, (off_t)offset);
		check(o, offset, n, got);
		o->next = got > 0 ? offset + (uint64_t)got : 0;
		__atomic_add_fetch(&total_reads, 1, __ATOMIC_RELAXED);
		if (got > 0)
			__atomic_add_fetch(&total_bytes, (uint64_t)got,
					   __ATOMIC_RELAXED);
	}
	if (o->fd >= 0)
		close(o->fd);
	return NULL;
}

static int open_sources(char **arg, int n)
{
	struct stat st;

	for (int i = 0; i + 1 < n && n_files < FILES_MAX; i += 2) {
		struct file *f = &files[n_files++];

		f->path = arg[i];
		f->source = arg[i + 1];
		f->source_fd = open(f->source, O_RDONLY | O_CLOEXEC);
		if (f->source_fd < 0 || fstat(f->source_fd, &st) < 0 ||
		    st.st_size == 0) {
			perror(f->source);
			return -1;
		}
		f->size = (uint64_t)st.st_size;
	}
	return n_files ? 0 : -1;
}

int main(int argc, char **argv)
{
	static struct one all[THREADS_MAX];
	unsigned threads = 8;
	uint64_t seed = 1;
	int c;

	while ((c = getopt(argc, argv, "t:n:r:")) != -1) {
		switch (c) {
		case 't': threads = (unsigned)atoi(optarg); break;
		case 'n': n_reads = (unsigned)atoi(optarg); break;
		case 'r': seed = (uint64_t)atoll(optarg); break;
		default: return 2;
		}
	}
	if (threads < 1 || threads > THREADS_MAX ||
	    open_sources(argv + optind, argc - optind) < 0)
		return 2;
	for (unsigned i = 0; i < threads; i++) {
		struct one *o = &all[i];

		o->random = (seed << 16) + i + 1;
		o->fd = -1;
		o->got = aligned_alloc(ALIGN, READ_MAX);
		o->expected = malloc(READ_MAX);
		if (!o->got || !o->expected ||
		    pthread_create(&o->thread, NULL, run, o))
			return 2;
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(all[i].thread, NULL);
		free(all[i].got);
		free(all[i].expected);
	}
	printf("%" PRIu64 " reads, %" PRIu64 " bytes, %" PRIu64 " errors\n",
	       total_reads, total_bytes, errors);
	return wrong ? 1 : errors ? 3 : 0;
}
