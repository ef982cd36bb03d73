/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule_room.c - space: a ledger per server.
 *
 * The ledger starts as the descriptor has it: what is free, and a row per
 * stored image with the moment until which it must stay. Tasks are entered in
 * the order in which they begin. Each takes what is free, then evicts rows
 * whose moment has passed, in stored order, as the server will. If these do
 * not do, the task waits for the next row's moment. Then it becomes a row
 * itself. So the sum never changes: nothing is planned above the capacity.
 *
 * A row that another task will need is left alone from when that begins until
 * its hold ends, whichever is due first: once held, it is held. Before, it may
 * go, and is then fetched again.
 *
 * What an eviction in the future frees beyond its need is a nameless row until
 * then: an earlier task must not build on it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "origin/schedule/schedule_impl.h"

#define NEVER INT64_MAX

struct row {
	uint64_t id, bytes, seq;
	const char *name; /* NULL: nameless */
	int64_t kept_s;	  /* must stay until then */
	int64_t gone_s;	  /* evicted then; NEVER: not as far as planned */
	bool open;
	const struct task *task; /* who need it */
	size_t n_tasks;
};

struct ledger {
	uint64_t free_bytes;
	uint64_t next_seq;
	struct row *row; /* in stored order */
	size_t n;
};

static int by_seq(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Planned evictions of later than `at` have not come then. */
static struct row *row_of(struct ledger *l, uint64_t id, int64_t at)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->row[i].id == id && l->row[i].gone_s > at &&
		    l->row[i].name)
			return &l->row[i];
	return NULL;
}

/* Tasks are sorted by version: those of one stand together. */
static void find_tasks(const struct plan_run *p, size_t s, struct row *r)
{
	size_t lo = p->first_task[s], hi = p->first_task[s + 1], end = hi;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->task[mid].id < r->id)
			lo = mid + 1;
		else
			hi = mid;
	}
	r->task = &p->task[lo];
	while (lo + r->n_tasks < end && r->task[r->n_tasks].id == r->id)
		r->n_tasks++;
}

/* From when on it may go, if not at this time; else this time. */
static int64_t may_go(const struct row *r, int64_t at)
{
	if (r->kept_s > at)
		return r->kept_s;
	for (size_t i = 0; i < r->n_tasks; i++)
		if (r->task[i].release_s <= at && at < r->task[i].hold_end_s)
			return r->task[i].hold_end_s;
	return at;
}

static void keep(struct row *r, int64_t until_s)
{
	if (r && r->kept_s < until_s)
		r->kept_s = until_s;
}

static int ledger_init(struct ledger *l, const struct plan_run *p, size_t s)
{
	const struct sched_server *srv = &p->in->server[s];
	size_t first = p->first_task[s], end = p->first_task[s + 1];
	int64_t now = p->in->now_s;

	/* A task adds a row and perhaps a nameless one. */
	l->row = calloc(srv->n_images + 2 * (end - first) + 1,
			sizeof(*l->row));
	if (!l->row)
		return -ENOMEM;
	for (size_t i = 0; i < srv->n_images; i++) {
		const struct sched_image *m = &srv->image[i];

		l->row[l->n++] = (struct row){
			.id = m->id,
			.bytes = m->stored_bytes,
			.seq = m->stored_seq,
			.name = m->name,
			.open = m->open,
			.gone_s = NEVER,
			.kept_s = m->held_until_s > now ? m->held_until_s : 0,
		};
		if (m->open)
			keep(&l->row[i], now + OPEN_S);
		find_tasks(p, s, &l->row[i]);
		if (m->stored_seq >= l->next_seq)
			l->next_seq = m->stored_seq + 1;
	}
	qsort(l->row, l->n, sizeof(*l->row), by_seq);
	l->free_bytes = srv->free_bytes;
	return 0;
}

/*
 * The server may count blocks that a prefetch under way is about to store as
 * reserved, or not yet; they are entered as the task's, so they are free here.
 */
