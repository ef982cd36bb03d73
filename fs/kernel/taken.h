/* SPDX-License-Identifier: Apache-2.0 */
/*
 * taken.h - requests that are taken and not answered, in memory that outlives
 * the worker, for kernels that cannot repeat them (before Linux 6.9).
 *
 *	taken_init		what an earlier worker has left is found
 *	taken_read		instead of read(2) of /dev/fuse
 *	taken_answered		the kernel has its answer
 *	taken_again		those that were left, one after the other
 *
 * Any thread may call, but taken_init; up to SESSION_LANDINGS of them may
 * read.
 */
#ifndef STAGEFS_FS_KERNEL_TAKEN_H
#define STAGEFS_FS_KERNEL_TAKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct session_area;

struct taken {
	struct session_area *s; /* set once */
	uint32_t *left;		/* places of what an earlier worker left */
	uint32_t n_left;
	uint32_t next;	   /* atomic: of `left` */
	uint32_t n_thread; /* atomic: landing places that are in use */
};

/* 0 or -ENOMEM. */
int taken_init(struct taken *t, struct session_area *s);
void taken_done(struct taken *t);

/* INIT, if an earlier worker was killed between reading and keeping it: its
 * bytes, else NULL. */
const void *taken_init_request(const struct taken *t, size_t *ret_bytes);

/* Before a read(2) of /dev/fuse into `buf`: its pages are there. */
void taken_touch(void *buf, size_t n);
/* As read(2). */
ssize_t taken_read(struct taken *t, int fd, void *buf, size_t n);
/* The next one that an earlier worker left; 0: none is left. */
ssize_t taken_again(struct taken *t, int fd, void *buf, size_t n);
/* Does nothing if it is not there. */
void taken_answered(struct taken *t, uint64_t unique);
/* The kernel repeats them itself. */
void taken_forget(struct taken *t);

#endif
