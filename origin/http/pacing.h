/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pacing.h - demand goes first, prefetch takes what is left.
 *
 * A transfer joins as it begins and leaves as it ends; in between its loop
 * asks for its rate four times a second and gives it to the kernel
 * (SO_MAX_PACING_RATE). pacing_tick measures and works the rates out anew
 * (pace.h); one thread calls it PACE_TICKS_PER_S times a second.
 *
 *	join --> rate, rate, ... --> leave
 *	  \-> -EAGAIN: no prefetch now; ask again later
 *
 * All functions may be called by any thread. A flow belongs to its loop.
 */
#ifndef STAGEFS_ORIGIN_HTTP_PACING_H
#define STAGEFS_ORIGIN_HTTP_PACING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/wire.h"

struct pacing;
struct pacing_server;

struct pacing_config {
	const char *prefetch_rate; /* time table (rates.h); NULL: unlimited */
	const char *link_if;	   /* interface, NULL: not known */
	uint64_t link_bps;	   /* what it can carry */
	uint64_t demand_bps;	   /* cap of readers; RATE_UNLIMITED: none */
	const char *sysfs;	   /* for tests; NULL: "/sys/class/net" */
};

/* -ENODEV: no such interface. */
int pacing_new(const struct pacing_config *c, int64_t now_s,
	       struct pacing **ret, struct err *e);
void pacing_free(struct pacing *p);

struct pacing_flow {
	struct pacing_server *server; /* pacing's; NULL: a reader's */
	bool joined;
};

/* Bytes of this flow that left, as they leave. */
void pacing_count(struct pacing *p, const struct pacing_flow *f,
		  enum wire_class c, uint64_t bytes);

/*
 * 0; or for a prefetch while its rate is none -EAGAIN. `server` is any name;
 * one that pacing_set_servers did not list goes last and has no table.
 */
int pacing_join(struct pacing *p, struct pacing_flow *f, enum wire_class c,
		const char *server);
/* RATE_UNLIMITED or bytes per second. */
uint64_t pacing_rate(struct pacing *p, const struct pacing_flow *f);
/* The round trip of its connection now, smoothed, and the shortest, as the
 * kernel has them (TCP_INFO): where packets queue, prefetch backs off. */
void pacing_observe(struct pacing *p, const struct pacing_flow *f,
		    uint64_t rtt_us, uint64_t min_rtt_us);
/* Fine for one that has not joined. */
void pacing_leave(struct pacing *p, struct pacing_flow *f);

/* Servers that have a time table, or something to prefetch. */
struct pacing_entry {
	char server[64];
	const char *rates; /* text; NULL, "" or a bad one: none */
	const char *zone;  /* the server's */
	size_t rank; /* of what is due first there; lower goes first (EDF).
			PACE_RANK_LAST: nothing */
};
/* Replaces those before. -ENOMEM. */
int pacing_set_servers(struct pacing *p, const struct pacing_entry *e,
		       size_t n, int64_t now_s);

void pacing_tick(struct pacing *p, uint64_t mono_ns, int64_t now_s);

struct pacing_stats {
	uint64_t table_bps, budget_bps; /* may be RATE_UNLIMITED */
	uint64_t prefetch_bps, reader_bps, other_bps, interface_bps;
	uint64_t sent[CLASS_COUNT];
	unsigned n_prefetch, n_readers; /* transfers; readers if capped */
	unsigned n_queueing; /* servers to which prefetch backs off */
	bool yielding, link_known;
};
void pacing_get(struct pacing *p, struct pacing_stats *ret);

#endif
