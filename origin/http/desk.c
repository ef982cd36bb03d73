/* SPDX-License-Identifier: Apache-2.0 */
/*
 * desk.c - the queue, and the order requests that are held.
 *
 * A held request is looked at again when an order was added or the catalog
 * changed, which two numbers tell for all of them; PRAGMA data_version, a read
 * of shared memory, tells five times a second whether the two can have changed
 * at all. So a thousand idle servers cost nothing.
 *
 * Rejected: one handle per loop. A descriptor of a large server takes as long
 * as its fsync, and every transfer of that loop would wait for it.
 */
#include "origin/http/desk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/lock.h"
#include "common/log.h"
#include "origin/db/origindb.h"
#include "origin/http/answers.h"
#include "origin/locks.h"
#include "origin/servers/servers.h"

#define TICK_NS (200 * NS_PER_MS)
/* Bodies that wait. One descriptor may be 64 MiB. */
#define WAITING_MAX_BYTES (256u << 20)
#define JOBS_MAX 16384
#define HELD_PER_SERVER_MAX 4

struct desk {
	struct desk_config c; /* set once */
	pthread_t thread;

	struct lock lock; /* the queue */
	struct wait_cond cond;
	struct desk_job *queue;
	size_t queued_bytes;
	unsigned n_queued;
	bool woken, stop;

	/* The thread's own. */
	struct answers *answers;
	struct desk_job *held;
	unsigned n_held;
	int64_t data_version;
	struct answers_state state;
};

void desk_job_free(struct desk_job *job)
{
	if (!job)
		return;
	free(job->none_match);
	free(job->body);
	free(job);
}

void desk_reply_free(struct desk_reply *r)
{
	if (!r)
		return;
	text_put(r->body);
	free(r);
}

/* ---- held order requests ----------------------------------------------- */

static void send_reply(struct desk *d, struct desk_job *job,
		       struct desk_reply *r)
{
	/* Without a reply (no memory) the connection would wait for ever; the
	 * loop gives it up when it has waited too long. */
	if (r) {
		r->token = job->token;
		d->c.reply(job->loop, r);
	}
	desk_job_free(job);
}

/*
 * A server holds one request; after a lost connection two, until the time of
 * the first is up. Of more than a few the oldest is answered, with nothing.
 */
static void make_room(struct desk *d, const char *server)
{
	struct desk_job *job, *oldest = NULL;
	unsigned n = 0;

	DL_FOREACH(d->held, job) {
		if (job->until_ns == 0 ||
		    strcmp(job->match.server, server) != 0)
			continue;
		n++;
		if (!oldest || job->until_ns < oldest->until_ns)
			oldest = job;
	}
	if (n >= HELD_PER_SERVER_MAX)
		oldest->until_ns = 0;
}

/* Answers it if it is time, else leaves it with the held ones. */
static void try_orders(struct desk *d, struct desk_job *job, bool now)
{
	struct desk_reply *r = NULL;

	if (answers_orders(d->answers, job, now, &r)) {
		send_reply(d, job, r);
		return;
	}
	DL_APPEND(d->held, job);
	d->n_held++;
}

/* `all`: there may be something new; `end`: answer with what there is. */
static void retry_held(struct desk *d, bool all, bool end)
{
	struct desk_job *job, *next, *list = d->held;
	uint64_t now_ns = clock_mono_ns();

	d->held = NULL;
	d->n_held = 0;
	DL_FOREACH_SAFE(list, job, next) {
		bool due = end || now_ns >= job->until_ns;

		DL_DELETE(list, job);
		if (all || due) {
			try_orders(d, job, due);
			continue;
		}
		DL_APPEND(d->held, job);
		d->n_held++;
	}
}

static void forget_held(struct desk *d, const struct desk_job *cancel)
{
	struct desk_job *job, *next;

	DL_FOREACH_SAFE(d->held, job, next) {
		if (job->loop != cancel->loop || job->token != cancel->token)
			continue;
		DL_DELETE(d->held, job);
		d->n_held--;
		desk_job_free(job);
		return;
	}
}

