/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch.c - the supervisor's life once the mount stands.
 *
 *	serving --- worker died ---> starting --- it serves ---> serving
 *	   |                            |
 *	   +----- connection ended -----+---> ending ---> exit
 *	   |      (umount by anybody)   |       ^
 *	   +----- SIGTERM: umount ------+-------+
 *	                                +-- 10 deaths in a minute: give up
 *
 * /dev/fuse itself says when the mount is gone: it polls as POLLERR once the
 * connection has ended, worker or no worker. As long as this process holds
 * the descriptor, the death of a worker ends nothing: requests that it had
 * taken are repeated to the next one (fs/kernel/channel.c).
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs/supervisor/wire.h"

#define DEATHS_MAX 10
#define DEATHS_WITHIN_MS 60000
#define STOP_MS 5000
#define DELAY_MAX_MS 1000
#define SERVED_MS 1000 /* a worker that served so long did work */

enum state { SERVING, STARTING, WAITING, ENDING };

struct life {
	enum state state;
	int64_t death_ms[DEATHS_MAX]; /* the last ones, a ring */
	unsigned deaths, quick; /* in all; the last ones that hardly served */
	int64_t start_at_ms; /* WAITING: for this time */
	int64_t serving_ms;  /* since when it serves, 0: it does not */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static void say_death(int status, int64_t delay_ms)
{
	if (WIFSIGNALED(status))
		say("worker died of signal %d (%s): starting it again in %d "
		    "ms, readers wait",
		    WTERMSIG(status), strsignal(WTERMSIG(status)),
		    (int)delay_ms);
	else
		say("worker ended with status %d: starting it again in %d ms, "
		    "readers wait",
		    WEXITSTATUS(status), (int)delay_ms);
}

/* At once if it had worked; after that many that had not: 50, 100, ... ms. */
static int64_t delay_after(unsigned quick)
{
	int64_t ms = quick ? 25LL << quick : 0;

	return ms > DELAY_MAX_MS ? DELAY_MAX_MS : ms;
}

/* Returns false when it has died too often. */
static bool worker_died(struct watch *w, struct life *l, int status)
{
	int64_t now = now_ms(), delay;
	unsigned recent = 0;

	l->death_ms[l->deaths++ % DEATHS_MAX] = now;
	for (unsigned i = 0; i < DEATHS_MAX && i < l->deaths; i++)
		recent += now - l->death_ms[i] < DEATHS_WITHIN_MS;
	if (recent >= DEATHS_MAX) {
		say("the worker died %u times within a minute: giving up and "
		    "unmounting %s",
		    recent, w->o->mountpoint);
		return false;
	}
	if (l->serving_ms && now - l->serving_ms >= SERVED_MS)
		l->quick = 0;
	else
		l->quick++;
	delay = delay_after(l->quick);
	say_death(status, delay);
	l->serving_ms = 0;
	l->state = WAITING;
	l->start_at_ms = now + delay;
	return true;
}

static void start_again(struct watch *w, struct life *l)
{
	w->session->started++;
	if (worker_start(&w->worker, w->program, w->o, &w->fds) == 0) {
		l->state = STARTING;
		return;
	}
	say("cannot start the worker: %s: trying again", strerror(errno));
	l->start_at_ms = now_ms() + DELAY_MAX_MS;
}

/* A message, or the end of the link; its death is told by SIGCHLD. */
static void worker_spoke(struct watch *w, struct life *l)
{
	char text[LINE_MAX_BYTES];

	switch (worker_hear(&w->worker, text)) {
	case MSG_READY:
		worker_tell(&w->worker, MSG_MOUNTED);
		break;
	case MSG_SERVING:
		l->state = SERVING;
		l->serving_ms = now_ms();
		say("worker serves again");
		break;
	case MSG_ERROR:
		say("worker: %s", text);
		break;
	case MSG_BACKING_OPEN:
		backing_open(&w->worker, w->fds.fuse, w->session);
		break;
	case MSG_BACKING_CLOSE:
		backing_close(w->fds.fuse, w->session, text);
		break;
	default:
		close(w->worker.link);
		w->worker.link = -1;
		break;
	}
}

static bool connection_ended(const struct watch *w)
{
	struct pollfd p = {.fd = w->fds.fuse};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

/* Returns false when there is nothing left to watch. */
static bool take_signal(struct watch *w, struct life *l, int *status)
{
	struct signalfd_siginfo si;
	int wait_status;

	if (read(w->signals, &si, sizeof(si)) != sizeof(si))
		return true;
	if (si.ssi_signo != SIGCHLD) {
		say("signal %u: unmounting %s", si.ssi_signo,
		    w->o->mountpoint);
		return false;
	}
	if (!w->worker.pid ||
	    waitpid(w->worker.pid, &wait_status, WNOHANG) != w->worker.pid)
		return true;
	w->worker.pid = 0;
	if (w->worker.link >= 0)
		close(w->worker.link);
	w->worker.link = -1;
	/* After an umount the worker ends by itself. */
	if (connection_ended(w))
		return false;
	if (worker_died(w, l, wait_status))
		return true;
	*status = 1;
	return false;
}

/* One turn; false ends the watch. */
static bool turn(struct watch *w, struct life *l, int *status)
{
	struct pollfd p[3] = {{.fd = w->fds.fuse}, /* events 0: POLLERR only */
			      {.fd = w->signals, .events = POLLIN},
			      {.fd = w->worker.link, .events = POLLIN}};
	int timeout = -1;

	if (l->state == WAITING) {
		int64_t left = l->start_at_ms - now_ms();

		timeout = left > 0 ? (int)left : 0;
	}
	if (poll(p, 3, timeout) < 0)
		return errno == EINTR;
	if (p[0].revents & POLLERR)
		return false;
	if (p[1].revents && !take_signal(w, l, status))
		return false;
	if (p[2].revents && w->worker.link >= 0)
		worker_spoke(w, l);
	if (l->state == WAITING && now_ms() >= l->start_at_ms)
		start_again(w, l);
	return true;
}

int watch_run(struct watch *w)
{
	struct life l = {.state = SERVING, .serving_ms = now_ms()};
	int status = 0;

	while (turn(w, &l, &status))
		;
	mount_leave(w->o->mountpoint, w->minor, true);
	/* Cached state goes to disk; then there is nothing more to wait for. */
	worker_end(&w->worker, STOP_MS);
	return status;
}
