/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view.h - the schedule as it is now: all that schedule() needs, read from
 * the database in one transaction, and its result. Writes nothing: the
 * scheduler carries it out, `plan list` and `plan check` show it.
 *
 * Settings (table `setting`), each with its default:
 *	prefetch_rate	""	rates.h, in this machine's zone
 *	link		""	"eth0=10Gbit/s" or "10Gbit/s"
 *	lead		24h	begin so long before it is due
 *	margin		20%	plan for so many more bytes
 *	margin_time	5m	and be done so much before
 *	hold		24h	of entries without an end
 *	assumed_rate	100M/s	for estimates where nothing limits
 */
#ifndef STAGEFS_ORIGIN_SCHEDULE_VIEW_H
#define STAGEFS_ORIGIN_SCHEDULE_VIEW_H

#include "common/db.h"
#include "origin/plan/plan.h"
#include "origin/schedule/schedule.h"

/* Of an entry for a group and a folder, so many of its pairs of a server and an
 * image are looked at, by name. */
#define VIEW_PAIRS_MAX 50000u

/* The row of a job as it is in the database. */
struct job_row {
	uint64_t job; /* 0: there is none yet */
	const char *server, *image; /* the view's */
	int64_t entry, at_s;
	uint64_t id, stored_bytes, size_bytes;
	enum job_state state;
	int64_t start_s, expected_s, staged_s;
	char message[SCHED_MESSAGE];
};

struct view {
	struct sched_input in;
	struct schedule out;
	int64_t hold_s;
	struct plan_entry *entry; /* all that are not removed */
	size_t n_entries;
	/* By want, as in->want and out.job: entry by entry, of each server by
	 * server and image by image, of these by time. */
	size_t *entry_of;	/* index */
	struct job_row *row;
	/* Rows of live entries whose span is over, and that are not final. */
	struct job_row *over;
	size_t n_over;
	/* Rows of live entries that stand for that server or image no more, and
	 * that are not final. */
	struct job_row *gone;
	size_t n_gone;
	int64_t cut_entry; /* stands for more than it may (0: none does) */
	struct view_data *data; /* what `in` points into */
};

/*
 * `ahead_s`: occurrences of so long ahead, at least of the lead time; and of
 * each entry the next one after. Errors: a setting that cannot be read
 * (-EINVAL), the database's.
 */
int view_make(struct db *db, int64_t now_s, uint64_t demand_bps,
	      uint64_t other_bps, int64_t ahead_s, struct view **ret,
	      struct err *e);
void view_free(struct view *v);

#endif
