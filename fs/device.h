/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.h - a mount with a device number of one's choice (device=).
 */
#ifndef STAGEFS_FS_DEVICE_H
#define STAGEFS_FS_DEVICE_H

#include "common/err.h"

#define DEVICE_MINOR_MAX 900 /* below the usual limit of open files */

/*
 * Mounts `source` at `point` as device 0:`minor`, on the open /dev/fuse
 * `fuse_fd`, in whose place there may be another one afterwards. *ret is the
 * minor number that it has: another one, if that is in use. 0 or -errno; then
 * nothing is mounted. Root only.
 */
int device_mount(const char *source, const char *point, unsigned minor,
		 int fuse_fd, unsigned *ret, struct err *e);

#endif
