/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - a fixed number of threads: read a request, handle it.
 *
 * Rejected: libfuse's fuse_session_loop_mt. It ends its threads with
 * pthread_cancel, and glibc before 2.41 may cancel a read(2) that has just
 * taken a request: gone, where the kernel cannot repeat it (before 6.9). Here
 * a thread is woken from its read by a signal, which either comes before the
 * read took something or leaves it alone. And libfuse's threads have no pulse
 * (common/pulse.h): a handler waits for nothing, so seconds are a lot for it,
 * and half a minute is a deadlock.
 *
 * Rejected: poll(2) of the descriptor and an eventfd. It is one more call for
 * each request, and wakes all threads for one.
 */
#include "fs/kernel/loop.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/lock.h"
#include "common/log.h"
#include "common/pulse.h"
#include "fs/locks.h"

#define WAKE_SIGNAL SIGUSR2
#define WAKE_AGAIN_NS (2 * NS_PER_MS)

struct turn {
	struct loop *loop;
	pthread_t thread;
	bool busy;	   /* atomic: with a request, else it reads */
	bool over;	   /* atomic */
};

struct loop {
	struct fuse_session *session; /* set once */
	unsigned n;
	bool stop;  /* atomic */
	int error;  /* atomic */

	struct lock lock; /* with the bell: something has ended */
	struct wait_cond bell;

	struct turn turn[];
};

static void woken(int signal)
{
	(void)signal;
}

int loop_new(struct fuse_session *session, unsigned n_threads,
	     struct loop **ret)
{
	/* No SA_RESTART: the read is to return EINTR. */
	const struct sigaction wake = {.sa_handler = woken};
	struct loop *l = calloc(1, sizeof(*l) +
					   n_threads * sizeof(l->turn[0]));

	if (!l)
		return -ENOMEM;
	sigaction(WAKE_SIGNAL, &wake, NULL); /* right arguments: no error */
	l->session = session;
	l->n = n_threads;
	lock_init(&l->lock, LOCK_LOOP);
	cond_init(&l->bell);
	*ret = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	cond_destroy(&l->bell);
	lock_destroy(&l->lock);
	free(l);
}

void loop_stop(struct loop *l)
{
	LOCK_SCOPE(&l->lock);

	__atomic_store_n(&l->stop, true, __ATOMIC_RELEASE);
	cond_wake_all(&l->bell);
}

static bool ending(const struct loop *l)
{
	return __atomic_load_n(&l->stop, __ATOMIC_ACQUIRE) ||
	       fuse_session_exited(l->session);
}

static void *take_requests(void *arg)
{
	struct turn *t = arg;
	struct loop *l = t->loop;
	struct fuse_buf buf = {0};

	pulse_name("fuse");
	while (!ending(l)) {
		int r = fuse_session_receive_buf(l->session, &buf);

		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r < 0)
			__atomic_store_n(&l->error, r, __ATOMIC_RELEASE);
		if (r <= 0)
			break; /* 0: unmounted */
		__atomic_store_n(&t->busy, true, __ATOMIC_RELEASE);
		pulse_expect();
		fuse_session_process_buf(l->session, &buf);
		pulse_rest();
		__atomic_store_n(&t->busy, false, __ATOMIC_RELEASE);
	}
	free(buf.mem);
	__atomic_store_n(&t->over, true, __ATOMIC_RELEASE);
	loop_stop(l); /* one for all */
	return NULL;
}

/* Those that read; one at work is left alone and sees it by itself. A signal
 * that comes before the read begins is lost, hence again and again. */
static unsigned wake(struct loop *l, unsigned n)
{
	unsigned left = 0;

	for (unsigned i = 0; i < n; i++) {
		struct turn *t = &l->turn[i];

		if (__atomic_load_n(&t->over, __ATOMIC_ACQUIRE))
			continue;
		left++;
		if (!__atomic_load_n(&t->busy, __ATOMIC_ACQUIRE))
			pthread_kill(t->thread, WAKE_SIGNAL);
	}
	return left;
}

static void join(struct loop *l, unsigned n)
{
	lock_take(&l->lock);
	while (!ending(l))
		cond_wait(&l->bell, &l->lock);
	lock_give(&l->lock);
	while (wake(l, n))
		nanosleep(&(struct timespec){.tv_nsec = WAKE_AGAIN_NS}, NULL);
	for (unsigned i = 0; i < n; i++)
		pthread_join(l->turn[i].thread, NULL);
}

int loop_run(struct loop *l)
{
	unsigned n = 0;
	int r = 0;

	for (; n < l->n; n++) {
		struct turn *t = &l->turn[n];

		t->loop = l;
		r = pthread_create(&t->thread, NULL, take_requests, t);
		if (r)
			break;
	}
	if (n == 0)
		return -r;
	if (n < l->n)
		log_warn("kernel", "only %u threads take requests: %s", n,
			 strerror(r));
	join(l, n);
	return __atomic_load_n(&l->error, __ATOMIC_ACQUIRE);
}
