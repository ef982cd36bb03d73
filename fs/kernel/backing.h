/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backing.h - asks the supervisor to have the kernel read a data file by
 * itself (fs/supervisor/wire.h). Any thread.
 */
#ifndef STAGEFS_FS_KERNEL_BACKING_H
#define STAGEFS_FS_KERNEL_BACKING_H

#include <stdbool.h>
#include <stdint.h>

/* For how long an OPEN may wait for the supervisor, which usually takes 50
 * microseconds; after that it is not asked for BACKING_PAUSE_MS. */
#define BACKING_WAIT_MS 250
#define BACKING_PAUSE_MS 2000

struct backing;
struct session_area;

int backing_new(int link, struct session_area *s, struct backing **ret);
void backing_free(struct backing *b); /* NULL is fine */

/*
 * *ret_id > 0: to be given in the answer to OPEN, until backing_close. Waits
 * up to BACKING_WAIT_MS. -ETIMEDOUT, -EAGAIN (not asked); -EOPNOTSUPP: this
 * kernel or file system cannot, from now on; others.
 */
int backing_open(struct backing *b, int fd, uint32_t *ret_id);
/* Does not wait. */
void backing_close(struct backing *b, uint32_t id);
/* Closes all that `used` does not know: what a dead worker left behind. */
void backing_close_unused(struct backing *b,
			  bool (*used)(void *ctx, uint32_t id), void *ctx);

#endif
