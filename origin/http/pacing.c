/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pacing.c - who is sending, and what each may have.
 *
 * Transfers are counted per server, not listed: all of one server get the same
 * rate, so a join or a leave is a number and the sharing is over servers. Nor
 * need it be known which deadline a transfer serves: a server is given its
 * orders in the order in which they are due, so it is due as its first one is.
 *
 * What is measured is in pacing_tick.c.
 */
#include "origin/http/pacing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "origin/http/pacing_impl.h"
#include "origin/locks.h"

/* ---- making ------------------------------------------------------------ */

static int open_interface(const struct pacing_config *c, int *ret,
			  struct err *e)
{
	char path[256];
	int fd;

	/* The name becomes part of a path. */
	if (strchr(c->link_if, '/') || c->link_if[0] == '.' ||
	    strlen(c->link_if) > 15)
		return err_set(e, ENODEV, "'%s' is not the name of a network "
			       "interface: see `ip link`", c->link_if);
	snprintf(path, sizeof(path), "%s/%s/statistics/tx_bytes",
		 c->sysfs ? c->sysfs : "/sys/class/net", c->link_if);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, ENODEV,
			       "no network interface '%s': see `ip link`",
			       c->link_if);
	*ret = fd;
	return 0;
}

int pacing_new(const struct pacing_config *c, int64_t now_s,
	       struct pacing **ret, struct err *e)
{
	struct pacing *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	p->tx_fd = -1;
	p->link_bps = RATE_UNLIMITED;
	p->demand_bps = c->demand_bps;
	r = rates_parse(c->prefetch_rate, "", &p->table, e);
	if (!r && c->link_if) {
		r = open_interface(c, &p->tx_fd, e);
		p->link_bps = c->link_bps;
	}
	if (r) {
		free(p);
		return r;
	}
	p->reader_flow_bps = c->demand_bps;
	/* Nothing is measured yet: as if the line were idle. */
	p->stats.table_bps = rates_at(&p->table, now_s);
	p->stats.budget_bps = pace_budget(
		&p->pace, &(struct pace_input){.table_bps = p->stats.table_bps,
					       .link_bps = p->link_bps});
	p->stats.link_known = p->tx_fd >= 0;
	lock_init(&p->lock, LOCK_PACING);
	*ret = p;
	return 0;
}

static void server_free(struct pacing *p, struct pacing_server *s)
{
	HASH_DEL(p->server, s);
	free(s->table);
	free(s);
}

void pacing_free(struct pacing *p)
{
	struct pacing_server *s, *next;

	if (!p)
		return;
	HASH_ITER(hh, p->server, s, next)
		server_free(p, s);
	if (p->tx_fd >= 0)
		close(p->tx_fd);
	lock_destroy(&p->lock);
	free(p);
}

void pacing_count(struct pacing *p, const struct pacing_flow *f,
		  enum wire_class c, uint64_t bytes)
{
	__atomic_add_fetch(&p->sent[c], bytes, __ATOMIC_RELAXED);
	if (f->server)
		__atomic_add_fetch(&f->server->sent, bytes, __ATOMIC_RELAXED);
}

/* ---- sharing ----------------------------------------------------------- */

static void set_bps(uint64_t *where, uint64_t bps)
{
	__atomic_store_n(where, bps, __ATOMIC_RELAXED);
}

void pacing_share_locked(struct pacing *p)
{
	CLEAN_FREE struct pace_group *group =
		calloc(HASH_COUNT(p->server) + 1, sizeof(*group));
	struct pacing_server *s, *next;
	size_t n = 0;

	/* Without memory the rates stay as they are until the next tick. */
	if (!group)
		return;
	HASH_ITER(hh, p->server, s, next)
		if (s->n_flows > 0)
			group[n++] = (struct pace_group){
				.cap_bps = s->cap_bps < s->line_bps
						   ? s->cap_bps
						   : s->line_bps,
				.rank = s->rank,
				.n_flows = s->n_flows,
				.took_bps = s->took_bps,
				.gave_bps = s->gave_bps,
				.who = s};
	pace_share(p->stats.budget_bps, group, n);
	for (size_t i = 0; i < n; i++) {
		s = group[i].who;
		s->bps = group[i].bps;
		set_bps(&s->flow_bps, s->bps == RATE_UNLIMITED
					      ? RATE_UNLIMITED
					      : s->bps / s->n_flows);
	}
}

static void share_readers_locked(struct pacing *p)
{
	uint64_t bps = p->demand_bps;

	if (bps != RATE_UNLIMITED && p->n_readers > 0)
		bps /= p->n_readers;
	if (bps < PACE_FLOW_MIN_BPS)
		bps = PACE_FLOW_MIN_BPS;
	set_bps(&p->reader_flow_bps, bps);
}

/* ---- transfers --------------------------------------------------------- */

