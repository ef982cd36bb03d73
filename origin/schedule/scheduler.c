/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scheduler.c - carries the schedule out: rows of jobs first, in one
 * transaction, then the orders, in a few. A crash between leaves jobs
 * without orders; the next run sees that and gives them. The other way round
 * an order would name a job that nobody has.
 *
 * Only what a person would call a change is written: every commit wakes the
 * daemon, which runs this again. So an expectation that moves by a few seconds
 * with each report stays as it is.
 */
#include "origin/schedule/scheduler.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "origin/db/origindb.h"
#include "origin/schedule/view.h"
#include "origin/servers/servers.h"
#include "origin/store/store.h"

/* An expectation moved if by more than this, or a twentieth of the time left;
 * progress, if by a twentieth of the size. */
#define MOVED_S 30
#define MOVED_PART 20
#define ORDERS_AT_ONCE 200

/* ---- rows of jobs ------------------------------------------------------ */

static bool moved(int64_t a, int64_t b, int64_t now_s)
{
	int64_t left = b - now_s, by = a > b ? a - b : b - a;

	if ((a == 0) != (b == 0))
		return true;
	left = left < 0 ? 0 : left;
	return by > MOVED_S && by > left / MOVED_PART;
}

static bool changed(const struct job_row *row, const struct sched_want *w,
		    const struct sched_job *j, int64_t now_s)
{
	uint64_t by = row->stored_bytes > j->stored_bytes
			      ? row->stored_bytes - j->stored_bytes
			      : j->stored_bytes - row->stored_bytes;

	return row->job == 0 || row->id != w->id || row->state != j->state ||
	       row->size_bytes != w->size_bytes ||
	       row->staged_s != j->staged_s ||
	       (by > 0 && by > w->size_bytes / MOVED_PART) ||
	       moved(row->start_s, j->start_s, now_s) ||
	       moved(row->expected_s, j->expected_s, now_s) ||
	       strcmp(row->message, j->message) != 0;
}

static int log_change(struct db *db, const struct view *v, size_t i,
		      struct err *e)
{
	const struct sched_want *w = &v->in.want[i];
	const struct sched_job *j = &v->out.job[i];
	const struct job_row *row = &v->row[i];
	const char *server = v->in.server[w->server].name;
	char late[UNITS_TEXT];

	if (row->job && row->state == j->state && row->id == w->id)
		return 0;
	units_span((uint64_t)j->late_s * 1000, late);
	switch (j->state) {
	case JOB_STAGED:
		return origindb_log(db, e, v->in.now_s, "staged", server, 0,
				    w->image, "entry %lld: complete and "
				    "verified, %s%s", (long long)w->entry,
				    j->late_s ? "late by " : "in time",
				    j->late_s ? late : "");
	case JOB_LATE:
		return origindb_log(db, e, v->in.now_s, "late", server, 0,
				    w->image, "entry %lld: %s",
				    (long long)w->entry, j->message);
	case JOB_FAILED:
		return origindb_log(db, e, v->in.now_s, "failed", server, 0,
				    w->image, "entry %lld: %s",
				    (long long)w->entry, j->message);
	default:
		return 0;
	}
}

/* Sets *ret_new if the job has its number only now. */
static int write_job(struct db *db, struct view *v, size_t i, bool *ret_new,
		     struct err *e)
{
	struct sched_want *w = (struct sched_want *)&v->in.want[i];
	const struct sched_job *j = &v->out.job[i];
	struct job_row *row = &v->row[i];
	int r;

