/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pulse.h - which thread has stopped, in a process where most threads stop
 * every now and then because there is nothing to do.
 *
 * Two things are told apart from that:
 *
 *  - A thread has waited for a lock for long. No lock is held over disk or
 *    network (common/lock.h), so that is a deadlock, or somebody went away
 *    with the lock. Noted by lock_take() for all threads there are.
 *  - A thread has not come round that had promised to. Between
 *    pulse_expect() and the next one, or pulse_rest(), no more than so much
 *    time may pass.
 *
 * A thread that may wait for disk or network for as long as these like rests.
 * All is lock-free, and cheap enough for every round.
 */
#ifndef STAGEFS_COMMON_PULSE_H
#define STAGEFS_COMMON_PULSE_H

#include <stdbool.h>
#include <stdint.h>

/* Names the calling thread, in /proc too. */
void pulse_name(const char *name);
/* It will call one of these two again within so much time: the limit, or
 * longer. */
void pulse_expect(void);
void pulse_expect_ns(uint64_t ns);
/* Nothing is promised. */
void pulse_rest(void);

/* For lock_take(). */
void pulse_lock_wait(void);
void pulse_lock_got(void);

/* The limit; 20 s unless set, before there are threads. */
void pulse_set_limit(uint64_t ns);
/* A thread with nothing to do wakes up after this long, for its pulse: part of
 * the limit. */
uint64_t pulse_round_ns(void);

struct pulse_stuck {
	char name[16];
	int tid;
	bool on_lock;  /* else it did not come round */
	uint64_t ns;   /* for how long it has been overdue or waited */
};
/* The one that is stuck longest; false: none is. Takes no lock. */
bool pulse_find_stuck(struct pulse_stuck *ret);

#endif
