/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocks.c - one function over all blocks, on all cores.
 *
 * Each thread takes the next block's number and does everything for it: read,
 * hash, write. Rejected: one reader that hands full buffers to hashing
 * threads. It needs a queue in each direction, and on a fast disk the one
 * reader is the bottleneck; here several reads are under way at once, and they
 * are still sequential enough for the kernel's read-ahead.
 */
#include "origin/store/internal.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/pool.h"

#define THREADS_MAX 32

struct run {
	const struct blocks_work *work;
	_Atomic uint64_t next;
	atomic_int error; /* the first */
};

struct worker {
	struct pool_job job;
	struct run *run;
	uint8_t *buf;
};

static void set_error(struct run *r, int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&r->error, &none, error);
}

static void run_worker(struct pool_job *job)
{
	struct worker *w = (struct worker *)job; /* its first member */
	struct run *run = w->run;
	const struct blocks_work *work = run->work;

	while (!atomic_load(&run->error)) {
		uint64_t i = atomic_fetch_add(&run->next, 1);
		int r;

		if (i >= work->n_blocks)
			return;
		if (work->stop && *work->stop)
			r = -EINTR;
		else
			r = work->each(work->ctx, i, w->buf);
		if (r)
			set_error(run, r);
	}
}

static unsigned count_threads(uint64_t n_blocks)
{
	unsigned n = 1;
	cpu_set_t set;

	/* Those that this process may use, which a container's limits are. */
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = (unsigned)CPU_COUNT(&set);
	if (n > THREADS_MAX)
		n = THREADS_MAX;
	return n < n_blocks ? n : (unsigned)n_blocks;
}

int blocks_each(const struct blocks_work *work)
{
	struct run run = {.work = work};
	struct worker worker[THREADS_MAX] = {0};
	unsigned n = count_threads(work->n_blocks);
	struct pool *pool = NULL;
	int r;

	if (!n)
		return 0;
	r = pool_new("blocks", n, &pool);
	if (r)
		return r;
	for (unsigned i = 0; i < n; i++) {
		struct worker *w = &worker[i];

		w->job.run = run_worker;
		w->run = &run;
		w->buf = mmap(NULL, work->block_bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (w->buf == MAP_FAILED) {
			w->buf = NULL;
			set_error(&run, -ENOMEM);
			break;
		}
		pool_submit(pool, &w->job, 0);
	}
	pool_free(pool); /* waits for all */
	for (unsigned i = 0; i < n && worker[i].buf; i++)
		munmap(worker[i].buf, work->block_bytes);
	return atomic_load(&run.error);
}
