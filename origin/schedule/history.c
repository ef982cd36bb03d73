/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history.c - four deletions, each by an index, the order of which lets rows go
 * that others refer to: orders, then their jobs, then the entries of these.
 *
 * An order that gave a hold is kept until that ends: it tells the schedule
 * whose hold it is. A job is kept until the end of its span (`until`, or the
 * setting `hold` where there is none) is long past, for as long as its span
 * lasts its row says that it is staged.
 */
#include "origin/schedule/history.h"

#include "origin/db/settings.h"

#define DAY_S 86400

static int prune(struct db *db, const char *sql, int64_t before_s,
		 int64_t other_s, uint64_t *sum, struct err *e)
{
	int r = db_run(db, e, sql, "ii", before_s, other_s);

	if (!r)
		*sum += (uint64_t)db_changes(db);
	return r;
}

/* ?2: now */
static const char orders_sql[] =
	"DELETE FROM orders WHERE number IN (SELECT number FROM orders"
	" WHERE state>=2 AND updated_s<?1 AND hold_until_s<?2 LIMIT 1000)";

/* ?2: how long a job is held where the entry does not say; a day more, for
 * clocks that change in between. State: staged or failed. */
static const char jobs_sql[] =
	"DELETE FROM job WHERE job IN (SELECT job FROM job JOIN plan USING"
	"(entry) WHERE job.at_s<?1 AND state IN (2,4) AND job.at_s+86400+"
	" iif(until_s>0,until_s-plan.at_s,?2)<?1 AND NOT EXISTS (SELECT 1 FROM"
	" orders WHERE orders.job=job.job AND orders.job>0) LIMIT 1000)";

/* Removed, or of one date that is over. */
static const char plan_sql[] =
	"DELETE FROM plan WHERE entry IN (SELECT entry FROM plan WHERE"
	" ((removed_s>0 AND removed_s<?1) OR (repeat='' AND"
	"  max(at_s+?2,until_s)<?1))"
	" AND NOT EXISTS (SELECT 1 FROM job WHERE job.entry=plan.entry)"
	" LIMIT 1000)";

static const char log_sql[] =
	"DELETE FROM log WHERE line IN (SELECT line FROM log WHERE time_s<?1"
	" AND ?2 LIMIT 1000)";

int history_prune(struct db *db, int64_t now_s, uint64_t *ret, struct err *e)
{
	int64_t keep_s, hold_s, before_s;
	uint64_t n = 0;
	int r;

	r = setting_span(db, "history", SETTING_HISTORY_DEFAULT,
			 SETTING_HISTORY_MAX_S, &keep_s, e);
	if (!r)
		r = setting_span(db, "hold", SETTING_HOLD_DEFAULT,
				 SETTING_SPAN_MAX_S, &hold_s, e);
	if (r)
		return r;
	if (keep_s < SETTING_HISTORY_MIN_S)
		keep_s = SETTING_HISTORY_MIN_S;
	before_s = now_s - keep_s;
	r = prune(db, orders_sql, before_s, now_s, &n, e);
	if (!r)
		r = prune(db, jobs_sql, before_s, hold_s, &n, e);
	if (!r)
		r = prune(db, plan_sql, before_s, hold_s, &n, e);
	if (!r)
		r = prune(db, log_sql, before_s, 1, &n, e);
	if (!r)
		*ret = n;
	return r;
}
