/* SPDX-License-Identifier: Apache-2.0 */
/*
 * due.h - which servers have something to prefetch, in the order in which the
 * schedule has it done: earliest deadline first, then by priority and entry
 * (task_cmp). The pacing gives them their rates in that order.
 */
#ifndef STAGEFS_ORIGIN_SCHEDULE_DUE_H
#define STAGEFS_ORIGIN_SCHEDULE_DUE_H

#include <stddef.h>

#include "common/db.h"

struct due {
	char server[64];
	size_t rank; /* of what is due first there; lower is more urgent */
};

/* By name, each once; malloc'd. */
int due_list(struct db *db, struct due **ret, size_t *ret_n, struct err *e);

#endif
