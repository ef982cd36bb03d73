/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.c - starts `stagefs worker`, talks to it, waits for its end.
 *
 * The worker is the program `stagefs` beside this one, else where it was
 * installed; found once, so that a mount does not depend on what its own
 * path resolves to later.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/supervisor/wire.h"

int worker_find_program(char program[PATH_MAX])
{
	static const char installed[] = STAGEFS_BINDIR "/stagefs";
	ssize_t n = readlink("/proc/self/exe", program, PATH_MAX - 16);

	if (n > 0) {
		program[n] = 0;
		strcpy(strrchr(program, '/') + 1, "stagefs");
		if (access(program, X_OK) == 0)
			return 0;
	}
	memcpy(program, installed, sizeof(installed));
	return access(program, X_OK) < 0 ? -errno : 0;
}

/* Puts `fd[i]` at the number 3 + i, all the others above stay O_CLOEXEC. */
static void place_fds(const int *fd, int n)
{
	int high[8];

	for (int i = 0; i < n; i++)
		high[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, 3 + n);
	for (int i = 0; i < n; i++)
		if (high[i] < 0 || dup2(high[i], 3 + i) < 0)
			_exit(127);
}

static void child(const char *program, const struct options *o,
		  const struct worker_fds *fds, int link)
{
	/* In the order of wire.h. */
	const int fd[] = {fds->fuse, fds->control, link, fds->session};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char point[PATH_MAX + 16], *source;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Out of the terminal's reach: ^C is for the supervisor, which then
	 * unmounts. A working folder inside the mount would wait for us. */
	setsid();
	if (chdir("/") < 0 || null < 0)
		_exit(127);
	dup2(null, 0);
	dup2(null, 1);
	snprintf(point, sizeof(point), "--mountpoint=%s", o->mountpoint);
	if (asprintf(&source, "--source=%s", o->source) < 0)
		_exit(127);
	place_fds(fd, 4);
	execl(program, "stagefs", "worker", "--fuse-fd=3", "--control-fd=4",
	      "--supervisor-fd=5", "--session-fd=6", point, source, "-o",
	      o->text, (char *)NULL);
	_exit(127);
}

int worker_start(struct worker *w, const char *program,
		 const struct options *o, const struct worker_fds *fds)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		child(program, o, fds, pair[1]);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -errno;
	}
	w->pid = pid;
	w->link = pair[0];
	return 0;
}

int worker_tell(const struct worker *w, char message)
{
	return send(w->link, &message, 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static void drop_fds(struct worker *w)
{
	for (int i = 0; i < 2; i++) {
		if (w->fd[i] >= 0)
			close(w->fd[i]);
		w->fd[i] = -1;
	}
}

static void take_fds(struct worker *w, struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	/* More than two do not fit: the kernel has closed them. */
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(w->fd, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
}

int worker_hear(struct worker *w, char text[LINE_MAX_BYTES])
{
	char message[SUPERVISOR_MESSAGE_MAX_BYTES];
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(w->fd))];
	struct iovec iov = {message, sizeof(message)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	ssize_t n;

	drop_fds(w);
	do
		n = recvmsg(w->link, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return 0;
	take_fds(w, &msg);
	snprintf(text, LINE_MAX_BYTES, "%.*s", (int)n - 1, message + 1);
	return message[0];
}

int worker_end(struct worker *w, int ms)
{
	int status = 0, waited = 0;

	if (!w->pid)
		return 0;
	while (waitpid(w->pid, &status, WNOHANG) == 0) {
		if (waited >= ms) {
			kill(w->pid, SIGKILL);
			waitpid(w->pid, &status, 0);
			break;
		}
		poll(NULL, 0, 10);
		waited += 10;
	}
	drop_fds(w);
	if (w->link >= 0)
		close(w->link);
	w->pid = 0;
	w->link = -1;
	return status;
}
