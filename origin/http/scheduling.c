/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scheduling.c - a loop around scheduler_run.
 *
 * PRAGMA data_version tells of all commits but those of the handle that is
 * asked. So the watching is done on a handle that writes nothing: the schedule
 * goes in steps (a job has to have a number before it is ordered), and what it
 * wrote itself is reason enough to run again, until a run has nothing to
 * write. Descriptors come once a second per server: at most two runs a second,
 * however many servers there are.
 */
#include "origin/http/scheduling.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/lock.h"
#include "common/log.h"
#include "origin/db/origindb.h"
#include "origin/http/pace.h"
#include "origin/locks.h"
#include "origin/schedule/due.h"
#include "origin/schedule/history.h"
#include "origin/schedule/scheduler.h"
#include "origin/servers/servers.h"
#include "origin/store/image.h"
#include "origin/store/store.h"

#define LOOK_NS (250 * NS_PER_MS)
#define RUN_EVERY_MIN_NS (500 * NS_PER_MS)
#define RUN_EVERY_MAX_S 10
#define SWEEP_EVERY_S 3600

struct scheduling {
	struct scheduling_config c; /* set once */
	pthread_t thread;

	struct lock lock; /* stop */
	struct wait_cond cond;
	bool stop;

	/* The thread's own. */
	struct db *db, *watch;
	int64_t version, next_s, sweep_s;
	uint64_t pruned; /* rows, by the sweep that goes on */
	uint64_t ran_ns;
	bool changed, failing;
};

/* Both are sorted by name. */
static size_t fill_entries(const struct server *s, size_t n,
			   const struct due *due, size_t n_due,
			   struct pacing_entry *ret)
{
	size_t used = 0, at = 0;

	for (size_t i = 0; i < n; i++) {
		struct pacing_entry *e = &ret[used];

		while (at < n_due && strcmp(due[at].server, s[i].name) < 0)
			at++;
		memcpy(e->server, s[i].name, sizeof(e->server));
		e->rates = s[i].prefetch_rate;
		e->zone = s[i].time_zone;
		e->rank = PACE_RANK_LAST;
		if (at < n_due && strcmp(due[at].server, s[i].name) == 0)
			e->rank = due[at].rank;
		used += *e->rates || e->rank != PACE_RANK_LAST;
	}
	return used;
}

/* Who goes first, and what each may have. */
static int tell_pacing(struct scheduling *s, struct err *e)
{
	CLEAN_FREE struct pacing_entry *entry = NULL;
	CLEAN_FREE struct server *list = NULL;
	CLEAN_FREE struct due *due = NULL;
	size_t n, n_due;
	int r;

	r = servers_list(s->db, &list, &n, e);
	if (!r)
		r = due_list(s->db, &due, &n_due, e);
	if (r)
		return r;
	entry = calloc(n + 1, sizeof(*entry));
	if (!entry)
		return err_set(e, ENOMEM, "out of memory");
	n = fill_entries(list, n, due, n_due, entry);
	r = pacing_set_servers(s->c.pacing, entry, n, clock_unix_s());
	return r ? err_set(e, -r, "pacing: %s", strerror(-r)) : 0;
}

static void note_outcome(struct scheduling *s, int r, const struct err *e)
{
	if (r && !s->failing)
		log_err("schedule", "%s; trying again every %d s", e->text,
			RUN_EVERY_MAX_S);
	if (!r && s->failing)
		log_info("schedule", "runs again");
	s->failing = r != 0;
}

static void run(struct scheduling *s, int64_t now_s)
{
	int64_t next_s = now_s + RUN_EVERY_MAX_S;
	struct pacing_stats p;
	struct err e;
	int r, told;

	pacing_get(s->c.pacing, &p);
	r = scheduler_run(s->db, now_s, p.reader_bps, p.other_bps, &next_s,
			  &e);
	/* After it: what was just ordered has its place before it is asked
	 * for. */
	told = tell_pacing(s, r ? NULL : &e);
	r = r ? r : told;
	note_outcome(s, r, &e);
	s->next_s = now_s + RUN_EVERY_MAX_S;
	if (!r && next_s > now_s && next_s < s->next_s)
		s->next_s = next_s;
	s->ran_ns = clock_mono_ns();
	s->changed = false;
	s->c.ran(s->c.ctx);
}

