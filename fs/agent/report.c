/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.c - the thread that tells the origin: results at once, progress of
 * an order and the descriptor at most once a second each.
 *
 * Nothing is queued: what has to be told is found in the table of orders and
 * in the set of changed ids when its time has come, so many changes are one
 * report, and a report that failed is simply still due. While the channel has
 * no connection nothing is tried.
 */
#include "fs/agent/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/pulse.h"

#define SCAN_NS (30 * NS_PER_S)
#define RECHECK_NS (2 * NS_PER_S)
#define TRY_AGAIN_NS (2 * NS_PER_S)
#define SAY_AGAIN_NS (60 * NS_PER_S)

struct reporter {
	struct agent *a;
	uint64_t not_before_ns; /* after a failure */
	uint64_t descriptor_ns; /* the next one may go */
	uint64_t recheck_ns;	/* the next look at what is open or fetching */
	uint64_t scan_ns;	/* the next look at everything */
	bool told_refusal;
	struct said said; /* orders whose reports were refused */
};

/* 0, or the status of an answer that was no 2xx, or -errno. */
static int send_json(struct reporter *rp, const char *method, const char *path,
		     const char *json, size_t n)
{
	struct ask q = {
		.method = method,
		.path = path,
		.body = json,
		.body_n = n,
		.content_type = "application/json",
		.max_bytes = STAGEFS_REPORT_MAX_BYTES,
		.timeout_ms = ANSWER_MS,
	};
	struct http_answer ans;
	struct err e;
	int r = agent_ask(rp->a, &q, &ans, &e);

	if (r == -EAGAIN)
		rp->not_before_ns = q.when_ns;
	else if (r)
		rp->not_before_ns = clock_mono_ns() + TRY_AGAIN_NS;
	if (r)
		return r;
	r = ans.status >= 200 && ans.status < 300 ? 0 : ans.status;
	http_answer_clear(&ans);
	return r;
}

/* ---- orders ------------------------------------------------------------ */

/* The one to report now; *due is brought forward to the next one's time. */
static struct work *next_report_locked(struct agent *a, uint64_t now,
				       uint64_t *due)
{
	struct work *w, *next;

	HASH_ITER(hh, a->works, w, next)
	{
		uint64_t at = w->reported_ns + REPORT_EVERY_NS;

		if (w->version == w->reported)
			continue;
		if (w->stage == WORK_ENDED || at <= now)
			return w;
		if (at < *due)
			*due = at;
	}
	return NULL;
}

static void send_report(struct reporter *rp, struct wire_report *report,
			unsigned version)
{
	struct agent *a = rp->a;
	CLEAN_FREE char *json = NULL;
	char path[160];
	struct work *w;
	size_t n;
	int r = wire_report_encode(report, &json, &n);

	if (r) {
		rp->not_before_ns = clock_mono_ns() + TRY_AGAIN_NS;
		return;
	}
	snprintf(path, sizeof(path), "/v1/servers/%s/orders/%" PRIu64,
		 a->name, report->number);
	r = send_json(rp, "POST", path, json, n);
	/* 404: the origin forgot the order; any other refusal would be the
	 * same the next time. */
	if (r > 0 && r != 404 &&
	    said_is_news(&rp->said, report->number, clock_mono_ns(),
			 SAY_AGAIN_NS))
		log_warn("agent", "report on order %" PRIu64
			 " refused: answered %d", report->number, r);
	if (r < 0)
		return;
	LOCK_SCOPE(&a->lock);
	HASH_FIND(hh, a->works, &report->number, sizeof(report->number), w);
	if (w) {
		w->reported = version;
		w->reported_ns = clock_mono_ns();
	}
}

/* ---- descriptor -------------------------------------------------------- */

/* Takes the set of changed ids. NULL with n > 0 never happens: then it is a
 * full one. */
static uint64_t *steal_dirty_locked(struct agent *a, size_t *ret_n, bool *full)
{
	struct dirty *d, *next;
	uint64_t *id = calloc(HASH_COUNT(a->dirty) + 1, sizeof(*id));
	size_t n = 0;

	*full = a->need_full || !id;
	HASH_ITER(hh, a->dirty, d, next)
	{
		if (id)
			id[n++] = d->id;
		HASH_DEL(a->dirty, d);
		free(d);
	}
	a->need_full = a->dirty_head = false;
	*ret_n = n;
	return id;
}

