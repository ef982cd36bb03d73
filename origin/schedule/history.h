/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history.h - what the database keeps of what is over: final orders, jobs whose
 * time is past, entries of the plan that will not come again, lines of the log.
 * Everything else is needed; these only grow.
 */
#ifndef STAGEFS_ORIGIN_SCHEDULE_HISTORY_H
#define STAGEFS_ORIGIN_SCHEDULE_HISTORY_H

#include <stdint.h>

#include "common/db.h"

/*
 * Removes what is older than the setting `history` (default 90d), a thousand
 * or so rows of each kind in a transaction of its own, so that no writer
 * waits. *ret: how many it removed; if any, there may be more.
 */
int history_prune(struct db *db, int64_t now_s, uint64_t *ret, struct err *e);

#endif
