/* SPDX-License-Identifier: Apache-2.0 */
/*
 * badworker - a `stagefs` whose worker has been taken over. Put in the place
 * of the real one and upgraded to, it does to its supervisor what the file
 * "act" beside it says, and writes what came of it to "result".
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fs/supervisor/wire.h"

static char self[PATH_MAX], result[PATH_MAX + 8], act_path[PATH_MAX + 8];
static char supervisor[PATH_MAX + 24];

static void find_paths(void)
{
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int dir;

	if (n < 0)
		exit(2);
	dir = (int)(strrchr(self, '/') - self);
	snprintf(result, sizeof(result), "%.*s/result", dir, self);
	snprintf(act_path, sizeof(act_path), "%.*s/act", dir, self);
	snprintf(supervisor, sizeof(supervisor), "%.*s/stagefs-supervisor",
		 dir, self);
}

static const char *act(void)
{
	static char text[64];
	FILE *f = fopen(act_path, "re");

	if (!f || !fgets(text, sizeof(text), f))
		text[0] = 0;
	if (f)
		fclose(f);
	text[strcspn(text, "\n")] = 0;
	return text;
}

static void note(const char *what, int value)
{
	FILE *f = fopen(result, "ae");

	if (!f)
		exit(2);
	fprintf(f, "%s %d\n", what, value);
	fclose(f);
}

static void tell(const void *message, size_t n)
{
	send(SUPERVISOR_LINK_FD, message, n, MSG_NOSIGNAL);
}

/* ---- descriptors --------------------------------------------------------- */

static void send_fds(char letter, const int *fd, int n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))];
	struct iovec iov = {&letter, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c = (struct cmsghdr *)control;

	memset(control, 0, sizeof(control));
	m.msg_control = control;
	m.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
	memcpy(CMSG_DATA(c), fd, (size_t)n * sizeof(int));
	sendmsg(SUPERVISOR_LINK_FD, &m, MSG_NOSIGNAL);
}

