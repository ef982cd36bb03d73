/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.h - mutexes with a level. A thread takes them in growing order of
 * level only; a build without NDEBUG asserts it. The levels of each program
 * stand, with what they protect, in one file: fs/locks.h, origin/locks.h.
 *
 * No lock is held over disk, network, a callback or a reply.
 */
#ifndef STAGEFS_COMMON_LOCK_H
#define STAGEFS_COMMON_LOCK_H

#include <pthread.h>
#include <stdint.h>

struct lock {
	pthread_mutex_t mutex;
	int level; /* > 0 */
};

struct wait_cond {
	pthread_cond_t cond; /* CLOCK_MONOTONIC */
};

void lock_init(struct lock *l, int level);
void lock_destroy(struct lock *l);
void lock_take(struct lock *l);
void lock_give(struct lock *l);
void lock_assert_held(const struct lock *l);

void cond_init(struct wait_cond *c);
void cond_destroy(struct wait_cond *c);
void cond_wake_one(struct wait_cond *c);
void cond_wake_all(struct wait_cond *c);
/* Until woken (or spuriously). */
void cond_wait(struct wait_cond *c, struct lock *l);
/* Until this CLOCK_MONOTONIC time at most: 0, or -ETIMEDOUT. */
int cond_wait_until(struct wait_cond *c, struct lock *l, uint64_t mono_ns);

static inline void lock_scope_end(struct lock **l)
{
	lock_give(*l);
}
/* Held until the end of the scope. */
#define LOCK_SCOPE(l)                                                   \
	__attribute__((cleanup(lock_scope_end), unused)) struct lock   \
		*lock_scope_ = (lock_take(l), (l))

#endif
