/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - a few threads that run jobs from one queue.
 *
 * Jobs are embedded in the caller's own structs, so submitting cannot fail.
 * `run` is called once, on a pool thread, with no lock held; from then on the
 * pool does not touch the job. Order of start: by class, then as submitted.
 */
#ifndef STAGEFS_COMMON_POOL_H
#define STAGEFS_COMMON_POOL_H

struct pool;

struct pool_job {
	void (*run)(struct pool_job *job);
	struct pool_job *next; /* the pool's */
};

#define POOL_CLASSES 4 /* 0 goes first */

/* `name` is shown by ps (15 bytes). n_threads 0: one per processor. */
int pool_new(const char *name, unsigned n_threads, struct pool **ret);
void pool_submit(struct pool *p, struct pool_job *job, unsigned class_);
/* Runs what is queued, then joins the threads. NULL is fine. */
void pool_free(struct pool *p);
/* Waits until nothing is queued or running. */
void pool_drain(struct pool *p);

#endif
