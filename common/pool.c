/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c - one FIFO per class under one lock; threads take from the lowest
 * class that has a job. Hashing a block takes half a millisecond, so one lock
 * and one condition are far from being contended; per-thread queues with
 * stealing were rejected as not measurable.
 *
 * The lock is a plain mutex and not a levelled one: it is a leaf. Submitting
 * is allowed under any of the callers' locks, and nothing is taken inside.
 */
#include "common/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/pulse.h"

#define THREADS_MAX 256
#define JOB_MAX_NS (300 * NS_PER_S) /* longer is no work, but a hang */

struct pool {
	char name[16];
	unsigned n_threads;
	pthread_t *thread;

	pthread_mutex_t lock; /* protects what follows */
	pthread_cond_t work;  /* a job came, or quit */
	pthread_cond_t idle;  /* nothing queued or running */
	struct pool_job *first[POOL_CLASSES], **last[POOL_CLASSES];
	unsigned n_queued, n_running;
	bool quit;
};

static struct pool_job *take_locked(struct pool *p)
{
	for (unsigned c = 0; c < POOL_CLASSES; c++) {
		struct pool_job *job = p->first[c];

		if (!job)
			continue;
		p->first[c] = job->next;
		if (!job->next)
			p->last[c] = &p->first[c];
		p->n_queued--;
		return job;
	}
	return NULL;
}

static void *worker(void *arg)
{
	struct pool *p = arg;
	struct pool_job *job;

	pulse_name(p->name);
	pthread_mutex_lock(&p->lock);
	for (;;) {
		job = take_locked(p);
		if (job) {
			p->n_running++;
			pthread_mutex_unlock(&p->lock);
			pulse_expect_ns(JOB_MAX_NS);
			job->run(job); /* may free the job */
			pulse_rest();
			pthread_mutex_lock(&p->lock);
			p->n_running--;
			if (p->n_queued == 0 && p->n_running == 0)
				pthread_cond_broadcast(&p->idle);
		} else if (p->quit) {
			break;
		} else {
			pthread_cond_wait(&p->work, &p->lock);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static unsigned processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	if (n < 1)
		return 1;
	return n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

int pool_new(const char *name, unsigned n_threads, struct pool **ret)
{
	struct pool *p = calloc(1, sizeof(*p));
	unsigned want = n_threads ? n_threads : processors();
	int r;

	if (!p)
		return -ENOMEM;
	p->thread = calloc(want, sizeof(*p->thread));
	if (!p->thread) {
		free(p);
		return -ENOMEM;
	}
	snprintf(p->name, sizeof(p->name), "%s", name);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->idle, NULL);
	for (unsigned c = 0; c < POOL_CLASSES; c++)
		p->last[c] = &p->first[c];
	while (p->n_threads < want) {
		r = pthread_create(&p->thread[p->n_threads], NULL, worker, p);
		if (r) {
			pool_free(p);
			return -r;
		}
		p->n_threads++;
	}
	*ret = p;
	return 0;
}

void pool_submit(struct pool *p, struct pool_job *job, unsigned class_)
{
	assert(class_ < POOL_CLASSES);
	job->next = NULL;
	pthread_mutex_lock(&p->lock);
	*p->last[class_] = job;
	p->last[class_] = &job->next;
	p->n_queued++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

void pool_drain(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->n_queued > 0 || p->n_running > 0)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_threads; i++)
		pthread_join(p->thread[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->idle);
	pthread_mutex_destroy(&p->lock);
	free(p->thread);
	free(p);
}