static bool something_new(struct desk *d)
{
	struct answers_state now;
	int64_t version;

	if (db_data_version(answers_db(d->answers), &version))
		return true;
	if (version == d->data_version)
		return false;
	d->data_version = version;
	if (answers_look(d->answers, &now))
		return true;
	if (now.last_order == d->state.last_order &&
	    now.revision == d->state.revision)
		return false;
	d->state = now;
	return true;
}

/* ---- the thread -------------------------------------------------------- */

static void run_job(struct desk *d, struct desk_job *job)
{
	uint64_t now = clock_mono_ns();

	if (job->cancel) {
		forget_held(d, job);
		desk_job_free(job);
	} else if (job->match.route == ROUTE_ORDERS) {
		job->until_ns = now + job->match.wait_s * NS_PER_S;
		if (job->match.wait_s > 0)
			make_room(d, job->match.server);
		answers_seen(d->answers, job);
		try_orders(d, job, job->match.wait_s == 0);
	} else {
		send_reply(d, job, answers_make(d->answers, job));
	}
}

/* Waits for jobs, a wake or the tick; takes all jobs. */
static struct desk_job *take_queue(struct desk *d, bool *ret_stop)
{
	struct desk_job *jobs;

	LOCK_SCOPE(&d->lock);
	while (!d->queue && !d->woken && !d->stop) {
		if (d->n_held == 0)
			cond_wait(&d->cond, &d->lock);
		else if (cond_wait_until(&d->cond, &d->lock,
					 clock_mono_ns() + TICK_NS))
			break;
	}
	jobs = d->queue;
	d->queue = NULL;
	d->queued_bytes = 0;
	d->n_queued = 0;
	d->woken = false;
	*ret_stop = d->stop;
	return jobs;
}

static void *desk_main(void *arg)
{
	struct desk *d = arg;
	bool stop = false;

	pthread_setname_np(pthread_self(), "desk");
	while (!stop) {
		struct desk_job *job, *next,
			*jobs = take_queue(d, &stop);

		DL_FOREACH_SAFE(jobs, job, next) {
			DL_DELETE(jobs, job);
			run_job(d, job);
		}
		if (d->held)
			retry_held(d, something_new(d), stop);
	}
	return NULL;
}

/* ---- from the other threads -------------------------------------------- */

int desk_submit(struct desk *d, struct desk_job *job)
{
	LOCK_SCOPE(&d->lock);
	if (d->stop)
		return -EBUSY;
	/* A cancel is small, and refusing one helps nobody. */
	if (!job->cancel &&
	    (d->n_queued >= JOBS_MAX ||
	     (d->queued_bytes > 0 &&
	      d->queued_bytes + job->body_n > WAITING_MAX_BYTES)))
		return -EBUSY;
	DL_APPEND(d->queue, job);
	d->n_queued++;
	d->queued_bytes += job->body_n;
	cond_wake_one(&d->cond);
	return 0;
}

void desk_wake(struct desk *d)
{
	LOCK_SCOPE(&d->lock);
	d->woken = true;
	cond_wake_one(&d->cond);
}

int desk_start(const struct desk_config *c, struct desk **ret, struct err *e)
{
	struct desk *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	d->c = *c;
	r = answers_new(c, &d->answers, e);
	if (r) {
		free(d);
		return r;
	}
	lock_init(&d->lock, LOCK_DESK);
	cond_init(&d->cond);
	r = pthread_create(&d->thread, NULL, desk_main, d);
	if (r) {
		cond_destroy(&d->cond);
		lock_destroy(&d->lock);
		answers_free(d->answers);
		free(d);
		return err_set(e, r, "cannot start a thread: %s", strerror(r));
	}
	*ret = d;
	return 0;
}

void desk_stop(struct desk *d)
{
	if (!d)
		return;
	lock_take(&d->lock);
	d->stop = true;
	cond_wake_all(&d->cond);
	lock_give(&d->lock);
	pthread_join(d->thread, NULL);
}

void desk_free(struct desk *d)
{
	if (!d)
		return;
	cond_destroy(&d->cond);
	lock_destroy(&d->lock);
	answers_free(d->answers);
	free(d);
}
