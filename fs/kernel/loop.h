/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - the threads that take requests from the kernel.
 *
 *	loop_new
 *	loop_run	until the umount, a failure, or loop_stop
 *	loop_free
 */
#ifndef STAGEFS_FS_KERNEL_LOOP_H
#define STAGEFS_FS_KERNEL_LOOP_H

struct fuse_session;
struct loop;

int loop_new(struct fuse_session *session, unsigned n_threads,
	     struct loop **ret);
/*
 * 0 after an umount or a loop_stop, else -errno. When it returns all request
 * handlers have returned; reads that they have parked may still be waiting.
 */
int loop_run(struct loop *l);
/* No request is taken any more; those that wait stay with the kernel. Any
 * thread, at any time between loop_new and loop_free, more than once. */
void loop_stop(struct loop *l);
void loop_free(struct loop *l); /* NULL is fine */

#endif