static void offer(const char *what, int fd)
{
	struct backing_answer a = {.id = -ETIMEDOUT};
	int pair[2];

	if (fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		exit(2);
	send_fds(MSG_BACKING_OPEN, (int[]){fd, pair[1]}, 2);
	poll(&(struct pollfd){.fd = pair[0], .events = POLLIN}, 1, 20000);
	recv(pair[0], &a, sizeof(a), MSG_DONTWAIT);
	note(what, a.id);
	close(pair[0]);
	close(pair[1]);
}

static void offer_all(void)
{
	int many[16], pipe_fd[2];

	if (pipe(pipe_fd) < 0)
		exit(2);
	offer("path-only", open("/etc/shadow", O_PATH));
	offer("readable", open("/etc/shadow", O_RDONLY));
	offer("kernel", open("/proc/kallsyms", O_RDONLY));
	offer("writable", open("/dev/null", O_RDWR));
	offer("write-only", open(result, O_WRONLY));
	offer("folder", open("/", O_RDONLY));
	offer("pipe", pipe_fd[0]);
	offer("socket", SUPERVISOR_LINK_FD);
	offer("fuse", SUPERVISOR_FUSE_FD);
	for (int i = 0; i < 16; i++)
		many[i] = pipe_fd[i % 2];
	for (int i = 0; i < 200; i++) {
		send_fds(MSG_BACKING_OPEN, many, 1);
		send_fds(MSG_BACKING_OPEN, many, 16);
		send_fds(MSG_PONG, many, 2);
		send_fds(MSG_BACKING_OPEN, (int[]){pipe_fd[0], pipe_fd[1]}, 2);
		tell("B", 1);
	}
	note("sent", 0);
}

/* ---- messages ------------------------------------------------------------ */

static void all_lengths(void)
{
	static char text[60000];

	for (size_t n = 1; n < sizeof(text); n += n < 1300 ? 33 : 7919) {
		memset(text, '7', n);
		text[0] = MSG_BACKING_CLOSE;
		tell(text, n);
		memset(text + 1, '\xff', n - 1);
		tell(text, n);
		text[0] = MSG_PONG;
		tell(text, n);
	}
	tell("C -1 +2 4294967296 99999999999999999999 0x7 seven", 49);
	note("sent", 0);
	tell("", 0);
}

static void flood(void)
{
	for (int i = 0; i < 20000; i++) {
		tell("A", 1);
		tell("C1 2 3", 6);
		tell("U", 1);
	}
	note("sent", 0);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* How long our supervisor has been running on a processor. */
static int64_t supervisor_ns(void)
{
	char path[64];
	int64_t ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", getppid());
	f = fopen(path, "re");
	if (!f || fscanf(f, "%" SCNd64, &ns) != 1)
		exit(2);
	fclose(f);
	return ns;
}

/* The messages that take longest: numbers that have to be looked for. */
static void grind(void)
{
	static char text[SUPERVISOR_MESSAGE_MAX_BYTES - 1];
	int64_t begun_ns = now_ns(), before_ns = supervisor_ns();

	memset(text, ' ', sizeof(text));
	text[0] = MSG_BACKING_CLOSE;
	for (size_t i = 1; i < sizeof(text); i += 2)
		text[i] = '7';
	while (now_ns() - begun_ns < 2 * INT64_C(1000000000))
		tell(text, sizeof(text));
	note("percent", (int)((supervisor_ns() - before_ns) * 100 /
			      (now_ns() - begun_ns)));
	note("sent", 0);
}

static void *unread(void)
{
	char line[SUPERVISOR_MESSAGE_MAX_BYTES];

	while (recv(SUPERVISOR_LINK_FD, line, sizeof(line), MSG_DONTWAIT) > 0)
		;
	return NULL;
}

static void serve(void)
{
	tell("R", 1);
	tell("S", 1);
}

/* Serves nothing, and says so again and again. */
static void boast(void)
{
	serve();
	for (int i = 0; i < 500; i++)
		serve();
	note("serving", 0);
	while (strcmp(act(), "end")) {
		unread();
		usleep(20000);
	}
	tell("U", 1);
	for (;;) {
		char line[SUPERVISOR_MESSAGE_MAX_BYTES];

		if (recv(SUPERVISOR_LINK_FD, line, sizeof(line), 0) <= 0 ||
		    line[0] == MSG_DRAIN)
			exit(0);
	}
}

/* Takes up its work, and dies of it. */
static void faint(void)
{
	serve();
	note("serving", 0);
	usleep(10000);
}

/* Asks for an upgrade with its last breath. */
static void last_words(void)
{
	serve();
	note("serving", 0);
	while (strcmp(act(), "die"))
		usleep(20000);
	tell("U", 1);
	note("died", 0);
}

static int worker(void)
{
	const char *what = act();

	if (!strcmp(what, "offer"))
		offer_all();
	else if (!strcmp(what, "lengths"))
		all_lengths();
	else if (!strcmp(what, "flood"))
		flood();
	else if (!strcmp(what, "grind"))
		grind();
	else if (!strcmp(what, "faint"))
		faint();
	else if (!strcmp(what, "boast"))
		boast();
	else if (!strcmp(what, "last-words"))
		last_words();
	return 1;
}

/* ---- as `stagefs mount --resume`: see fs/mount_start.c ------------------- */

static int become_supervisor(char **argv)
{
	char state[600];
	int fd;

	if (!strncmp(argv[2], "--can-resume", 12))
		return execl(supervisor, "mount.stagefs", argv[2],
			     (char *)NULL);
	snprintf(state, sizeof(state), "--state=%s",
		 argv[6] + strlen("--resume="));
	dup2(SUPERVISOR_PROGRAM_FD, SUPERVISOR_OLD_PROGRAM_FD);
	fd = open(self, O_PATH);
	dup2(fd, SUPERVISOR_PROGRAM_FD);
	close(fd);
	execl(supervisor, "mount.stagefs", argv[2], argv[3], "-o", argv[5],
	      self, state, (char *)NULL);
	return 2;
}

int main(int argc, char **argv)
{
	find_paths();
	if (argc > 2 && !strcmp(argv[1], "mount"))
		return become_supervisor(argv);
	if (argc > 3 && !strcmp(argv[1], "worker"))
		return worker();
	return 2;
}
