/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify.h - tells the kernel what it may no longer cache.
 *
 * Always from one thread of its own: the kernel takes the folder's lock to
 * forget a name, which a lookup holds that waits for us; telling it from a
 * request handler, or holding a lock that a handler takes, deadlocks. And not
 * even by itself: notifier.c says why.
 *
 * Names are told at once and in order. Attributes are collected and told at
 * most every NOTIFY_ATTR_MS, once per image: a fill changes them per block.
 */
#ifndef STAGEFS_FS_KERNEL_NOTIFY_H
#define STAGEFS_FS_KERNEL_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#define NOTIFY_ATTR_MS 500
/* Waiting names beyond that are left to the kernel's own time limit. */
#define NOTIFY_NAMES_MAX 400000u

struct notify;

struct notify_target {
	/* Called on the thread, no lock held. */
	void (*entry)(void *ctx, uint64_t parent, const char *name);
	void (*inode)(void *ctx, uint64_t id, bool pages);
};

int notify_new(const struct notify_target *target, void *ctx,
	       struct notify **ret);
/* What is queued is dropped. NULL is fine. */
void notify_free(struct notify *n);
void notify_entry(struct notify *n, uint64_t parent, const char *name);
/* Its attributes, and with `pages` what was read of it as well. */
void notify_inode(struct notify *n, uint64_t id, bool pages);

#endif
