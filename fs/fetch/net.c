/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - the network thread: rounds of look (what changed), act (end, start,
 * pause, resume transfers), let curl work, sleep until something happens.
 *
 * Who gets a connection (R5): classes in their order, oldest first. The lower
 * a class, the more connections it has to leave free, so that demand finds one
 * at once. While demand is in flight no fill or prefetch starts and those that
 * run are paused; TCP's window then keeps the rest at the origin.
 *
 * curl_multi_poll rather than an event library: some dozens of sockets, and
 * the loop is bounded by hashing.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include <utlist.h>

#include "common/bitmap.h"
#include "common/clock.h"
#include "common/pulse.h"
#include "fs/fetch/task.h"

#define POLL_MAX_MS 1000
/* Tasks that cannot go now and are passed over, per class and round. */
#define LOOK_MAX 64
/* A paused transfer is given up after that: the origin's side costs too. */
#define PAUSE_MAX_NS (30 * NS_PER_S)
/* A prefetch that became urgent is asked for again, unpaced, unless it ends
 * by itself within this time. */
#define RESTART_NS (200 * NS_PER_MS)
/*
 * An origin answers prefetch when its rate allows it, which may be in hours
 * (stagefs-protocol(7)): until the first byte comes, silence is no stall. A
 * peer that is gone is found by TCP's keepalive. After this time the window is
 * asked for again, in case something between us forgot it.
 */
#define HELD_MAX_NS (900 * NS_PER_S)
/* A peer that sends a byte now and then would keep a block for ever. Slower
 * than a modem for as long as a stall lasts is one. */
#define TRICKLE_BPS 1024
/* What a cancelled transfer may still bring; a new connection costs more. */
#define NEARLY_DONE_BYTES (64u << 10)

/* ---- look ------------------------------------------------------------ */

/* May this transfer go on? Reads the task's marks. */
static enum fault cut_locked(const struct slot *s)
{
	const struct task *t = s->task;
	uint64_t left = s->last + 1 - s->pos, ran_ns;

	if (t->cut)
		return FAULT_CUT;
	if (t->cancelled)
		return s->head_ok && t->is_window && !s->f->quit &&
				       !s->paused && left < NEARLY_DONE_BYTES
			       ? FAULT_NONE
			       : FAULT_CUT;
	if (s->sent_class == CLASS_PREFETCH && t->class_ < CLASS_PREFETCH &&
	    t->is_window) {
		ran_ns = s->f->now_ns - s->start_ns - s->paused_ns;
		if ((double)left * (double)ran_ns >
		    (double)s->got_bytes * (double)RESTART_NS)
			return FAULT_CUT;
	}
	return FAULT_NONE;
}

static bool trickles(struct slot *s)
{
	uint64_t ms = s->f->stall_ms;
	uint64_t bytes = s->got_bytes - s->mark_bytes;

	if (!s->head_ok || s->f->now_ns - s->mark_ns < ms * NS_PER_MS)
		return false;
	s->mark_ns = s->f->now_ns;
	s->mark_bytes = s->got_bytes;
	return bytes * 1000 < TRICKLE_BPS * ms;
}

static enum fault late(struct slot *s)
{
	uint64_t now_ns = s->f->now_ns;
	bool prefetch = s->sent_class == CLASS_PREFETCH;
	/* For who waits a head that comes byte by byte is no progress. */
	uint64_t since_ns = s->head_ok || prefetch ? s->last_ns : s->start_ns;
	uint64_t quiet_ns = now_ns - since_ns;

	if (s->paused)
		return now_ns - s->paused_since_ns > PAUSE_MAX_NS ? FAULT_CUT
								  : FAULT_NONE;
	if (prefetch && s->header_bytes == 0)
		return quiet_ns > HELD_MAX_NS ? FAULT_CUT : FAULT_NONE;
	if (quiet_ns > s->f->stall_ms * NS_PER_MS || (!prefetch && trickles(s)))
		return FAULT_STALL;
	return FAULT_NONE;
}

