/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pacing_tick.c - what is measured, four times a second.
 *
 * What a server takes of what it is given is measured, since nobody has said
 * what its own line carries. It is the rates of the ticks that count as given;
 * joins between two of them change who shares for a quarter of a second at the
 * most.
 *
 * "Other traffic" is what the interface sent less what we sent. Our own bytes
 * are counted as they enter socket buffers, without packet heads, so a
 * sixteenth is added to them: heads are 4.5 % at an MTU of 1500.
 *
 * A queue on the way to a server is told by round trips that are longer than
 * they need be. A queue makes them longer for all transfers that go that way, a
 * busy receiver only for its own: so the shortest of a server's transfers is
 * what counts, against the shortest that any of them ever saw.
 */
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/units.h"
#include "origin/http/pacing_impl.h"

#define MEASURED_MAX_BPS (UINT64_C(1) << 40)
/* Routes change: so long a shortest round trip is believed. */
#define BASE_MAX_NS (600 * NS_PER_S)

static uint64_t read_counter(int fd)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	return n > 0 ? strtoull(text, NULL, 10) : 0;
}

static void measure(struct pacing *p, uint64_t now_ns, struct pacing_stats *s)
{
	uint64_t readers = 0, prefetch, interface = 0, own;

	for (int c = 0; c < CLASS_COUNT; c++) {
		s->sent[c] = __atomic_load_n(&p->sent[c], __ATOMIC_RELAXED);
		if (c != CLASS_PREFETCH)
			readers += s->sent[c];
	}
	prefetch = s->sent[CLASS_PREFETCH];
	if (p->tx_fd >= 0)
		interface = read_counter(p->tx_fd);
	s->prefetch_bps = pace_measure(&p->meter_prefetch, now_ns, prefetch);
	s->reader_bps = pace_measure(&p->meter_readers, now_ns, readers);
	s->interface_bps = pace_measure(&p->meter_interface, now_ns,
					interface);
	own = pace_measure(&p->meter_own, now_ns, readers + prefetch);
	own += own / 16;
	s->other_bps = s->interface_bps > own ? s->interface_bps - own : 0;
}

/*
 * Given is the lower of the rates of the last two ticks: a loop passes a new
 * one on within a tick, and one that has only just grown could not be taken.
 */
static void measure_server(struct pacing_server *s, uint64_t now_ns,
			   double span_s)
{
	uint64_t bps = s->bps < s->tick_bps ? s->bps : s->tick_bps;

	/* One without a limit counts as one that no line reaches. */
	if (bps > MEASURED_MAX_BPS)
		bps = MEASURED_MAX_BPS;
	if (s->n_flows > 0)
		s->given += (uint64_t)((double)bps * span_s);
	s->took_bps = pace_measure(&s->meter_took, now_ns,
				   __atomic_load_n(&s->sent, __ATOMIC_RELAXED));
	s->gave_bps = pace_measure(&s->meter_gave, now_ns, s->given);
}

/* How long the way to it makes packets wait, by what was seen since the last
 * tick. */
static uint64_t queue_us(struct pacing_server *s, uint64_t mono_ns)
{
	uint64_t rtt_us = s->rtt_us;

	s->rtt_us = UINT64_MAX;
	if (rtt_us == UINT64_MAX)
		return 0;
	if (mono_ns - s->base_ns > BASE_MAX_NS || rtt_us < s->base_us) {
		s->base_us = rtt_us;
		s->base_ns = mono_ns;
	}
	return rtt_us - s->base_us;
}

void pacing_observe(struct pacing *p, const struct pacing_flow *f,
		    uint64_t rtt_us, uint64_t min_rtt_us)
{
	struct pacing_server *s = f->server;

	if (!f->joined || !s || rtt_us == 0)
		return;
	LOCK_SCOPE(&p->lock);
	if (rtt_us < s->rtt_us)
		s->rtt_us = rtt_us;
	if (min_rtt_us > 0 && min_rtt_us < s->base_us)
		s->base_us = min_rtt_us;
}

static void tick_servers_locked(struct pacing *p, uint64_t mono_ns,
				int64_t now_s)
{
	double span_s = (double)(mono_ns - p->tick_ns) / (double)NS_PER_S;
	struct pacing_server *s, *next;

	HASH_ITER(hh, p->server, s, next) {
		if (s->table && now_s >= s->cap_until_s)
			pacing_look_up_cap(s, now_s);
		measure_server(s, mono_ns, p->tick_ns ? span_s : 0);
		s->line_bps = pace_line(&s->line, queue_us(s, mono_ns),
					s->took_bps);
		p->stats.n_queueing += s->line_bps != RATE_UNLIMITED;
	}
	p->tick_ns = mono_ns;
	pacing_share_locked(p);
	HASH_ITER(hh, p->server, s, next)
		s->tick_bps = s->n_flows > 0 ? s->bps : 0;
}

void pacing_tick(struct pacing *p, uint64_t mono_ns, int64_t now_s)
{
	struct pacing_stats now = {0};
	struct pace_input in;

	now.table_bps = rates_at(&p->table, now_s);
	measure(p, mono_ns, &now);
	now.link_known = p->tx_fd >= 0;
	in = (struct pace_input){.table_bps = now.table_bps,
				 .link_bps = p->link_bps,
				 .other_bps = now.other_bps,
				 .reader_bps = now.reader_bps,
				 .prefetch_bps = now.prefetch_bps};
	LOCK_SCOPE(&p->lock);
	now.budget_bps = pace_budget(&p->pace, &in);
	now.yielding = p->pace.yielding;
	p->stats = now;
	tick_servers_locked(p, mono_ns, now_s);
}