static struct pacing_server *find_locked(struct pacing *p, const char *name)
{
	struct pacing_server *s;

	HASH_FIND_STR(p->server, name, s);
	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	strncat(s->name, name, sizeof(s->name) - 1);
	s->rank = PACE_RANK_LAST;
	s->cap_bps = RATE_UNLIMITED;
	s->cap_until_s = INT64_MAX;
	s->line_bps = RATE_UNLIMITED;
	s->rtt_us = s->base_us = UINT64_MAX;
	HASH_ADD_STR(p->server, name, s);
	return s;
}

static void drop_unused_locked(struct pacing *p, struct pacing_server *s)
{
	if (s->n_flows == 0 && !s->listed)
		server_free(p, s);
}

static int join_prefetch_locked(struct pacing *p, struct pacing_flow *f,
				const char *server)
{
	struct pacing_server *s = find_locked(p, server);

	if (!s)
		return -ENOMEM;
	if (p->stats.budget_bps == 0 || s->cap_bps == 0) {
		drop_unused_locked(p, s);
		return -EAGAIN;
	}
	if (s->n_flows++ == 0)
		set_bps(&s->flow_bps, PACE_FLOW_MIN_BPS);
	p->n_prefetch++;
	f->server = s;
	pacing_share_locked(p);
	return 0;
}

int pacing_join(struct pacing *p, struct pacing_flow *f, enum wire_class c,
		const char *server)
{
	int r = 0;

	f->server = NULL;
	f->joined = false;
	/* Readers without a cap need no account. */
	if (c != CLASS_PREFETCH && p->demand_bps == RATE_UNLIMITED)
		return 0;
	LOCK_SCOPE(&p->lock);
	if (c == CLASS_PREFETCH) {
		r = join_prefetch_locked(p, f, server);
	} else {
		p->n_readers++;
		share_readers_locked(p);
	}
	f->joined = r == 0;
	return r;
}

uint64_t pacing_rate(struct pacing *p, const struct pacing_flow *f)
{
	if (!f->joined)
		return RATE_UNLIMITED;
	return __atomic_load_n(f->server ? &f->server->flow_bps
					 : &p->reader_flow_bps,
			       __ATOMIC_RELAXED);
}

void pacing_leave(struct pacing *p, struct pacing_flow *f)
{
	if (!f->joined)
		return;
	LOCK_SCOPE(&p->lock);
	if (f->server) {
		f->server->n_flows--;
		p->n_prefetch--;
		drop_unused_locked(p, f->server);
		pacing_share_locked(p);
	} else {
		p->n_readers--;
		share_readers_locked(p);
	}
	f->server = NULL;
	f->joined = false;
}

/* ---- what is known of the servers -------------------------------------- */

void pacing_look_up_cap(struct pacing_server *s, int64_t now_s)
{
	s->cap_bps = RATE_UNLIMITED;
	s->cap_until_s = INT64_MAX;
	if (!s->table)
		return;
	s->cap_bps = rates_at(s->table, now_s);
	s->cap_until_s = rates_next_change(s->table, now_s);
}

static int set_server_locked(struct pacing *p, const struct pacing_entry *e,
			     int64_t now_s)
{
	struct pacing_server *s = find_locked(p, e->server);
	struct rates *table = malloc(sizeof(*table));

	if (!s || !table) {
		free(table);
		return -ENOMEM;
	}
	if (rates_of_server(e->rates, e->zone, table)) {
		free(table);
		table = NULL;
	}
	free(s->table);
	s->table = table;
	s->rank = e->rank;
	s->listed = true;
	pacing_look_up_cap(s, now_s);
	return 0;
}

/* As one that nobody has heard of. */
static void forget_locked(struct pacing *p, struct pacing_server *s)
{
	free(s->table);
	s->table = NULL;
	s->rank = PACE_RANK_LAST;
	s->listed = false;
	pacing_look_up_cap(s, 0);
	drop_unused_locked(p, s);
}

int pacing_set_servers(struct pacing *p, const struct pacing_entry *e,
		       size_t n, int64_t now_s)
{
	struct pacing_server *s, *next;
	int r = 0;

	LOCK_SCOPE(&p->lock);
	HASH_ITER(hh, p->server, s, next)
		s->listed = false;
	for (size_t i = 0; i < n && !r; i++)
		r = set_server_locked(p, &e[i], now_s);
	HASH_ITER(hh, p->server, s, next)
		if (!s->listed && !r)
			forget_locked(p, s);
	pacing_share_locked(p);
	return r;
}

void pacing_get(struct pacing *p, struct pacing_stats *ret)
{
	LOCK_SCOPE(&p->lock);
	*ret = p->stats;
	ret->n_prefetch = p->n_prefetch;
	ret->n_readers = p->n_readers;
}