	if (!changed(row, w, j, v->in.now_s))
		return 0;
	r = log_change(db, v, i, e);
	if (r)
		return r;
	if (row->job)
		return db_run(db, e,
			      "UPDATE job SET id=?,state=?,start_s=?,"
			      "expected_s=?,staged_s=?,stored=?,size=?,"
			      "message=?,updated_s=? WHERE job=?",
			      "uiiiiuusiu", w->id, (int64_t)j->state,
			      j->start_s, j->expected_s, j->staged_s,
			      j->stored_bytes, w->size_bytes, j->message,
			      v->in.now_s, row->job);
	r = db_run(db, e,
		   "INSERT INTO job(entry,server,image,at_s,id,state,start_s,"
		   "expected_s,staged_s,stored,size,message,updated_s)"
		   " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
		   "issiuiiiiuusi", w->entry, v->in.server[w->server].name,
		   w->image, w->at_s, w->id, (int64_t)j->state,
		   j->start_s, j->expected_s, j->staged_s, j->stored_bytes,
		   w->size_bytes, j->message, v->in.now_s);
	if (!r) {
		row->job = w->job = (uint64_t)db_last_id(db);
		*ret_new = true;
	}
	return r;
}

/* Its span is over and it never was there. */
static int close_job(struct db *db, const struct view *v,
		     const struct job_row *row, struct err *e)
{
	char text[SCHED_MESSAGE + 64];
	int r;

	snprintf(text, sizeof(text), "was not staged before its end%s%s",
		 *row->message ? ": " : "", row->message);
	r = origindb_log(db, e, v->in.now_s, "failed", row->server, 0,
			 row->image, "entry %lld: %s",
			 (long long)row->entry, text);
	if (r)
		return r;
	return db_run(db, e,
		      "UPDATE job SET state=?,message=?,updated_s=?"
		      " WHERE job=?",
		      "isiu", (int64_t)JOB_FAILED, text, v->in.now_s,
		      row->job);
}

/* The server left the group, or the image the folder: as if the entry had been
 * removed for this pair. */
static int close_gone(struct db *db, const struct job_row *row, int64_t now_s,
		      struct err *e)
{
	int r = db_run(db, e,
		       "DELETE FROM job WHERE job=?1 AND NOT EXISTS"
		       " (SELECT 1 FROM orders WHERE orders.job=?1 AND"
		       " orders.job>0)", /* as the index has it */
		       "u", row->job);

	if (r || db_changes(db))
		return r;
	return db_run(db, e,
		      "UPDATE job SET state=?,message='the entry does not stand"
		      " for this any more',updated_s=? WHERE job=?",
		      "iiu", (int64_t)JOB_FAILED, now_s, row->job);
}

/* Rows of removed entries: those that had orders are history, the rest is
 * nothing. */
static int close_removed(struct db *db, const struct view *v, struct err *e)
{
	int r;

	r = db_run(db, e,
		   "DELETE FROM job WHERE state IN (0,1,3,4) AND"
		   " (SELECT removed_s FROM plan WHERE entry=job.entry)>0 AND"
		   " NOT EXISTS (SELECT 1 FROM orders WHERE orders.job=job.job"
		   " AND orders.job>0)",
		   "");
	if (r)
		return r;
	return db_run(db, e,
		      "UPDATE job SET state=?,message='the entry was removed',"
		      "updated_s=? WHERE state IN (0,1,3) AND"
		      " (SELECT removed_s FROM plan WHERE entry=job.entry)>0",
		      "ii", (int64_t)JOB_FAILED, v->in.now_s);
}

/* Is there anything to write? A write lock taken for nothing makes the other
 * writers wait. */
static int stale_jobs(struct db *db, bool *ret, struct err *e)
{
	int64_t n;
	int r = db_get_int(db, e, &n,
			   "SELECT EXISTS (SELECT 1 FROM job JOIN plan"
			   " USING(entry) WHERE job.state IN (0,1,3) AND"
			   " plan.removed_s>0)",
			   "");

	if (!r)
		*ret = n;
	return r;
}

static int write_jobs(struct db *db, struct view *v, bool *ret_new,
		      struct err *e)
{
	bool any = false;
	int r = stale_jobs(db, &any, e);