static void want_full(struct agent *a)
{
	LOCK_SCOPE(&a->lock);
	a->need_full = true;
}

static void put_descriptor(struct reporter *rp, struct wire_descriptor *d)
{
	struct agent *a = rp->a;
	CLEAN_FREE char *json = NULL;
	char path[128];
	size_t n;
	int r = wire_descriptor_encode(d, &json, &n);

	snprintf(path, sizeof(path), "/v1/servers/%s/descriptor", a->name);
	if (!r)
		r = send_json(rp, "PUT", path, json, n);
	if (r == 0) {
		descriptor_told(a, d);
		rp->told_refusal = false;
		LOCK_SCOPE(&a->lock);
		a->stats.descriptors++;
		a->stats.descriptors_full += d->base == 0;
		return;
	}
	descriptor_forget(a);
	want_full(a);
	if (r == 409 && d->base)
		return; /* it wants a full one: with the next turn */
	rp->not_before_ns = clock_mono_ns() + TRY_AGAIN_NS;
	if (r > 0 && !rp->told_refusal) {
		log_warn("agent", "descriptor refused: answered %d: trying "
			 "again", r);
		rp->told_refusal = true;
	}
	if (r > 0)
		rp->not_before_ns += REFUSED_RETRY_S * NS_PER_S;
}

static void send_descriptor(struct reporter *rp, bool scan)
{
	struct agent *a = rp->a;
	CLEAN_FREE uint64_t *id = NULL;
	struct wire_descriptor d;
	uint64_t now;
	size_t n;
	bool full;
	int r;

	lock_take(&a->lock);
	id = steal_dirty_locked(a, &n, &full);
	lock_give(&a->lock);
	r = descriptor_make(a, full, scan, id, n, &d);
	if (r == 0) {
		put_descriptor(rp, &d);
		wire_descriptor_free(&d);
	} else if (r != -EALREADY) {
		want_full(a);
		rp->not_before_ns = clock_mono_ns() + TRY_AGAIN_NS;
	}
	now = clock_mono_ns();
	rp->descriptor_ns = now + a->cfg.report_ms * NS_PER_MS;
	if (scan || full)
		rp->scan_ns = now + SCAN_NS;
}

/* Is a descriptor to be made now? Else *due is brought forward. */
static bool descriptor_due_locked(struct reporter *rp, uint64_t now,
				  uint64_t *due, bool *scan)
{
	struct agent *a = rp->a;
	bool changed = a->dirty || a->need_full || a->dirty_head;
	uint64_t at = rp->scan_ns;

	*scan = now >= rp->scan_ns;
	if (changed && rp->descriptor_ns < at)
		at = rp->descriptor_ns;
	if (now >= at)
		return true;
	if (at < *due)
		*due = at;
	return false;
}

/* ---- the thread -------------------------------------------------------- */

void *report_main(void *agent)
{
	struct agent *a = agent;
	struct reporter rp = {.a = a};

	pulse_name("report");
	lock_take(&a->lock);
	while (!a->stop) {
		uint64_t now = clock_mono_ns(), due = rp.recheck_ns;
		struct work *w;
		bool scan;

		if (!a->connected) {
			agent_wait_locked(a, &a->report_wake, UINT64_MAX);
			continue;
		}
		if (now >= rp.recheck_ns) {
			lock_give(&a->lock);
			descriptor_recheck(a);
			rp.recheck_ns = now + RECHECK_NS;
			lock_take(&a->lock);
			continue;
		}
		if (now < rp.not_before_ns) {
			agent_wait_locked(a, &a->report_wake,
					  rp.not_before_ns);
			continue;
		}
		w = next_report_locked(a, now, &due);
		if (w) {
			struct wire_report report = w->report;
			unsigned version = w->version;

			lock_give(&a->lock);
			send_report(&rp, &report, version);
			lock_take(&a->lock);
		} else if (descriptor_due_locked(&rp, now, &due, &scan)) {
			lock_give(&a->lock);
			send_descriptor(&rp, scan);
			lock_take(&a->lock);
		} else {
			agent_wait_locked(a, &a->report_wake, due);
		}
	}
	lock_give(&a->lock);
	return NULL;
}
