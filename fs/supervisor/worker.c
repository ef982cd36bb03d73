/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.c - starts `stagefs worker`, talks to it, waits for its end.
 *
 * The program is opened once and started from its descriptor: a worker that
 * follows a dead one is the same program, also if another version has been
 * installed meanwhile. Changing it is what upgrade.c is for.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_MS 5000

static void child(const struct supervisor *s, int link)
{
	const char *argv[] = {"stagefs", "worker", "--source", s->source,
			      "--mountpoint", s->point, "-o", s->options,
			      s->fell_back ? "--fallback" : NULL, NULL};
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Out of the terminal's reach: ^C is for the supervisor, which then
	 * unmounts. */
	setsid();
	put("/proc/self/oom_score_adj", "0");
	place(link, SUPERVISOR_LINK_FD);
	mark(SUPERVISOR_FUSE_FD, SUPERVISOR_SESSION_FD, 0);
	fexecve(SUPERVISOR_PROGRAM_FD, (char **)argv, environ);
	_exit(127);
}

bool worker_start(struct supervisor *s)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	s->session->started++;
	s->worker.pid = fork();
	if (s->worker.pid == 0)
		child(s, pair[1]);
	close(pair[1]);
	s->worker.link = place(pair[0], SUPERVISOR_LINK_FD);
	if (s->worker.pid > 0)
		return true;
	worker_unlink(&s->worker);
	s->worker.pid = 0;
	return false;
}

void worker_tell(const struct worker *w, char message, const char *text)
{
	char line[SUPERVISOR_MESSAGE_MAX_BYTES];
	int n = snprintf(line, sizeof(line), "%c%s", message, text);

	/* If it cannot take it, it does not answer pings either. */
	if (send(w->link, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		say("the worker was not told '%c': %s", message,
		    strerror(errno));
}

void worker_drop_fds(struct worker *w)
{
	for (int i = 0; i < 2; i++) {
		if (w->fd[i] >= 0)
			close(w->fd[i]);
		w->fd[i] = -1;
	}
}

int worker_hear(struct worker *w, char text[SUPERVISOR_MESSAGE_MAX_BYTES])
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(w->fd))];
	char message = 0;
	struct iovec iov[] = {{&message, 1},
			      {text, SUPERVISOR_MESSAGE_MAX_BYTES - 1}};
	struct msghdr msg = {.msg_iov = iov,
			     .msg_iovlen = 2,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(w->link, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	worker_drop_fds(w);
	/* More than two do not fit: the kernel has closed them. */
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(w->fd, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	text[n > 0 ? n - 1 : 0] = 0;
	return message;
}

void worker_unlink(struct worker *w)
{
	worker_drop_fds(w);
	if (w->link >= 0)
		close(w->link);
	w->link = -1;
}

int child_end(pid_t pid)
{
	int status = 0, ms = END_MS;

	while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0) {
		if ((ms -= 10) < 0)
			kill(pid, SIGKILL);
		poll(NULL, 0, 10);
	}
	return status;
}

int program_run(const struct supervisor *s, const char *verb, const char *arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl(s->program, s->program, verb, arg, (char *)NULL);
		_exit(127);
	}
	return pid < 0 ? -1 : child_end(pid);
}