/* What others asked for since the last round. False: all is over. */
static bool look(struct fetch *f, struct task **ret_dead)
{
	bool on, was_dry = f->demand_dry;

	lock_take(&f->lock);
	on = !f->quit || f->n_live > 0;
	*ret_dead = f->dead;
	f->dead = NULL;
	f->demand_waits = f->demand_dry = false;
	for (unsigned i = 0; i < f->n_slots; i++) {
		struct slot *s = &f->slot[i];

		if (!s->task)
			continue;
		if (s->class_ != s->task->class_)
			atomic_store(&f->room, true); /* has other rights */
		s->class_ = s->task->class_;
		if (s->fault == FAULT_NONE || f->quit)
			s->fault = cut_locked(s);
		if (s->class_ != CLASS_DEMAND)
			continue;
		f->demand_waits = true;
		f->demand_dry |= s->dry;
	}
	lock_give(&f->lock);
	if (was_dry && !f->demand_dry)
		atomic_store(&f->room, true); /* others may ask again */
	return on;
}

static void end_dead(struct fetch *f, struct task *dead)
{
	while (dead) {
		struct task *t = dead;
		bool end;

		DL_DELETE(dead, t);
		lock_take(&f->lock);
		end = task_settle_locked(t);
		lock_give(&f->lock);
		if (end)
			task_end(t);
	}
}

static void cut_transfers(struct fetch *f)
{
	for (unsigned i = 0; i < f->n_slots; i++) {
		struct slot *s = &f->slot[i];
		enum fault lateness;

		if (!s->task)
			continue;
		lateness = late(s);
		if (s->fault == FAULT_NONE)
			s->fault = lateness;
		if (s->fault == FAULT_CUT || lateness != FAULT_NONE)
			slot_end(s, CURLE_ABORTED_BY_CALLBACK);
	}
}

/* ---- start ----------------------------------------------------------- */

static unsigned reserve(const struct fetch *f, enum wire_class c)
{
	static const unsigned eighths[CLASS_COUNT] = {
		[CLASS_DEMAND] = 0,
		[CLASS_LOOKAHEAD] = 1,
		[CLASS_FILL] = 2,
		[CLASS_PREFETCH] = 4,
	};
	unsigned n = (f->n_slots * eighths[c] + 7) / 8;

	return n < f->n_slots ? n : f->n_slots - 1;
}

struct choice {
	struct task *task;
	size_t source;
	int lost; /* 0, or why no source can give it */
	uint64_t first, end;
};

static void later(struct fetch *f, uint64_t when_ns)
{
	if (when_ns < f->wait_until_ns)
		f->wait_until_ns = when_ns;
}

static int pick(struct fetch *f, const struct task *t, uint32_t skip,
		struct choice *c, uint64_t *ret_when_ns)
{
	return sources_pick_except(f->sources, t->digest, skip,
				   t->class_ == CLASS_DEMAND, f->now_ns,
				   &c->source, ret_when_ns);
}

/* Can this one go now? */
static bool choose_one_locked(struct fetch *f, struct task *t, struct choice *c)
{
	uint64_t when_ns;
	int r;

	if (t->not_before_ns > f->now_ns) {
		later(f, t->not_before_ns);
		return false;
	}
	r = pick(f, t, t->absent | t->useless, c, &when_ns);
	if (r && t->useless) { /* the next round */
		t->useless = 0;
		r = pick(f, t, t->absent, c, &when_ns);
	}
	if (r == -EAGAIN) {
		later(f, when_ns);
		return false;
	}
	c->lost = r == -EBADMSG ? -EIO : r;
	return true;
}

static bool choose_locked(struct fetch *f, struct choice *c)
{
	*c = (struct choice){0};
	for (unsigned k = 0; k < CLASS_COUNT; k++) {
		unsigned looked = 0;
		struct task *t;

		if (k >= CLASS_FILL && f->demand_waits)
			return false;
		if (f->n_slots - f->n_running <= reserve(f, k))
			continue;
		DL_FOREACH(f->queue[k], t) {
			if (looked++ == LOOK_MAX)
				break;
			if (!choose_one_locked(f, t, c))
				continue;
			c->task = t;
			task_dequeue_locked(t);
			task_missing_locked(t, &c->first, &c->end);
			return true;
		}
	}
	return false;
}

