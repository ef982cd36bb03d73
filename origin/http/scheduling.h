/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scheduling.h - the thread that runs the schedule: when the database changed,
 * when the schedule itself asks for it, and every ten seconds at the least.
 */
#ifndef STAGEFS_ORIGIN_HTTP_SCHEDULING_H
#define STAGEFS_ORIGIN_HTTP_SCHEDULING_H

#include "common/err.h"
#include "origin/http/pacing.h"

struct scheduling;

struct scheduling_config {
	const char *store_dir;
	struct pacing *pacing; /* gets the servers' order and tables */
	/* After each run: there may be orders. Called without a lock. */
	void (*ran)(void *ctx);
	void *ctx;
};

int scheduling_start(const struct scheduling_config *c,
		     struct scheduling **ret, struct err *e);
void scheduling_stop(struct scheduling *s); /* NULL is fine */

#endif
