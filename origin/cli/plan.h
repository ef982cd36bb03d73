/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - what the verbs of `plan` share. */
#ifndef STAGEFS_ORIGIN_CLI_PLAN_H
#define STAGEFS_ORIGIN_CLI_PLAN_H

#include "origin/cli/verbs.h"
#include "origin/plan/when.h"
#include "origin/schedule/view.h"
#include "origin/servers/groups.h"

/* Longer than any sentence on a job, victims included. */
#define VERDICT_TEXT 1024

/* The schedule as it is now. 0, or the exit status after the error. */
int plan_view(const struct cli_context *c, struct db *db, int64_t ahead_s,
	      struct view **ret);
/* Will want i be in time, and at whose cost: one sentence without a dot.
 * Returns whether it will. */
bool plan_verdict(const struct view *v, size_t i, char out[VERDICT_TEXT]);
/* Wants of one server and image of an entry come by time: is i the next? */
bool plan_is_next(const struct view *v, size_t i);
/* "old.iso (9.2G), older.iso (1G)"; "" if nothing has to go. */
const char *plan_victims(const struct view *v, size_t i,
			 char out[VERDICT_TEXT]);
/* The number of an entry, as an argument. 0, or the exit status. */
int plan_number(const struct cli_context *c, const char *text, int64_t *ret);
/* As a cell: local to the zone, RFC 3339 in JSON; nothing for 0. */
void plan_time_cell(struct table *t, void *row, size_t col, bool json,
		    int64_t unix_s, const char *zone);

/* An entry as a person writes it; "" is "not given". */
struct plan_texts {
	const char *server, *image, *at, *until, *repeat, *priority;
	bool force;
	/* One without an end may begin in the past by less than this. */
	int64_t late_s;
	/* Groups that are about to be made; borrowed. */
	const struct group_member *member;
	size_t n_members;
};
/* -EINVAL and the like: bad words; -ENOENT: no such server, group, image. */
int plan_read_entry(struct db *db, const struct plan_texts *x, int64_t now_s,
		    struct plan_entry *ret, struct err *e);

extern const struct cli_option plan_add_options[], plan_import_options[];
extern const struct table_column plan_list_columns[], plan_show_columns[],
	plan_check_columns[];
extern const struct cli_option plan_list_options[], plan_check_options[];
int plan_list_run(struct cli_context *c);
int plan_add_run(struct cli_context *c);
int plan_show_run(struct cli_context *c);
int plan_check_run(struct cli_context *c);
int plan_import_run(struct cli_context *c);
int plan_export_run(struct cli_context *c);

#endif
