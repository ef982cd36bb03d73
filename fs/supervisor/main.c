/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - mount.stagefs: from the arguments to a mount that answers.
 *
 * The process that the user started waits on a pipe and exits with what the
 * supervisor, its child, says: 0 once the worker answers requests, else one
 * line and mount(8)'s exit status. What was made before a failure is unmade.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fs/supervisor/wire.h"

int refuse(char why[LINE_MAX_BYTES], int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, LINE_MAX_BYTES, fmt, ap);
	va_end(ap);
	return status;
}

void say(const char *fmt, ...)
{
	char line[LINE_MAX_BYTES + 64];
	time_t now = time(NULL);
	struct tm tm;
	va_list ap;
	size_t n;

	if (getenv("JOURNAL_STREAM"))
		n = (size_t)snprintf(line, 64, "<5>");
	else
		n = strftime(line, 64, "%Y-%m-%d %H:%M:%S ",
			     localtime_r(&now, &tm));
	n += (size_t)snprintf(line + n, 64, "supervisor: ");
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	n = strlen(line);
	line[n++] = '\n';
	if (write(2, line, n) < 0)
		return; /* nowhere to say it */
}

/* Where lines go once nobody holds our terminal: log=FILE, else the system's
 * log (a line per datagram, as syslog(3) sends them), else nowhere. */
static int open_log(const struct options *o, char why[LINE_MAX_BYTES])
{
	struct sockaddr_un a = {.sun_family = AF_UNIX,
				.sun_path = "/dev/log"};
	int fd;

	if (o->log) {
		fd = open(o->log,
			  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC |
				  O_NOFOLLOW | O_NOCTTY,
			  0640);
		if (fd < 0)
			refuse(why, 0, "log=%s: %s", o->log, strerror(errno));
		unsetenv("JOURNAL_STREAM");
		return fd;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0) {
		setenv("JOURNAL_STREAM", "syslog", 1);
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static int watch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The first worker: it checks everything before anything is mounted. */
static int first_worker(struct watch *w, char why[LINE_MAX_BYTES])
{
	char text[LINE_MAX_BYTES];
	int r;

	w->session->started++;
	if (worker_start(&w->worker, w->program, w->o, &w->fds) < 0)
		return refuse(why, EXIT_SYSTEM, "cannot start %s: %s",
			      w->program, strerror(errno));
	r = worker_hear(&w->worker, why); /* with "ready": a warning */
	if (r == MSG_ERROR)
		return EXIT_USAGE;
	if (r != MSG_READY)
		goto died;
	r = mount_make(w->o, w->fds.fuse, &w->minor, why);
	if (r)
		return r;
	if (worker_tell(&w->worker, MSG_MOUNTED) == 0) {
		r = worker_hear(&w->worker, text);
		if (r == MSG_SERVING)
			return 0;
	}
died:
	return refuse(why, EXIT_SYSTEM,
		      "%s worker ended without a word: see its log",
		      w->program);
}

/* Everything up to the answering mount. 0 or exit status and `why`. */
static int bring_up(struct watch *w, struct control_socket *control,
		    char why[LINE_MAX_BYTES])
{
	int r = control_make(w->o->mountpoint, control, why);

	if (r)
		return r;
	w->fds.control = control->fd;
	w->fds.fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	w->fds.session = session_make(&w->session);
	w->signals = watch_signals();
	if (w->fds.fuse < 0 || w->fds.session < 0 || w->signals < 0)
		r = refuse(why, EXIT_SYSTEM, "/dev/fuse, memfd or signalfd: %s",
			   strerror(errno));
	else
		r = first_worker(w, why);
	if (r == 0)
		return 0;
	mount_leave(w->o->mountpoint, w->minor, true);
	/* It has said what is wrong and is on its way out, or hangs. */
	worker_end(&w->worker, 1000);
	control_remove(control);
	return r;
}

static int supervise(struct watch *w, int tell_fd)
{
	struct control_socket control;
	char why[LINE_MAX_BYTES] = "";
	int r = bring_up(w, &control, why);

	if (tell_fd >= 0) {
		char status = (char)r;

		if (write(tell_fd, &status, 1) != 1 ||
		    write(tell_fd, why, strlen(why)) < 0)
			say("nobody waits for the mount any more");
		close(tell_fd);
	} else if (why[0]) {
		fprintf(stderr, "mount.stagefs: %s\n", why);
	}
	if (r)
		return r;
	r = watch_run(w);
	control_remove(&control);
	return r;
}

/* In the parent: what the supervisor says is what we end with. */
static int await_verdict(int fd)
{
	char why[LINE_MAX_BYTES];
	ssize_t n, all = 0;
	char status;

	do
		n = read(fd, &status, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1) {
		fprintf(stderr, "mount.stagefs: the supervisor died\n");
		return EXIT_SYSTEM;
	}
	while ((n = read(fd, why + all, sizeof(why) - 1 - (size_t)all)) > 0)
		all += n;
	if (all)
		fprintf(stderr, "mount.stagefs: %s%.*s\n",
			status ? "" : "warning: ", (int)all, why);
	return status;
}

static int daemonise(struct watch *w, char why[LINE_MAX_BYTES])
{
	int pipe_fd[2], log = open_log(w->o, why), null;
	pid_t pid;

	if (log < 0) {
		fprintf(stderr, "mount.stagefs: %s\n", why);
		return EXIT_USAGE;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || pipe2(pipe_fd, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		perror("mount.stagefs");
		return EXIT_SYSTEM;
	}
	if (pid > 0) {
		close(pipe_fd[1]);
		return await_verdict(pipe_fd[0]);
	}
	close(pipe_fd[0]);
	setsid();
	dup2(null, 0);
	dup2(null, 1);
	dup2(log, 2);
	close(null);
	close(log);
	return supervise(w, pipe_fd[1]);
}

int main(int argc, char **argv)
{
	char why[LINE_MAX_BYTES], program[PATH_MAX];
	static struct options o; /* the supervisor keeps it to its end */
	struct watch w = {.o = &o,
			  .program = program,
			  .worker = {.link = -1, .fd = {-1, -1}},
			  .fds = {-1, -1, -1},
			  .signals = -1};
	int r;

	umask(022);
	r = options_parse(&o, argc, argv, why);
	if (r == 0 && geteuid() != 0)
		r = refuse(why, EXIT_USAGE, "only root can mount");
	if (r == 0 && worker_find_program(program) < 0)
		r = refuse(why, EXIT_SYSTEM, "%s: %s", program,
			   strerror(errno));
	if (r) {
		fprintf(stderr, "mount.stagefs: %s\n", why);
		return r;
	}
	if (o.fake)
		return 0;
	if (chdir("/") < 0)
		return EXIT_SYSTEM;
	if (!o.foreground)
		r = daemonise(&w, why);
	else
		r = supervise(&w, -1);
	return r;
}
