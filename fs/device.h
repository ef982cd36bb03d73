/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.h - a device number of one's choice for the mount (device=).
 */
#ifndef STAGEFS_FS_DEVICE_H
#define STAGEFS_FS_DEVICE_H

#define DEVICE_MINOR_MAX 900 /* below the usual limit of open files */

/* From here to the end of this process (and of those forked from it, until
 * they exec) the next mount gets 0:`minor`, if that is free and nobody gives
 * back a lower one: to be called again now and then. Root only. */
void device_offer(unsigned minor);

/* Which one the mount at `point` has, without asking it. */
unsigned device_minor(const char *point);

#endif
