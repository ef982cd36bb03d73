/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor.h - mount.stagefs: the root process that holds a mount.
 *
 * It links libc only and parses nothing that comes from the network: what it
 * reads are its arguments and one-letter messages of the worker. All that has
 * to be done once, before there is a mount (arguments, checks, log, control
 * socket, descriptors), is done by fs/mount.c, which then becomes this. The
 * lines of this folder are counted by a test (tests/lint/supervisor.py): it is
 * the part that must not be wrong.
 */
#ifndef STAGEFS_FS_SUPERVISOR_SUPERVISOR_H
#define STAGEFS_FS_SUPERVISOR_SUPERVISOR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/supervisor/wire.h"

struct worker {
	pid_t pid; /* 0: none */
	int link;  /* SUPERVISOR_LINK_FD, -1: none */
	int fd[2]; /* that came with the last message, -1: none */
};

enum state { WAITING, STARTING, SERVING, DRAINING };

struct supervisor {
	/* set once */
	const char *source, *point, *options;
	const char *program; /* path of stagefs, for an upgrade */
	int hang_ms;
	struct session_area *session;

	bool pending; /* somebody waits for our verdict */
	char why[SUPERVISOR_MESSAGE_MAX_BYTES]; /* it, if it is a failure */
	bool over;    /* the watch ends, with this exit status */
	int status;

	unsigned dev;	 /* of the mount, minor; 0: not mounted */
	unsigned long socket_ino; /* of the control socket */
	char socket[64];

	struct worker worker;
	enum state state;
	bool asked;	/* a ping waits for its answer */
	bool upgraded;	/* the program before this one can still be had */
	bool untried;	/* this one has not served yet */
	bool fell_back; /* it was no good, so it is the old one again */
	int64_t due_ms; /* WAITING: start; else: ping, or its answer */
	int64_t serving_ms;	/* since when, 0: not yet */
	int64_t death_ms[9];	/* the last ones, a ring */
	unsigned deaths, quick; /* in all; in a row that hardly served */
	long rested; /* clock(3) when we last slept between messages */
};

/* ---- main.c ---- */

/* Ends the watch with this exit status. The reason goes to who waits for the
 * mount, once nothing of it is left, else to the log. */
void fail(struct supervisor *s, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* To who waits for the mount, with this exit status, else to the log. */
void tell(struct supervisor *s, int status, const char *text);
/* One line to the log. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Moves a descriptor to its number, O_CLOEXEC. -1 and errno if it is none. */
int place(int fd, int number);
/* These stay open over exec (flags 0), or do not (FD_CLOEXEC). */
void mark(int first, int last, int flags);

/* ---- mount.c ---- */

/* mount(2), or fail(). */
bool mount_make(struct supervisor *s);
/* What only root may tell the kernel about it, once INIT was answered. */
void mount_tune(const struct supervisor *s);
/* Unmounts if it is still there. `force`: everything that waits gets an error;
 * else a busy mount only loses its name. */
void mount_leave(struct supervisor *s, bool force);
/* Writes a file of /sys or /proc. */
bool put(const char *path, const char *text);

/* ---- worker.c ---- */

bool worker_start(struct supervisor *s);
void worker_tell(const struct worker *w, char message, const char *text);
/* Next message of the worker: its letter, text in `text`. 0 at the end.
 * Descriptors of the one before are closed, if they are still there. */
int worker_hear(struct worker *w, char text[SUPERVISOR_MESSAGE_MAX_BYTES]);
void worker_drop_fds(struct worker *w);
void worker_unlink(struct worker *w);
/* Waits 5 s for a child's end, then kills it. Returns the wait status. */
int child_end(pid_t pid);
/* Runs `stagefs VERB ARG`, as installed now, to its end. The wait status. */
int program_run(const struct supervisor *s, const char *verb, const char *arg);

/* ---- backing.c ---- */

/* MSG_BACKING_OPEN: registers w->fd[0] with the kernel, answers over
 * w->fd[1], closes both. Never waits. */
void backing_open(struct worker *w, int fuse_fd, struct session_area *s);
/* MSG_BACKING_CLOSE */
void backing_close(int fuse_fd, struct session_area *s, const char *ids);

/* ---- upgrade.c ---- */

/* MSG_UPGRADE: becomes the program that is installed now. Returns only if it
 * cannot; the worker has been told why. */
void upgrade(struct supervisor *s);
/* From the program before us: `stagefs mount`, or another supervisor. */
void take_over(struct supervisor *s, char **argv);

/* ---- watch.c ---- */

/* The next thing is due then; see due_ms. */
void enter(struct supervisor *s, enum state state, int64_t due_in_ms);
/* Until the mount is gone. Returns the exit status. */
int watch_run(struct supervisor *s);

#endif
