/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch.c - the supervisor's life: one loop over what may happen.
 *
 *	STARTING --- it serves ---> SERVING --- upgrade ---> DRAINING
 *	   ^  |                        |                        |
 *	   |  +--------- died ---------+                        |
 *	   |             v                                      |
 *	   +-- delay -- WAITING --> 10 deaths in a minute: give up
 *	   +------------------------ ended ---------------------+
 *
 * The first worker's "ready" is when the mount is made; a failure before it
 * serves ends everything.
 *
 * /dev/fuse itself says when the mount is gone: it polls as POLLERR once the
 * connection has ended, worker or no worker. As long as this process holds
 * the descriptor, the death of a worker ends nothing: requests that it had
 * taken come to the next one (fs/kernel/channel.c).
 *
 * Hung or busy: a thread of the worker answers pings as long as all of its
 * threads come round (common/pulse.h).
 *
 * The worker is not to be believed: it may have been taken over. It can end
 * its mount, since it answers all requests, and waste our time; nothing it
 * says makes us wait for it, write what it says elsewhere than to its own log,
 * or touch another file than one that it may write itself.
 */
#include "fs/supervisor/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEATHS_MAX 10
#define DEATHS_WITHIN_MS 60000
#define LAST_WORDS_MAX 1000
#define SERVED_MS 200 /* a worker that served so long did work */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

void enter(struct supervisor *s, enum state state, int64_t due_in_ms)
{
	s->state = state;
	s->asked = false;
	s->due_ms = now_ms() + due_in_ms;
	s->serving_ms = state == SERVING ? now_ms() : 0;
}

static void start(struct supervisor *s)
{
	if (worker_start(s))
		enter(s, STARTING, s->hang_ms / 6);
	else
		enter(s, WAITING, 1000); /* no memory: there will be */
}

/* ---- deaths -------------------------------------------------------------- */

static bool too_many(struct supervisor *s)
{
	/* What stands where this one goes is the ninth before it. */
	int64_t *ninth = &s->death_ms[s->deaths++ % (DEATHS_MAX - 1)];
	int64_t now = now_ms();
	bool many = *ninth && now - *ninth < DEATHS_WITHIN_MS;

	*ninth = now;
	return many && !getenv("STAGEFS_MAY_DIE"); /* for tests */
}

/* At once if it had worked; after that many that had not: 50, 100, ... ms. */
static int64_t back_off(struct supervisor *s)
{
	if (s->serving_ms && now_ms() - s->serving_ms >= SERVED_MS)
		s->quick = 0;
	else if (s->quick < 5)
		s->quick++;
	return s->quick ? 25LL << s->quick : 0;
}

/* ---- what may happen ----------------------------------------------------- */

static void worker_spoke(struct supervisor *s)
{
	char text[SUPERVISOR_MESSAGE_MAX_BYTES];

	/* We go before other programs: half of a processor is what a worker
	 * can make us take. */
	if (clock() - s->rested > CLOCKS_PER_SEC / 1000) {
		poll(NULL, 0, (int)((clock() - s->rested) / 1000) + 1);
		s->rested = clock();
	}
	switch (worker_hear(&s->worker, text)) {
	case MSG_READY:
		if (s->state == STARTING && (s->dev || mount_make(s)))
			worker_tell(&s->worker, MSG_MOUNTED, "");
		break;
	case MSG_SERVING:
		if (s->state != STARTING)
			break;
		enter(s, SERVING, s->hang_ms / 6);
		mount_tune(s);
		s->untried = false;
		tell(s, 0, s->pending ? text : "the worker serves again");
		break;
	case MSG_ERROR:
		if (s->pending)
			fail(s, 1, "%s", text);
		break;
	case MSG_PONG:
		s->asked = false;
		s->due_ms = now_ms() + s->hang_ms / 6;
		break;
	case MSG_UPGRADE:
		if (s->state == SERVING && s->worker.pid)
			upgrade(s);
		break;
	case MSG_BACKING_OPEN:
		backing_open(&s->worker, SUPERVISOR_FUSE_FD, s->session);
		break;
	case MSG_BACKING_CLOSE:
		backing_close(SUPERVISOR_FUSE_FD, s->session, text);
		break;
	default: /* its death is told by SIGCHLD */
		worker_unlink(&s->worker);
	}
}

