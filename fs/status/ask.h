/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask.h - the client's side of the control socket. The mount itself is never
 * touched: while its worker is away even a stat of it would wait.
 */
#ifndef STAGEFS_FS_STATUS_ASK_H
#define STAGEFS_FS_STATUS_ASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/*
 * The mount point that `dir` is or is below of, as /proc/self/mountinfo (or
 * the text of it given for a test) has it. -ENOENT: no stagefs there.
 */
int ask_find_mount(const char *dir, const char *mountinfo, char *out,
		   size_t size, struct err *e);

/* Is nobody there any more, neither worker nor supervisor, though the mount
 * point may still be in the mount table? `point` as ask_find_mount gives it. */
bool ask_is_dead(const char *point);

/*
 * Sends {"verb": verb, ...args} (takes args over; may be NULL) to the mount
 * and gives each line but the last to `each`, which returns non-zero to stop.
 * 0; -errno with `e`: not mounted, no answer, or what the mount says is wrong.
 */
int ask_mount(const char *dir, const char *verb, json_t *args,
	      int (*each)(void *ctx, const json_t *line), void *ctx,
	      struct err *e);
/* The same with a connected socket, which it closes. */
int ask_socket(int fd, const char *verb, json_t *args,
	       int (*each)(void *ctx, const json_t *line), void *ctx,
	       struct err *e);

/* Members that may be missing: 0, "" or false then. */
uint64_t ask_u64(const json_t *o, const char *name);
const char *ask_text(const json_t *o, const char *name);
bool ask_bool(const json_t *o, const char *name);

#endif