	any = any || v->n_over > 0 || v->n_gone > 0;
	for (size_t i = 0; i < v->in.n_wants && !any; i++)
		any = changed(&v->row[i], &v->in.want[i], &v->out.job[i],
			      v->in.now_s);
	if (r || !any)
		return r;
	r = db_begin(db, e);
	if (r)
		return r;
	for (size_t i = 0; i < v->in.n_wants && !r; i++)
		r = write_job(db, v, i, ret_new, e);
	for (size_t i = 0; i < v->n_over && !r; i++)
		r = close_job(db, v, &v->over[i], e);
	for (size_t i = 0; i < v->n_gone && !r; i++)
		r = close_gone(db, &v->gone[i], v->in.now_s, e);
	if (!r)
		r = close_removed(db, v, e);
	return db_end(db, r, e);
}

/* ---- orders ------------------------------------------------------------ */

static int give_order(struct db *db, const struct view *v,
		      const struct sched_action *a, struct err *e)
{
	struct wire_order o = {.kind = a->kind,
			       .id = a->id,
			       .bytes = a->bytes,
			       .hold_until_s = a->hold_until_s,
			       .deadline_s = a->deadline_s,
			       .name = (char *)""};
	struct node node;
	bool removed;
	int r;

	if (a->want != SIZE_MAX)
		o.job = v->in.want[a->want].job;
	if (a->kind != ORDER_RECLAIM) {
		r = node_get(db, a->id, &node, &removed, e);
		if (r)
			return r;
		o.digest = node.digest;
		o.name = node.name;
		o.size_bytes = node.size_bytes;
	}
	return orders_add_within(db, v->in.server[a->server].name, &o,
				 v->in.now_s, e);
}

static int carry_out(struct db *db, const struct view *v,
		     const struct sched_action *a, struct err *e)
{
	int r;

	if (a->kind != ORDER_CANCEL)
		return give_order(db, v, a, e);
	r = orders_cancel_within(db, a->cancels, v->in.now_s, e);
	/* It ended in the meantime: as good. */
	return r == -EALREADY || r == -ENOENT ? 0 : r;
}

/*
 * A few hundred orders to a transaction: one each took seconds when a plan for
 * a thousand servers began, one for all would keep other writers waiting. What
 * fails for one server must not keep the others waiting either: it is left
 * out, the first such error is returned at the end, the next run tries again.
 */
static int carry_out_all(struct db *db, const struct view *v, struct err *e)
{
	const struct schedule *out = &v->out;
	int first = 0;

	for (size_t i = 0; i < out->n_actions;) {
		struct err one;
		int r = db_begin(db, e);

		if (r)
			return r;
		for (size_t n = 0; n < ORDERS_AT_ONCE && i < out->n_actions;
		     n++, i++) {
			r = carry_out(db, v, &out->action[i], &one);
			if (r && !first && e)
				*e = one;
			first = first ? first : r;
		}
		r = db_commit(db, first ? NULL : e);
		if (r)
			return r;
	}
	return first;
}

static int run_once(struct db *db, int64_t now_s, uint64_t demand_bps,
		    uint64_t other_bps, bool *ret_new, int64_t *ret_next_s,
		    struct err *e)
{
	struct view *v;
	int r;

	r = view_make(db, now_s, demand_bps, other_bps, 0, &v, e);
	if (r)
		return r;
	r = write_jobs(db, v, ret_new, e);
	if (!r)
		r = carry_out_all(db, v, e);
	/* What was just ordered is seen, and its jobs' states, next time. */
	if (!r)
		*ret_next_s = v->out.n_actions ? now_s + 1 : v->out.next_s;
	view_free(v);
	return r;
}

/* What has no number is not ordered: a new entry is acted on in the second
 * turn, at once, and not when the schedule runs the next time. */
int scheduler_run(struct db *db, int64_t now_s, uint64_t demand_bps,
		  uint64_t other_bps, int64_t *ret_next_s, struct err *e)
{
	bool fresh = false, again = false;
	int r;

	r = run_once(db, now_s, demand_bps, other_bps, &fresh, ret_next_s, e);
	if (!r && fresh)
		r = run_once(db, now_s, demand_bps, other_bps, &again,
			     ret_next_s, e);
	return r;
}