static void died(struct supervisor *s, int status)
{
	bool killed = WIFSIGNALED(status);
	int code = killed ? WTERMSIG(status) : WEXITSTATUS(status);
	const char *how = killed ? strsignal(code) : "ended";
	bool many;

	s->worker.pid = 0;
	/* Its last words; as many as a socket holds. */
	for (int n = 0; n < LAST_WORDS_MAX && s->worker.link >= 0; n++)
		worker_spoke(s);
	if (s->over)
		return;
	if (s->state == DRAINING && status == 0) {
		start(s);
	} else if (s->pending) {
		fail(s, 2, "the worker died (%s, %d): see its log", how, code);
	} else if ((many = too_many(s)) && !s->upgraded) {
		fail(s, 1, "the worker died (%s, %d), for the %dth time within "
			   "a minute: giving up and unmounting %s",
		     how, code, DEATHS_MAX, s->point);
	} else if (many || (s->untried && s->state == STARTING)) {
		say("the new worker died (%s, %d) %s: the old program goes on",
		    how, code, many ? "again and again" : "before it served");
		dup3(SUPERVISOR_OLD_PROGRAM_FD, SUPERVISOR_PROGRAM_FD,
		     O_CLOEXEC);
		s->upgraded = s->untried = false;
		s->fell_back = true;
		memset(s->death_ms, 0, sizeof(s->death_ms));
		start(s);
	} else {
		enter(s, WAITING, back_off(s));
		say("the worker died (%s, %d): starting it again, readers wait",
		    how, code);
	}
}

static void take_signal(struct supervisor *s)
{
	struct signalfd_siginfo si;
	int status;

	if (read(SUPERVISOR_SIGNAL_FD, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo != SIGCHLD) {
		say("signal %u: unmounting %s", si.ssi_signo, s->point);
		s->over = true;
		/* A busy mount loses its name; what is parked gets an error. */
		mount_leave(s, false);
		worker_tell(&s->worker, MSG_STOP, "");
	} else if (s->worker.pid &&
		   waitpid(s->worker.pid, &status, WNOHANG) == s->worker.pid) {
		died(s, status);
	}
}

static void time_has_come(struct supervisor *s)
{
	char of[32];

	if (s->state == WAITING) {
		start(s);
		return;
	}
	if (s->asked) {
		say("the worker has not answered for %d ms: its state follows, "
		    "then its end", s->hang_ms);
		snprintf(of, sizeof(of), "--dump=%d", s->worker.pid);
		program_run(s, "worker", of);
		kill(s->worker.pid, SIGKILL);
	}
	s->asked = true;
	s->due_ms = now_ms() + s->hang_ms;
	worker_tell(&s->worker, MSG_PING, "");
}

static void turn(struct supervisor *s)
{
	struct pollfd p[3] = {
		/* events 0: POLLERR only */
		{.fd = s->dev ? SUPERVISOR_FUSE_FD : -1},
		{.fd = SUPERVISOR_SIGNAL_FD, .events = POLLIN},
		{.fd = s->worker.link, .events = POLLIN},
	};
	int64_t left = s->due_ms - now_ms();

	if (poll(p, 3, left > 0 ? (int)left : 0) < 0)
		return;
	if (p[0].revents & POLLERR)
		s->over = true; /* before the end of the worker is seen */
	else if (p[1].revents)
		take_signal(s);
	else if (p[2].revents)
		worker_spoke(s);
	else if (now_ms() >= s->due_ms)
		time_has_come(s);
}

int watch_run(struct supervisor *s)
{
	struct stat st;

	s->rested = clock();
	if (!s->worker.pid && !s->over)
		start(s);
	while (!s->over)
		turn(s);
	mount_leave(s, true);
	/* Cached state goes to disk; then there is nothing more to wait for. */
	child_end(s->worker.pid);
	/* The next mount of the same folder may have made its own already. */
	if (lstat(s->socket, &st) == 0 && st.st_ino == s->socket_ino)
		unlink(s->socket);
	/* Who tries again finds nothing of this one in the way. */
	if (s->pending && s->why[0])
		tell(s, s->status, s->why);
	return s->status;
}
