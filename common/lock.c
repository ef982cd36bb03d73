/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.c - the order is checked with a small stack of levels per thread: a
 * level has to be above the one on top. Nothing smarter (lockdep's graph) is
 * needed while all levels stand in one enum.
 */
#include "common/lock.h"

#include <assert.h>
#include <errno.h>

#include "common/clock.h"
#include "common/pulse.h"

#ifndef NDEBUG
#define DEPTH_MAX 16
static __thread int held[DEPTH_MAX];
static __thread int n_held;

static void note_take(const struct lock *l)
{
	assert(l->level > 0);
	assert(n_held < DEPTH_MAX);
	assert(n_held == 0 || held[n_held - 1] < l->level);
	held[n_held++] = l->level;
}

static void note_give(const struct lock *l)
{
	int i = n_held - 1;

	while (i >= 0 && held[i] != l->level)
		i--;
	assert(i >= 0);
	for (; i < n_held - 1; i++)
		held[i] = held[i + 1];
	n_held--;
}

void lock_assert_held(const struct lock *l)
{
	int i = 0;

	while (i < n_held && held[i] != l->level)
		i++;
	assert(i < n_held);
}
#else
static void note_take(const struct lock *l)
{
	(void)l;
}

static void note_give(const struct lock *l)
{
	(void)l;
}

void lock_assert_held(const struct lock *l)
{
	(void)l;
}
#endif

void lock_init(struct lock *l, int level)
{
	pthread_mutex_init(&l->mutex, NULL);
	l->level = level;
}

void lock_destroy(struct lock *l)
{
	pthread_mutex_destroy(&l->mutex);
}

void lock_take(struct lock *l)
{
	note_take(l);
	if (pthread_mutex_trylock(&l->mutex) == 0)
		return;
	pulse_lock_wait();
	pthread_mutex_lock(&l->mutex);
	pulse_lock_got();
}

void lock_give(struct lock *l)
{
	note_give(l);
	pthread_mutex_unlock(&l->mutex);
}

void cond_init(struct wait_cond *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->cond, &attr);
	pthread_condattr_destroy(&attr);
}

void cond_destroy(struct wait_cond *c)
{
	pthread_cond_destroy(&c->cond);
}

void cond_wake_one(struct wait_cond *c)
{
	pthread_cond_signal(&c->cond);
}

void cond_wake_all(struct wait_cond *c)
{
	pthread_cond_broadcast(&c->cond);
}

/* The lock stays on the level stack: who waits takes nothing. */
void cond_wait(struct wait_cond *c, struct lock *l)
{
	lock_assert_held(l);
	pthread_cond_wait(&c->cond, &l->mutex);
}

int cond_wait_until(struct wait_cond *c, struct lock *l, uint64_t mono_ns)
{
	struct timespec ts = {.tv_sec = (time_t)(mono_ns / NS_PER_S),
			      .tv_nsec = (long)(mono_ns % NS_PER_S)};

	lock_assert_held(l);
	if (pthread_cond_timedwait(&c->cond, &l->mutex, &ts) == ETIMEDOUT)
		return -ETIMEDOUT;
	return 0;
}
