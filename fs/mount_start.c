/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount_start.c - opens what the supervisor needs (fs/supervisor/wire.h) and
 * becomes it. What is done here, with all the libraries there are, need not be
 * done by the small process that stays.
 *
 * The process that the user started waits for the supervisor's verdict: 0 once
 * the worker answers requests, else one line and mount(8)'s exit status.
 *
 * A supervisor that becomes its next version (fs/supervisor/upgrade.c) comes
 * through here too: everything is open then, and only the program of the
 * workers changes, to this one.
 */
#include "fs/mount.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fs/device.h"
#include "fs/session.h"
#include "fs/status/control.h"
#include "fs/supervisor/wire.h"

#define RUN_DIR "/run/stagefs"
#define STATE_MAX_BYTES 512

/* ---- descriptors --------------------------------------------------------- */

/* Nothing of who started us stays open, and nothing else gets our numbers. */
static int reserve_fds(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || close_range(3, ~0u, 0) < 0)
		return -errno;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 3; fd <= SUPERVISOR_VERDICT_FD; fd++)
		if (fd != null && dup3(null, fd, O_CLOEXEC) < 0)
			return -errno;
	return 0;
}

/* They go through exec, so no O_CLOEXEC. */
static int place(int fd, int number)
{
	if (fd < 0)
		return fd;
	if (dup2(fd, number) < 0)
		return -errno;
	close(fd);
	return 0;
}

/* Where lines go once nobody holds our terminal: log=FILE, else the system's
 * log (a line per datagram, as syslog(3) sends them), else nowhere. */
static int open_log(const struct mount_call *c, int *ret, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX,
				.sun_path = "/dev/log"};
	CLEAN_FD int fd = -1;
	struct stat st;
	char id[64];

	unsetenv("JOURNAL_STREAM");
	if (c->o.log[0]) {
		fd = open(c->o.log,
			  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC |
				  O_NOFOLLOW | O_NOCTTY,
			  0640);
		if (fd < 0)
			return err_set(e, errno, "log=%s: %s", c->o.log,
				       strerror(errno));
		*ret = TAKE_FD(fd);
		return 0;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	    fstat(fd, &st) == 0) {
		/* Has the worker write "<N>" (common/log.c). */
		snprintf(id, sizeof(id), "%llu:%llu",
			 (unsigned long long)st.st_dev,
			 (unsigned long long)st.st_ino);
		setenv("JOURNAL_STREAM", id, 1);
		*ret = TAKE_FD(fd);
		return 0;
	}
	*ret = open("/dev/null", O_WRONLY | O_CLOEXEC);
	return *ret < 0 ? err_set(e, errno, "/dev/null: %s", strerror(errno))
			: 0;
}

/* Under a name that anybody can compute from the mount point. In a folder of
 * root's, served by the worker. */
static int open_control(const struct mount_call *c, struct stat *ret_st,
			int *ret, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
						  SOCK_NONBLOCK, 0);
	const char *path = control_path(c->point, a.sun_path);

	if (fd >= 0 && (mkdir(RUN_DIR, 0755) == 0 || errno == EEXIST) &&
	    /* Nothing is mounted there (checked): an old one is a leftover. */
	    (unlink(path) == 0 || errno == ENOENT) &&
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	    chmod(path, 0666) == 0 && listen(fd, 16) == 0 &&
	    lstat(path, ret_st) == 0) {
		*ret = TAKE_FD(fd);
		return 0;
	}
	return err_set(e, errno, "control socket %s: %s", path,
		       strerror(errno));
}

static int open_program(struct err *e)
{
	return place(open("/proc/self/exe", O_PATH | O_CLOEXEC),
		     SUPERVISOR_PROGRAM_FD) < 0
		       ? err_set(e, errno, "/proc/self/exe: %s",
				 strerror(errno))
		       : 0;
}

static int open_all(const struct mount_call *c, ino_t *ret_socket, int *ret_log,
		    struct err *e)
{
	CLEAN_FD int log = -1;
	struct stat st;
	int control = -1, r = reserve_fds();

	if (r < 0)
		return err_set(e, -r, "descriptors: %s", strerror(-r));
	r = open_program(e);
	if (r == 0 && !c->foreground)
		r = open_log(c, &log, e);
	if (r == 0)
		r = open_control(c, &st, &control, e);
	if (r < 0)
		return r;
	if (place(control, SUPERVISOR_CONTROL_FD) < 0 ||
	    place(open("/dev/fuse", O_RDWR | O_CLOEXEC), SUPERVISOR_FUSE_FD) <
		    0 ||
	    place(session_make(), SUPERVISOR_SESSION_FD) < 0)
		return err_set(e, errno, "/dev/fuse or memfd: %s",
			       strerror(errno));
	*ret_socket = st.st_ino;
	*ret_log = TAKE_FD(log);
	return 0;
}

/* ---- the supervisor ------------------------------------------------------ */

