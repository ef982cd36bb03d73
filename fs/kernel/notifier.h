/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notifier.h - tells the kernel what it may no longer cache, from a process of
 * its own: see notifier.c.
 *
 *	notifier_fork	while there is one thread, before the cage
 *	notifier_run	in the child, in the cage
 *	notifier_entry, notifier_inode	in the worker, from one thread
 *	notifier_end
 */
#ifndef STAGEFS_FS_KERNEL_NOTIFIER_H
#define STAGEFS_FS_KERNEL_NOTIFIER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Like fork(2), with -errno; *ret_fd is each one's end of a socket pair. */
pid_t notifier_fork(int *ret_fd);
/* Writes what comes from `fd` to /dev/fuse, until the worker has ended. */
void notifier_run(int fd, int fuse_fd) __attribute__((noreturn));

/* A name means something else; attributes of an inode, and perhaps its pages,
 * are no longer good. Both may wait for the notifier, and so for the kernel.
 * 0 or -errno; -EPIPE: after notifier_end, or the notifier has died. */
int notifier_entry(int fd, uint64_t parent, const char *name);
int notifier_inode(int fd, uint64_t id, bool pages);
/* Nobody waits any more. Any thread; `fd` stays open. */
void notifier_end(int fd);

#endif