/* No source can give what is missing of it. */
static void lose(struct task *t, int error)
{
	struct fetch_window *w = (struct fetch_window *)t;
	struct fetch *f = t->f;
	uint64_t i, to;
	bool end;

	lock_take(&f->lock);
	if (!t->is_window)
		((struct manifest_task *)t)->error = error;
	while (t->is_window && task_missing_locked(t, &i, &to)) {
		bitmap_set(w->got, i);
		lock_give(&f->lock);
		w->owner->lost(w->ctx, w->first + i, error);
		lock_take(&f->lock);
	}
	end = task_settle_locked(t);
	lock_give(&f->lock);
	if (end)
		task_end(t);
}

static struct slot *free_slot(struct fetch *f)
{
	for (unsigned i = 0; i < f->n_slots; i++)
		if (!f->slot[i].task)
			return &f->slot[i];
	abort(); /* n_running says that there is one */
}

static bool start_one(struct fetch *f)
{
	struct choice c;
	struct slot *s;
	bool found;

	lock_take(&f->lock);
	found = choose_locked(f, &c);
	if (found && !c.lost)
		f->n_running++;
	lock_give(&f->lock);
	if (!found)
		return false;
	if (c.lost) {
		lose(c.task, c.lost);
		return true;
	}
	s = free_slot(f);
	lock_take(&f->lock);
	s->class_ = c.task->class_;
	c.task->source = c.source;
	lock_give(&f->lock);
	if (s->class_ == CLASS_DEMAND)
		f->demand_waits = true;
	if (slot_start(s, c.task, c.source, c.first, c.end) < 0) {
		s->fault = FAULT_MEMORY;
		slot_end(s, CURLE_OUT_OF_MEMORY);
		return false;
	}
	return true;
}

/* ---- the loop -------------------------------------------------------- */

/* The more urgent first: buffers may be few. Now and then without being told
 * that there is room: it may have been the system that had no memory. */
static void resume_paused(struct fetch *f)
{
	bool room = atomic_exchange(&f->room, false) ||
		    f->now_ns - f->tried_room_ns > NS_PER_S;

	if (room)
		f->tried_room_ns = f->now_ns;
	for (unsigned k = 0; k < CLASS_COUNT; k++)
		for (unsigned i = 0; i < f->n_slots; i++) {
			struct slot *s = &f->slot[i];

			if (s->task && s->paused && s->class_ == k &&
			    (room || !s->dry))
				slot_resume(s);
		}
}

static bool end_finished(struct fetch *f)
{
	const CURLMsg *msg;
	bool any = false;
	int left;

	while ((msg = curl_multi_info_read(f->multi, &left))) {
		CURLcode code = msg->data.result;
		struct slot *s = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &s);
		slot_end(s, code);
		any = true;
	}
	return any;
}

static int sleep_ms(const struct fetch *f)
{
	uint64_t ms = f->stall_ms / 4 + 1;

	if (ms > POLL_MAX_MS)
		ms = POLL_MAX_MS;
	if (f->wait_until_ns <= f->now_ns)
		return 0;
	if (f->wait_until_ns - f->now_ns < ms * NS_PER_MS)
		ms = (f->wait_until_ns - f->now_ns) / NS_PER_MS + 1;
	return (int)ms;
}

void *net_main(void *arg)
{
	struct fetch *f = arg;
	struct task *dead;
	int running;

	pulse_name("fetch");
	for (;;) {
		pulse_expect();
		atomic_store(&f->woken, false);
		f->now_ns = clock_mono_ns();
		f->wait_until_ns = UINT64_MAX;
		if (!look(f, &dead))
			break;
		end_dead(f, dead);
		cut_transfers(f);
		while (start_one(f))
			;
		resume_paused(f);
		curl_multi_perform(f->multi, &running);
		if (!end_finished(f))
			curl_multi_poll(f->multi, NULL, 0, sleep_ms(f), NULL);
	}
	return NULL;
}
