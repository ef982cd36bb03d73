/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups.h - named groups of servers, for the plan: "@hall1" there is every
 * server that is in the group hall1. A server may be in many, and be put into
 * one before it was ever seen. A group exists as long as anything is in it.
 */
#ifndef STAGEFS_ORIGIN_SERVERS_GROUPS_H
#define STAGEFS_ORIGIN_SERVERS_GROUPS_H

#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/limits.h"

#define GROUPS_MEMBERS_MAX 100000u /* of all groups together */

struct group_member {
	char group[STAGEFS_SERVER_NAME_MAX_BYTES + 1]; /* without '@' */
	char server[STAGEFS_SERVER_NAME_MAX_BYTES + 1];
};

/* All of `server`, or nothing. Those that are in it already are fine. -EINVAL:
 * a bad name; -E2BIG. */
int groups_add(struct db *db, const char *group, char *const *server,
	       size_t n, int64_t now_s, struct err *e);
/* The same for any groups, inside the caller's transaction: who gets an error
 * takes all of it back. */
int groups_add_within(struct db *db, const struct group_member *m, size_t n,
		      int64_t now_s, struct err *e);
/* All of `server`, or nothing; n 0: all that are in it. -ENOENT: no such
 * group, or one is not in it. */
int groups_remove(struct db *db, const char *group, char *const *server,
		  size_t n, int64_t now_s, struct err *e);
/* By group, then by server; malloc'd. */
int groups_list(struct db *db, struct group_member **ret, size_t *ret_n,
		struct err *e);

#endif
