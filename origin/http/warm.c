/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warm.c - whether a byte is in memory is asked with preadv2(RWF_NOWAIT), one
 * in each run of pages that the kernel reads at once. (Rejected: mincore(2),
 * which needs a mapping; cachestat(2), which is younger than Debian 12.)
 *
 * A thread that reads does so into a buffer that is thrown away: readahead(2)
 * returns before the bytes are there, and sendfile would then wait for them
 * after all. It is told of what comes next first, so that the disk has work
 * while this piece is on its way to the client.
 */
#include "origin/http/warm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

/* Enough for a few disks that seek, few enough for one. */
#define THREADS 8
#define SAMPLE_BYTES (256u << 10)
/* A single call reads ahead no more than the device's own limit, which is
 * this at the least (force_page_cache_ra in the kernel). */
#define AHEAD_STEP_BYTES (128u << 10)
#define READ_BYTES (256u << 10)

bool (*warm_hot_hook)(int fd, uint64_t offset);
void (*warm_read_hook)(int fd, uint64_t offset);

struct warm {
	struct pool *pool;
	bool stop; /* atomic */
};

int warm_new(struct warm **ret)
{
	struct warm *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = pool_new("disk", THREADS, &w->pool);
	if (r) {
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void warm_free(struct warm *w)
{
	if (!w)
		return;
	__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
	pool_free(w->pool);
	free(w);
}

/* ---- asking ------------------------------------------------------------ */

static bool sample_is_hot(int fd, uint64_t offset)
{
	char byte;
	struct iovec v = {&byte, 1};

	if (warm_hot_hook)
		return warm_hot_hook(fd, offset);
	return preadv2(fd, &v, 1, (off_t)offset, RWF_NOWAIT) >= 0 ||
	       errno != EAGAIN;
}

bool warm_is_hot(int fd, uint64_t offset, uint64_t n_bytes)
{
	if (n_bytes == 0)
		return true;
	for (uint64_t i = 0; i < n_bytes; i += SAMPLE_BYTES)
		if (!sample_is_hot(fd, offset + i))
			return false;
	return sample_is_hot(fd, offset + n_bytes - 1);
}

/* ---- reading ----------------------------------------------------------- */

static bool is_wanted(const struct warm_job *j)
{
	return !__atomic_load_n(&j->cancelled, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&j->warm->stop, __ATOMIC_RELAXED);
}

/* Errors are the business of whoever sends. */
static void read_all(const struct warm_job *j)
{
	char *buf = malloc(READ_BYTES);
	uint64_t done = 0;

	while (buf && done < j->n_bytes && is_wanted(j)) {
		uint64_t left = j->n_bytes - done;
		ssize_t n = pread(j->fd, buf,
				  left < READ_BYTES ? left : READ_BYTES,
				  (off_t)(j->offset + done));

		if (n <= 0)
			break;
		done += (uint64_t)n;
	}
	free(buf);
}

static void run(struct pool_job *job)
{
	struct warm_job *j = (struct warm_job *)job; /* its first member */
	uint64_t end = j->n_bytes + j->ahead_bytes;

	for (uint64_t i = 0; i < end && is_wanted(j); i += AHEAD_STEP_BYTES)
		posix_fadvise(j->fd, (off_t)(j->offset + i), AHEAD_STEP_BYTES,
			      POSIX_FADV_WILLNEED);
	if (warm_read_hook)
		warm_read_hook(j->fd, j->offset);
	else
		read_all(j);
	j->done(j);
}

void warm_submit(struct warm *w, struct warm_job *job, enum wire_class c)
{
	_Static_assert(CLASS_COUNT <= POOL_CLASSES, "a queue for each class");
	job->warm = w;
	job->job.run = run;
	pool_submit(w->pool, &job->job, c);
}