/* What no version needs any more (a replaced image is kept for a day) goes
 * without waiting for the next `image add`. An add under way goes first. */
static void sweep_store(struct scheduling *s, int64_t now_s)
{
	CLEAN_STORE struct store *store = NULL;
	struct err e;
	int r;

	r = store_open(s->c.store_dir, &store, &e);
	if (!r)
		r = store_sweep(store, s->db, now_s, false, &e);
	if (r < 0)
		log_warn("store", "cannot remove what is not needed: %s; "
			 "trying again in an hour", e.text);
}

/* A part each time round, until nothing is left: writers get between. */
static void sweep_history(struct scheduling *s, int64_t now_s)
{
	uint64_t n = 0;
	struct err e;

	if (history_prune(s->db, now_s, &n, &e))
		log_warn("schedule", "cannot remove old history: %s; trying "
			 "again in an hour", e.text);
	s->pruned += n;
	if (n > 0 || s->pruned == 0)
		return;
	log_info("schedule", "rows of old history removed: %llu",
		 (unsigned long long)s->pruned);
	s->pruned = 0;
}

static void sweep(struct scheduling *s, int64_t now_s)
{
	bool due = now_s >= s->sweep_s || now_s < s->sweep_s - SWEEP_EVERY_S;

	if (due) {
		s->sweep_s = now_s + SWEEP_EVERY_S;
		sweep_store(s, now_s);
	}
	if (due || s->pruned > 0)
		sweep_history(s, now_s);
}

static bool is_due(struct scheduling *s, int64_t now_s)
{
	int64_t version = s->version;

	/* A change that comes right after a run is not forgotten: it waits. */
	if (db_data_version(s->watch, &version) == 0 && version != s->version) {
		s->version = version;
		s->changed = true;
	}
	/* A clock that was set back must not stop it. */
	if (now_s >= s->next_s || now_s < s->next_s - RUN_EVERY_MAX_S)
		return true;
	return s->changed && clock_mono_ns() >= s->ran_ns + RUN_EVERY_MIN_NS;
}

static bool wait_a_little(struct scheduling *s)
{
	uint64_t until = clock_mono_ns() + LOOK_NS;

	LOCK_SCOPE(&s->lock);
	while (!s->stop && cond_wait_until(&s->cond, &s->lock, until) == 0)
		;
	return !s->stop;
}

static void *scheduling_main(void *arg)
{
	struct scheduling *s = arg;

	pthread_setname_np(pthread_self(), "schedule");
	do {
		int64_t now_s = clock_unix_s();

		if (is_due(s, now_s))
			run(s, now_s);
		sweep(s, now_s);
	} while (wait_a_little(s));
	return NULL;
}

int scheduling_start(const struct scheduling_config *c,
		     struct scheduling **ret, struct err *e)
{
	struct scheduling *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->c = *c;
	r = origindb_open(c->store_dir, &s->db, e);
	if (!r)
		r = origindb_open(c->store_dir, &s->watch, e);
	if (r) {
		db_close(s->db);
		free(s);
		return r;
	}
	lock_init(&s->lock, LOCK_DAEMON);
	cond_init(&s->cond);
	r = pthread_create(&s->thread, NULL, scheduling_main, s);
	if (r) {
		cond_destroy(&s->cond);
		lock_destroy(&s->lock);
		db_close(s->watch);
		db_close(s->db);
		free(s);
		return err_set(e, r, "cannot start a thread: %s", strerror(r));
	}
	*ret = s;
	return 0;
}

void scheduling_stop(struct scheduling *s)
{
	if (!s)
		return;
	lock_take(&s->lock);
	s->stop = true;
	cond_wake_all(&s->cond);
	lock_give(&s->lock);
	pthread_join(s->thread, NULL);
	cond_destroy(&s->cond);
	lock_destroy(&s->lock);
	db_close(s->watch);
	db_close(s->db);
	free(s);
}
