/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - the supervisor's start, and what it has to say. It is started by
 * `stagefs mount` (fs/mount.c), which has opened all its descriptors.
 */
#include "fs/supervisor/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HANG_MS 30000

static char level = '5'; /* of syslog(3): notice */

void say(const char *fmt, ...)
{
	char text[SUPERVISOR_MESSAGE_MAX_BYTES], when[32] = {'<', level, '>'};
	struct pollfd p = {.fd = 2, .events = POLLOUT};
	time_t now = time(NULL);
	struct stat st;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* The worker may have filled it, or nobody reads: a line is lost, the
	 * readers do not wait. */
	if (poll(&p, 1, 0) == 0)
		return;
	/* A socket is the system's log, which knows the time. */
	if (fstat(2, &st) == 0 && !S_ISSOCK(st.st_mode))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S ",
			 localtime(&now));
	dprintf(2, "%ssupervisor: %s\n", when, text);
}

void tell(struct supervisor *s, int status, const char *text)
{
	if (!s->pending) {
		say("%s", text);
		return;
	}
	s->pending = false;
	dprintf(SUPERVISOR_VERDICT_FD, "%c%s", status, text);
	close(SUPERVISOR_VERDICT_FD);
}

void fail(struct supervisor *s, int status, const char *fmt, ...)
{
	char why[SUPERVISOR_MESSAGE_MAX_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	level = '3'; /* error */
	if (!s->pending)
		say("%s", why);
	else if (!s->over)
		strcpy(s->why, why);
	s->over = true;
	s->status = status;
}

int place(int fd, int number)
{
	if (fd < 0 || fd == number)
		return fd;
	number = dup3(fd, number, O_CLOEXEC);
	close(fd);
	return number;
}

void mark(int first, int last, int flags)
{
	for (int fd = first; fd <= last; fd++)
		fcntl(fd, F_SETFD, flags);
}

static bool watch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	return place(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
		     SUPERVISOR_SIGNAL_FD) >= 0;
}

int main(int argc, char **argv)
{
	static struct supervisor s;
	const char *hang = getenv("STAGEFS_HANG_MS"); /* for tests */

	if (argc == 2 && !strcmp(argv[1], "--can-resume=" SUPERVISOR_COMPAT))
		return 0;
	if (argc != SUPERVISOR_ARGS)
		return 2; /* nothing for people: see `stagefs mount` */
	s.hang_ms = hang ? atoi(hang) : HANG_MS;
	/* The last one to go, and the first one to run, a moment now and then:
	 * readers wait for it. What it starts is like everybody. */
	put("/proc/self/oom_score_adj", "-1000");
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK,
			   &(struct sched_param){.sched_priority = 1});
	if (!watch_signals())
		return 2;
	take_over(&s, argv);
	return watch_run(&s);
}