static void unreserve(struct ledger *l, const struct plan_run *p, size_t s)
{
	uint64_t missing = 0, reserved = p->in->server[s].reserved_bytes;

	for (size_t i = p->first_task[s]; i < p->first_task[s + 1]; i++) {
		const struct task *t = &p->task[i];

		if (t->open_prefetch != SIZE_MAX && !t->complete)
			missing += t->size_bytes - t->stored_bytes;
	}
	l->free_bytes += missing < reserved ? missing : reserved;
}

/* All that could go at this time, and when more can (NEVER). */
static uint64_t evictable(const struct ledger *l, uint64_t own, int64_t at,
			  int64_t *ret_more)
{
	uint64_t sum = 0;
	int64_t more = NEVER;

	for (size_t i = 0; i < l->n; i++) {
		const struct row *r = &l->row[i];
		int64_t go;

		if (r->gone_s != NEVER || (r->name && r->id == own))
			continue;
		go = may_go(r, at);
		if (go == at)
			sum += r->bytes;
		else if (go < more)
			more = go;
	}
	*ret_more = more;
	return sum;
}

static int add_victim(struct plan_run *p, struct task *t, const struct row *r)
{
	struct schedule *out = p->out;

	if (out->n_victims == p->victims_room) {
		size_t room = p->victims_room ? 2 * p->victims_room : 64;
		void *more = realloc(out->victim, room * sizeof(*out->victim));

		if (!more)
			return -ENOMEM;
		out->victim = more;
		p->victims_room = room;
	}
	out->victim[out->n_victims++] =
		(struct sched_victim){r->id, r->bytes, r->name};
	t->n_victims++;
	return 0;
}

/* Takes `need` bytes at this time; they are known to be there. */
static int take(struct plan_run *p, struct ledger *l, struct task *t,
		uint64_t need, int64_t at)
{
	uint64_t have = l->free_bytes;
	bool evicted = false;
	int rc = 0;

	t->victim = p->out->n_victims;
	for (size_t i = 0; have < need && i < l->n && !rc; i++) {
		struct row *r = &l->row[i];

		if (r->gone_s != NEVER || may_go(r, at) > at ||
		    (r->name && r->id == t->id))
			continue;
		have += r->bytes;
		r->gone_s = at;
		evicted = true;
		if (r->name && r->bytes)
			rc = add_victim(p, t, r);
	}
	l->free_bytes = have - need;
	if (at > p->in->now_s && evicted && l->free_bytes) {
		l->row[l->n++] = (struct row){.bytes = l->free_bytes,
					      .kept_s = at,
					      .gone_s = NEVER,
					      .seq = l->next_seq++};
		l->free_bytes = 0;
	}
	return rc;
}

/* "held: a.iso, b.iso; open: c.iso" for the message. */
static void name_holders(const struct ledger *l, struct task *t, int64_t at)
{
	size_t n = 0, shown = 0;

	for (size_t i = 0; i < l->n; i++) {
		const struct row *r = &l->row[i];
		int k;

		if (r->gone_s != NEVER || !r->name || r->id == t->id ||
		    may_go(r, at) == at)
			continue;
		if (++shown > 3)
			break;
		k = snprintf(t->holders + n, sizeof(t->holders) - n, "%s%s %s",
			     shown > 1 ? ", " : "", r->name,
			     r->open ? "(open)" : "(held)");
		if (k < 0 || (size_t)k >= sizeof(t->holders) - n)
			break;
		n += (size_t)k;
	}
	if (shown > 3)
		snprintf(t->holders + n, sizeof(t->holders) - n, ", ...");
}

/* The whole of what the server could ever free for it. */
static uint64_t could_have(const struct ledger *l, uint64_t own)
{
	uint64_t sum = l->free_bytes;

	for (size_t i = 0; i < l->n; i++)
		if (l->row[i].gone_s == NEVER &&
		    !(l->row[i].name && l->row[i].id == own))
			sum += l->row[i].bytes;
	return sum;
}

