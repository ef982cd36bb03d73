/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cage.h - what the worker may still do once it is in: see cage.c.
 *
 * To be entered by a process that is still root and has one thread, after all
 * that needs root is open, and before a byte of the network is read. There is
 * no way out of it, also not by exec(2).
 */
#ifndef STAGEFS_FS_CAGE_H
#define STAGEFS_FS_CAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "fs/privilege.h"

struct cage {
	const struct identity *who;
	const char *cache; /* the only folder to write below */
	const char *ca;	   /* a file to read, or "" */
};

/* One line about what stands, for the log. */
#define CAGE_TEXT 256

/* 0, or -errno: then nothing must be served. What the kernel does not have
 * (Landlock before 5.13) is no failure; `stands` says so. */
int cage_enter(const struct cage *c, char stands[CAGE_TEXT], struct err *e);

/*
 * Would a mount there be in reach of its own worker, because it lies in
 * `cache` or in a folder that every worker may read? Then that folder, else
 * NULL. For the one who mounts: it asks for the attributes of all folders
 * above.
 */
const char *cage_covers(const char *point, const char *cache);

/* ---- between cage.c, cage_files.c and cage_calls.c ---- */

/* Landlock. Returns its version, 0 if the kernel has none, -errno. */
int cage_files(const char *cache, const char *ca);
/* seccomp. Returns how many system calls are allowed, or -errno. */
int cage_calls(void);

#endif
