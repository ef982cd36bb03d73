/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - entries of the production plan: "server S needs image I at T
 * (until U, repeating R)", in the table `plan`.
 *
 * S may be a group of servers, "@hall1", and I a folder, "win11/": then it is
 * what each server that is in the group needs of all images that are in the
 * folder, looked up anew whenever the schedule runs.
 */
#ifndef STAGEFS_ORIGIN_PLAN_PLAN_H
#define STAGEFS_ORIGIN_PLAN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/db.h"
#include "common/limits.h"
#include "origin/plan/repeat.h"
#include "origin/plan/zone.h"

#define PLAN_ENTRIES_MAX 1000000
#define PLAN_PRIORITY_MAX 1000 /* and as much below 0 */
#define PLAN_SERVER_MAX_BYTES (STAGEFS_SERVER_NAME_MAX_BYTES + 1) /* '@' */

static inline bool plan_is_group(const char *server)
{
	return server[0] == '@';
}

static inline bool plan_is_folder(const char *image)
{
	size_t n = strlen(image);

	return n > 0 && image[n - 1] == '/';
}

/* -EINVAL: neither the name of a server nor of a group; of an image nor of a
 * folder. */
int plan_check_server(const char *server, struct err *e);
int plan_check_image(const char *image, struct err *e);

struct plan_entry {
	int64_t entry; /* its number; given by plan_add */
	char server[PLAN_SERVER_MAX_BYTES + 1];
	char *image; /* a name, resolved anew at each occurrence */
	int64_t at_s, until_s; /* of the first occurrence; until 0: open end */
	char zone[ZONE_MAX];
	char repeat[REPEAT_TEXT_MAX + 1]; /* RRULE, "": once */
	int64_t priority;		  /* higher first on a tie */
	int64_t created_s, removed_s;
};
void plan_entry_clear(struct plan_entry *p);
void plan_entries_free(struct plan_entry *p, size_t n);

/* The dates of the entry, for repeat_list; borrows its texts. */
struct repeat plan_repeat(const struct plan_entry *p);

/* -EINVAL: a bad name, `until` not after `at`, a rule that is none. Does not
 * look whether server and image exist. */
int plan_check(const struct plan_entry *p, struct err *e);
/* Checks it first. Sets p->entry. */
int plan_add(struct db *db, struct plan_entry *p, int64_t now_s,
	     struct err *e);
/* The same for many, inside the caller's transaction: who gets an error takes
 * all of it back. */
int plan_add_within(struct db *db, struct plan_entry *p, size_t n,
		    int64_t now_s, struct err *e);
/* -ENOENT. Also a removed one (removed_s is set). */
int plan_get(struct db *db, int64_t entry, struct plan_entry *ret,
	     struct err *e);
/* All that are not removed, or with `all` these too; malloc'd. */
int plan_list(struct db *db, bool all, struct plan_entry **ret, size_t *ret_n,
	      struct err *e);
/* All of them, or nothing. The rows stay, marked: jobs and the log refer to
 * them. -ENOENT: there is no such entry, or it is removed already. */
int plan_remove(struct db *db, const int64_t *entry, size_t n, int64_t now_s,
		struct err *e);

#endif