static int enter(struct plan_run *p, struct ledger *l, struct task *t)
{
	int64_t now = p->in->now_s, more = NEVER;
	int64_t at = t->release_s > now ? t->release_s : now;
	struct row *own = row_of(l, t->id, at);
	uint64_t stored = own ? own->bytes : 0;
	uint64_t need = t->size_bytes > stored ? t->size_bytes - stored : 0;
	bool under_way = t->open_prefetch != SIZE_MAX;
	int rc;

	t->start_s = at;
	t->missing_bytes = need;
	if (need == 0) {
		keep(own, t->hold_end_s);
		return 0;
	}
	/* A report may be ahead of the descriptor: there is less to transfer
	 * than there is to find room for. */
	if (t->reported_bytes > stored)
		t->missing_bytes = t->size_bytes - t->reported_bytes;
	if (t->size_bytes > p->in->server[t->server].capacity_bytes ||
	    could_have(l, t->id) < need) {
		t->blocked = ROOM_NEVER;
		return 0;
	}
	while (l->free_bytes + evictable(l, t->id, at, &more) < need) {
		if (at == t->start_s)
			name_holders(l, t, at);
		/* The server itself says no if there is really no room. */
		if (under_way || more >= t->hold_end_s) {
			t->blocked = under_way ? ROOM_FOUND : ROOM_HELD;
			return 0;
		}
		at = more;
		t->blocked = ROOM_LATER;
	}
	rc = take(p, l, t, need, at);
	t->start_s = at;
	own = row_of(l, t->id, at);
	if (!own) {
		own = &l->row[l->n++];
		*own = (struct row){.id = t->id, .name = t->name,
				    .gone_s = NEVER,
				    .seq = l->next_seq++};
		find_tasks(p, t->server, own);
	}
	own->bytes = t->size_bytes;
	keep(own, t->hold_end_s);
	return rc;
}

/* Those under way first, then as they may begin. */
static int by_begin(const void *a, const void *b, void *arg)
{
	const struct plan_run *p = arg;
	const struct task *x = &p->task[*(const size_t *)a];
	const struct task *y = &p->task[*(const size_t *)b];
	bool bx = task_begun(p, x), by = task_begun(p, y);
	bool ox = x->open_prefetch != SIZE_MAX;
	bool oy = y->open_prefetch != SIZE_MAX;

	if (ox != oy)
		return ox ? -1 : 1;
	if (bx != by)
		return bx ? -1 : 1;
	if (!bx && x->release_s != y->release_s)
		return x->release_s < y->release_s ? -1 : 1;
	return task_cmp(x, y);
}

static int server_room(struct plan_run *p, size_t s, size_t *order)
{
	size_t first = p->first_task[s], n = p->first_task[s + 1] - first;
	struct ledger l = {0};
	int rc;

	for (size_t i = 0; i < n; i++)
		order[i] = first + i;
	if (!p->in->server[s].known) {
		for (size_t i = 0; i < n; i++) {
			p->task[first + i].blocked = ROOM_UNKNOWN;
			p->task[first + i].start_s =
				p->task[first + i].release_s;
		}
		return 0;
	}
	qsort_r(order, n, sizeof(*order), by_begin, p);
	rc = ledger_init(&l, p, s);
	if (!rc)
		unreserve(&l, p, s);
	for (size_t i = 0; i < n && !rc; i++)
		rc = enter(p, &l, &p->task[order[i]]);
	free(l.row);
	return rc;
}

int room_find(struct plan_run *p)
{
	size_t *order = calloc(p->n_tasks + 1, sizeof(*order));
	int rc = order ? 0 : -ENOMEM;

	for (size_t s = 0; s < p->in->n_servers && !rc; s++)
		if (p->first_task[s] < p->first_task[s + 1])
			rc = server_room(p, s, order);
	free(order);
	return rc;
}
