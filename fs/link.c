/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.c - a thread that does nothing but listen to the supervisor, so that a
 * ping that is not answered means that the worker hangs, and not that it is
 * busy.
 *
 * When the supervisor dies, its worker has to go as well: nobody would start
 * it again, and nobody could unmount. Not by PR_SET_PDEATHSIG, which would be
 * a kill without a word in the log and without the last second of the cache's
 * bits; but if the orderly end takes too long, by force.
 */
#include "fs/link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/lock.h"
#include "common/log.h"
#include "common/pulse.h"
#include "fs/locks.h"
#include "fs/supervisor/wire.h"

#define UPGRADE_WAIT_NS (30 * NS_PER_S)
#define GONE_MS 5000
#define AGAIN_MS 500

struct link {
	struct link_config cfg; /* set once */
	int stop_fd;		/* readable: the thread is to end */
	pthread_t thread;
	bool owed;		/* the thread's: a ping has no answer */

	struct lock lock; /* protects what follows */
	struct wait_cond changed;
	bool mounted;
	enum link_end end;
	unsigned refusals;
	char refusal[SUPERVISOR_MESSAGE_MAX_BYTES];
};

void link_tell(struct link *l, char message, const char *text)
{
	char line[SUPERVISOR_MESSAGE_MAX_BYTES];
	size_t n = strnlen(text, sizeof(line) - 1);

	line[0] = message;
	memcpy(line + 1, text, n);
	if (send(l->cfg.fd, line, n + 1, MSG_NOSIGNAL) < 0)
		log_warn("worker", "supervisor: %s", strerror(errno));
}

enum link_end link_ended(struct link *l)
{
	LOCK_SCOPE(&l->lock);
	return l->end;
}

int link_await_mounted(struct link *l)
{
	LOCK_SCOPE(&l->lock);

	while (!l->mounted && l->end == LINK_ON)
		cond_wait(&l->changed, &l->lock);
	return l->end == LINK_ON ? 0 : -ECONNRESET;
}

int link_upgrade(struct link *l, struct err *e)
{
	uint64_t until = clock_mono_ns() + UPGRADE_WAIT_NS;
	unsigned before;
	int r = 0;

	lock_take(&l->lock);
	before = l->refusals;
	lock_give(&l->lock);
	link_tell(l, MSG_UPGRADE, "");
	LOCK_SCOPE(&l->lock);
	while (l->end == LINK_ON && l->refusals == before && r == 0)
		r = cond_wait_until(&l->changed, &l->lock, until);
	if (l->end == LINK_DRAIN)
		return 0;
	if (l->end != LINK_ON)
		return err_set(e, ECONNRESET, "the mount is about to end");
	if (l->refusals != before)
		return err_set(e, EREMOTEIO, "%s", l->refusal);
	return err_set(e, ETIMEDOUT, "the supervisor does not answer");
}

/* ---- the thread ---------------------------------------------------------- */

static void note_end(struct link *l, enum link_end end)
{
	lock_take(&l->lock);
	if (l->end != LINK_ON) {
		lock_give(&l->lock);
		return;
	}
	l->end = end;
	cond_wake_all(&l->changed);
	lock_give(&l->lock);
	l->cfg.end(l->cfg.ctx);
}

static void note_refusal(struct link *l, const char *text)
{
	LOCK_SCOPE(&l->lock);

	snprintf(l->refusal, sizeof(l->refusal), "%s", text);
	l->refusals++;
	cond_wake_all(&l->changed);
}

static void note_mounted(struct link *l)
{
	LOCK_SCOPE(&l->lock);

	l->mounted = true;
	cond_wake_all(&l->changed);
}

static void gone(struct link *l)
{
	struct pollfd p = {.fd = l->stop_fd, .events = POLLIN};

	log_err("worker", "the supervisor has died: ending, since nobody could "
			  "start this process again; mount anew");
	note_end(l, LINK_GONE);
	if (poll(&p, 1, GONE_MS) == 0) {
		log_err("worker", "not ended after %d s: exiting",
			GONE_MS / 1000);
		_exit(1);
	}
}

/* What hangs may come to itself before the supervisor's patience ends. */
static void answer(struct link *l)
{
	l->owed = !l->cfg.well(l->cfg.ctx);
	if (!l->owed)
		link_tell(l, MSG_PONG, "");
}

/* False: there is nothing more to hear. */
static bool hear(struct link *l)
{
	char line[SUPERVISOR_MESSAGE_MAX_BYTES + 1];
	ssize_t n = recv(l->cfg.fd, line, sizeof(line) - 1, 0);

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0) {
		gone(l);
		return false;
	}
	line[n] = 0;
	switch (line[0]) {
	case MSG_PING:
		answer(l);
		break;
	case MSG_MOUNTED:
		note_mounted(l);
		break;
	case MSG_REFUSED:
		note_refusal(l, line + 1);
		break;
	case MSG_DRAIN:
		note_end(l, LINK_DRAIN);
		break;
	case MSG_STOP:
		note_end(l, LINK_STOP);
		break;
	}
	return true;
}

static void *listen_to_it(void *arg)
{
	struct link *l = arg;
	struct pollfd p[2] = {{.fd = l->stop_fd, .events = POLLIN},
			      {.fd = l->cfg.fd, .events = POLLIN}};

	pulse_name("link");
	for (;;) {
		int n = poll(p, 2, l->owed ? AGAIN_MS : -1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || p[0].revents)
			return NULL;
		if (n == 0)
			answer(l);
		else if (!hear(l))
			return NULL;
	}
}

/* ---- life ---------------------------------------------------------------- */

int link_new(const struct link_config *cfg, struct link **ret)
{
	struct link *l = calloc(1, sizeof(*l));
	int r = -ENOMEM;

	if (!l)
		return -ENOMEM;
	l->cfg = *cfg;
	lock_init(&l->lock, LOCK_LINK);
	cond_init(&l->changed);
	l->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (l->stop_fd >= 0)
		r = -pthread_create(&l->thread, NULL, listen_to_it, l);
	if (r) {
		if (l->stop_fd >= 0)
			close(l->stop_fd);
		cond_destroy(&l->changed);
		lock_destroy(&l->lock);
		free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void link_free(struct link *l)
{
	uint64_t one = 1;

	if (!l)
		return;
	if (write(l->stop_fd, &one, sizeof(one)) < 0)
		log_err("worker", "eventfd: %s", strerror(errno));
	pthread_join(l->thread, NULL);
	close(l->stop_fd);
	cond_destroy(&l->changed);
	lock_destroy(&l->lock);
	free(l);
}
