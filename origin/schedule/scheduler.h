/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scheduler.h - runs the schedule (schedule.h, a pure function) on the
 * database: makes occurrences of plan entries into jobs, gives out orders,
 * moves the jobs' states. Idempotent: running it twice at one time changes
 * nothing the second time.
 */
#ifndef STAGEFS_ORIGIN_SCHEDULE_SCHEDULER_H
#define STAGEFS_ORIGIN_SCHEDULE_SCHEDULER_H

#include <stdint.h>

#include "common/db.h"

/*
 * `demand_bps` and `other_bps`: what the pacing measured lately (0 unknown).
 * Returns 0 and in *ret_next_s when to run again at the latest (it also has to
 * run whenever the database changed). Settings it reads from the database:
 * prefetch_rate, link, lead (longest time ahead), margin.
 */
int scheduler_run(struct db *db, int64_t now_s, uint64_t demand_bps,
		  uint64_t other_bps, int64_t *ret_next_s, struct err *e);

#endif
