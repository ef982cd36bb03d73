/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pulse.c - one slot per thread, found through a thread-local pointer, given
 * back when the thread ends. A thread that finds no free slot is not watched.
 *
 * Rejected: a watchdog that sends every thread a message and waits for the
 * answer. It would have to be woven into as many kinds of wait as there are
 * threads (epoll, conditions, curl's poll, FUSE's read), and a thread at its
 * disk would look dead.
 */
#include "common/pulse.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"

#define SLOTS_MAX 512
#define LIMIT_NS (20 * NS_PER_S)

struct slot { /* atomic, all */
	int tid;	  /* 0: free, -1: about to be used */
	uint64_t lock_ns; /* waits for one since, 0: does not */
	uint64_t due_ns;  /* comes round before, 0: has not promised */
	uint64_t name[2]; /* 16 bytes, to be read while it changes */
};

static struct slot slots[SLOTS_MAX];
static uint64_t limit = LIMIT_NS; /* ns, atomic */
static __thread struct slot *mine;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_end;

static void set(uint64_t *field, uint64_t value)
{
	__atomic_store_n(field, value, __ATOMIC_RELAXED);
}

static void give_back(void *slot)
{
	struct slot *s = slot;

	mine = NULL;
	set(&s->lock_ns, 0);
	set(&s->due_ns, 0);
	__atomic_store_n(&s->tid, 0, __ATOMIC_RELEASE);
}

static void make_key(void)
{
	pthread_key_create(&at_end, give_back);
}

static void note_name(struct slot *s)
{
	uint64_t name[2] = {0};

	pthread_getname_np(pthread_self(), (char *)name, sizeof(name));
	set(&s->name[0], name[0]);
	set(&s->name[1], name[1]);
}

static struct slot *slot_of_thread(void)
{
	if (mine)
		return mine;
	pthread_once(&once, make_key);
	for (size_t i = 0; i < SLOTS_MAX; i++) {
		struct slot *s = &slots[i];
		int none = 0;

		if (!__atomic_compare_exchange_n(&s->tid, &none, -1, false,
						 __ATOMIC_ACQUIRE,
						 __ATOMIC_RELAXED))
			continue;
		mine = s;
		pthread_setspecific(at_end, s);
		note_name(s);
		__atomic_store_n(&s->tid, (int)syscall(SYS_gettid),
				 __ATOMIC_RELEASE);
		return s;
	}
	return NULL;
}

void pulse_name(const char *name)
{
	struct slot *s;

	/* Of itself: another one's takes a file of /proc. */
	pthread_setname_np(pthread_self(), name);
	s = slot_of_thread();
	if (s)
		note_name(s);
}

void pulse_expect_ns(uint64_t ns)
{
	struct slot *s = slot_of_thread();

	if (s)
		set(&s->due_ns, clock_mono_ns() + ns);
}

static uint64_t limit_ns(void)
{
	return __atomic_load_n(&limit, __ATOMIC_RELAXED);
}

void pulse_expect(void)
{
	pulse_expect_ns(limit_ns());
}

void pulse_rest(void)
{
	if (mine)
		set(&mine->due_ns, 0);
}

void pulse_lock_wait(void)
{
	struct slot *s = slot_of_thread();

	if (s)
		set(&s->lock_ns, clock_mono_ns());
}

void pulse_lock_got(void)
{
	if (mine)
		set(&mine->lock_ns, 0);
}

void pulse_set_limit(uint64_t ns)
{
	set(&limit, ns);
}

uint64_t pulse_round_ns(void)
{
	return limit_ns() / 4;
}

bool pulse_find_stuck(struct pulse_stuck *ret)
{
	struct pulse_stuck found = {.ns = 0};
	uint64_t now = clock_mono_ns();

	for (size_t i = 0; i < SLOTS_MAX; i++) {
		struct slot *s = &slots[i];
		int tid = __atomic_load_n(&s->tid, __ATOMIC_ACQUIRE);
		uint64_t lock = __atomic_load_n(&s->lock_ns, __ATOMIC_RELAXED);
		uint64_t due = __atomic_load_n(&s->due_ns, __ATOMIC_RELAXED);
		bool on_lock = lock && lock + limit_ns() < now;
		uint64_t ns, name[2];

		if (tid <= 0 || !(on_lock || (due && due < now)))
			continue;
		ns = on_lock ? now - lock : now - due;
		if (ns <= found.ns)
			continue;
		for (int n = 0; n < 2; n++)
			name[n] = __atomic_load_n(&s->name[n],
						  __ATOMIC_RELAXED);
		found.tid = tid;
		found.on_lock = on_lock;
		found.ns = ns;
		memcpy(found.name, name, sizeof(found.name));
		found.name[sizeof(found.name) - 1] = 0;
	}
	if (found.ns)
		*ret = found;
	return found.ns;
}