/* Beside this program (a build), else where it is installed. */
static void find_programs(char self[PATH_MAX], char supervisor[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", self, PATH_MAX - 1);

	self[n > 0 ? n : 0] = 0;
	if (n <= 0 ||
	    snprintf(supervisor, PATH_MAX, "%.*s/stagefs-supervisor",
		     (int)(strrchr(self, '/') - self), self) >= PATH_MAX ||
	    access(supervisor, X_OK) < 0)
		strcpy(supervisor, STAGEFS_LIBEXEC "/stagefs-supervisor");
}

void mount_ask_supervisor(void)
{
	char self[PATH_MAX], supervisor[PATH_MAX];

	find_programs(self, supervisor);
	execl(supervisor, "mount.stagefs", "--can-resume=" SUPERVISOR_COMPAT,
	      (char *)NULL);
}

/* If it is made here, and nobody will hold it. */
static void unmount(const struct mount_call *c)
{
	if (c->minor)
		umount2(c->point, MNT_DETACH | UMOUNT_NOFOLLOW);
}

static int become_supervisor(const struct mount_call *c, const char *state)
{
	char self[PATH_MAX], supervisor[PATH_MAX];

	find_programs(self, supervisor);
	execl(supervisor, "mount.stagefs", c->source, c->point, "-o", c->text,
	      self, state, (char *)NULL);
	/* For who waits, or for the log. */
	dprintf(SUPERVISOR_VERDICT_FD, "%c%s: %s", MOUNT_EXIT_SYSTEM,
		supervisor, strerror(errno));
	fprintf(stderr, "mount.stagefs: %s: %s\n", supervisor,
		strerror(errno));
	unmount(c);
	return MOUNT_EXIT_SYSTEM;
}

/* Prints what the supervisor says, and returns it. */
static int await_verdict(int fd)
{
	char text[SUPERVISOR_MESSAGE_MAX_BYTES] = {MOUNT_EXIT_SYSTEM};
	size_t all = 0;
	ssize_t n;

	while (all < sizeof(text) - 1) {
		n = read(fd, text + all, sizeof(text) - 1 - all);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		all += (size_t)n;
	}
	text[all ? all : 1] = 0;
	/* It may be the worker's, and is for a terminal. */
	for (char *c = text + 1; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	if (all == 0)
		fputs("mount.stagefs: the supervisor died: see its log\n",
		      stderr);
	else if (all > 1)
		fprintf(stderr, "mount.stagefs: %s%s\n",
			text[0] ? "" : "warning: ", text + 1);
	return text[0];
}

static int verdict(const struct mount_call *c)
{
	int status = await_verdict(SUPERVISOR_VERDICT_FD);

	if (status == 0 && c->minor != c->o.device)
		fprintf(stderr, "mount.stagefs: warning: device=%u is in use: "
				"mounted as 0:%u\n",
			(unsigned)c->o.device, c->minor);
	return status;
}

/* In the child: goes on as the supervisor. In the parent: the verdict, which
 * is for the user, or (foreground) for a process that only prints it. */
static int part(const struct mount_call *c, struct err *e)
{
	int pipe_fd[2];
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return err_set(e, errno, "%s", strerror(errno));
	if ((pid > 0) != c->foreground) {
		close(pipe_fd[1]);
		dup3(pipe_fd[0], SUPERVISOR_VERDICT_FD, O_CLOEXEC);
		/* A grandchild: the supervisor is not to have it as a child. */
		if (!c->foreground || fork() == 0)
			_exit(verdict(c));
		_exit(0);
	}
	close(pipe_fd[0]);
	place(pipe_fd[1], SUPERVISOR_VERDICT_FD);
	if (c->foreground)
		return 0;
	setsid();
	dup2(SUPERVISOR_SIGNAL_FD, STDIN_FILENO); /* still /dev/null */
	dup2(SUPERVISOR_SIGNAL_FD, STDOUT_FILENO);
	return 0;
}

int mount_start(struct mount_call *c)
{
	char state[STATE_MAX_BYTES], path[CONTROL_PATH_MAX];
	struct err e;
	ino_t socket = 0;
	int log = -1, r;

	umask(022);
	r = chdir("/") < 0 ? err_set(&e, errno, "/: %s", strerror(errno))
			   : open_all(c, &socket, &log, &e);
	if (r == 0 && c->o.device)
		r = device_mount(c->source, c->point, (unsigned)c->o.device,
				 SUPERVISOR_FUSE_FD, &c->minor, &e);
	if (r == 0)
		r = part(c, &e);
	if (r < 0) {
		unmount(c);
		fprintf(stderr, "mount.stagefs: %s\n", e.text);
		return MOUNT_EXIT_SYSTEM;
	}
	snprintf(state, sizeof(state), "--state=0,0:%u,%llu,%s", c->minor,
		 (unsigned long long)socket, control_path(c->point, path));
	if (log >= 0) {
		dup2(log, STDERR_FILENO);
		close(log);
	}
	return become_supervisor(c, state);
}

int mount_resume(struct mount_call *c)
{
	char state[STATE_MAX_BYTES];
	struct err e;

	snprintf(state, sizeof(state), "--state=%s", c->resume);
	dup2(SUPERVISOR_PROGRAM_FD, SUPERVISOR_OLD_PROGRAM_FD);
	if (open_program(&e) < 0) {
		fprintf(stderr, "mount.stagefs: %s\n", e.text);
		return MOUNT_EXIT_SYSTEM;
	}
	return become_supervisor(c, state);
}
