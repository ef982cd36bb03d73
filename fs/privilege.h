/* SPDX-License-Identifier: Apache-2.0 */
/*
 * privilege.h - what the worker does while it is still root: whose is the
 * cache, and who is it to become. Before any thread is started.
 */
#ifndef STAGEFS_FS_PRIVILEGE_H
#define STAGEFS_FS_PRIVILEGE_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"

struct identity {
	uid_t uid;
	gid_t gid;
	bool root; /* stays root */
	char name[64];
};

/* user=NAME; "" takes `fallback` if that user exists, else root. -ENOENT. */
int identity_find(const char *user, const char *fallback,
		  struct identity *ret, struct err *e);
/* Makes the cache's folder, 0700, owned by that user; hands over one that
 * root has used. -EPERM: it is somebody else's; -ENOTEMPTY: it holds something
 * that is no cache. */
int identity_own(const struct identity *id, const char *dir, struct err *e);
/* As many open files as the hard limit allows. */
void raise_file_limit(void);

#endif
