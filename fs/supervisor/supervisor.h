/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor.h - mount.stagefs: the root process that holds a mount.
 *
 * It links libc only and parses nothing that comes from the network: what it
 * reads are its own arguments, the mount table, and one-letter messages of
 * the worker, whose text it prints and does not interpret.
 */
#ifndef STAGEFS_FS_SUPERVISOR_SUPERVISOR_H
#define STAGEFS_FS_SUPERVISOR_SUPERVISOR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Exit status as mount(8) has it. */
#define EXIT_USAGE 1
#define EXIT_SYSTEM 2
#define EXIT_MOUNT 32

#define LINE_MAX_BYTES 4800 /* a path and some words */

/* ---- options.c ---- */

struct options {
	const char *source;	    /* as given: URLs */
	char mountpoint[PATH_MAX];  /* absolute, no symlinks */
	char *text;		    /* -o, joined, passed to the worker */
	char *log;		    /* log=, or NULL */
	char *cache;		    /* cache=, or NULL */
	bool foreground, fake;
};

/* 0, or an exit status with the reason in `why`. */
int options_parse(struct options *o, int argc, char **argv,
		  char why[LINE_MAX_BYTES]);

/* ---- mount.c ---- */

/* What is mounted at `dir`, from the mount table, without touching it: its
 * type and device ("fuse.stagefs", 0:53); false if nothing is. */
bool mount_find(const char *dir, char type[64], unsigned *ret_major,
		unsigned *ret_minor);
int mount_check_point(const char *given, char resolved[PATH_MAX],
		      char why[LINE_MAX_BYTES]);
/* mount(2) and read_ahead_kb. Remembers the device for mount_leave. */
int mount_make(const struct options *o, int fuse_fd, unsigned *ret_minor,
	       char why[LINE_MAX_BYTES]);
/* Unmounts if that device is still mounted there. `force` ends what waits. */
void mount_leave(const char *dir, unsigned minor, bool force);

/* ---- session.c ---- */

struct session_area;

/* The memfd that outlives workers; the supervisor only keeps and counts. */
int session_make(struct session_area **ret);
/* A new connection: INIT, opens and backing files of the last are gone. */
void session_forget_connection(struct session_area *s);

/* ---- socket.c ---- */

struct control_socket {
	char path[64];
	dev_t dev;
	ino_t ino;
	int fd;
};
int control_make(const char *mountpoint, struct control_socket *ret,
		 char why[LINE_MAX_BYTES]);
/* Removes the file if it is still ours. */
void control_remove(const struct control_socket *c);

/* ---- worker.c ---- */

struct worker_fds {
	int fuse, control, session;
};
struct worker {
	pid_t pid; /* 0: none */
	int link;  /* -1: none */
	int fd[2]; /* that came with the last message, -1: none */
};

int worker_find_program(char program[PATH_MAX]);
int worker_start(struct worker *w, const char *program,
		 const struct options *o, const struct worker_fds *fds);
int worker_tell(const struct worker *w, char message);
/* Next message of the worker: its letter, text in `text`. 0 at the end.
 * Descriptors of the one before are closed, if they are still there. */
int worker_hear(struct worker *w, char text[LINE_MAX_BYTES]);
/* Waits up to `ms` for its end, then kills. Returns the wait status. */
int worker_end(struct worker *w, int ms);

/* ---- backing.c ---- */

/* MSG_BACKING_OPEN: registers w->fd[0] with the kernel, answers over
 * w->fd[1], closes both. Never waits. */
void backing_open(struct worker *w, int fuse_fd, struct session_area *s);
/* MSG_BACKING_CLOSE */
void backing_close(int fuse_fd, struct session_area *s, const char *ids);

/* ---- watch.c ---- */

struct watch {
	const struct options *o;
	const char *program;
	struct worker worker;
	struct worker_fds fds;
	struct session_area *session;
	int signals; /* signalfd: TERM, INT, CHLD */
	unsigned minor;
};

/* Until the mount is gone. 0, or 1 when it had to be given up. */
int watch_run(struct watch *w);

/* Writes the reason into `why`; returns `status`. */
int refuse(char why[LINE_MAX_BYTES], int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* One line to the log. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
