/* SPDX-License-Identifier: Apache-2.0 */
/* pacing_impl.h - between pacing.c (who sends, what each may have) and
 * pacing_tick.c (what is measured). */
#ifndef STAGEFS_ORIGIN_HTTP_PACING_IMPL_H
#define STAGEFS_ORIGIN_HTTP_PACING_IMPL_H

#include <uthash.h>

#include "common/lock.h"
#include "origin/http/pace.h"
#include "origin/http/pacing.h"
#include "origin/schedule/rates.h"

struct pacing_server {
	char name[64]; /* key */
	bool listed;	     /* stays without transfers */
	size_t rank;
	struct rates *table; /* NULL: none */
	int64_t cap_until_s; /* when the table changes next */
	uint64_t cap_bps;
	unsigned n_flows;
	uint64_t bps;	   /* of all its flows */
	uint64_t tick_bps; /* as of the last tick; 0: had none then */
	uint64_t flow_bps; /* atomic: read without the lock */
	uint64_t sent;	   /* atomic: bytes */
	uint64_t given;	   /* bytes that it could have had */
	struct pace_meter meter_took, meter_gave;
	uint64_t took_bps, gave_bps;
	/* The line to it: round trips, in microseconds. */
	struct pace_line line;
	uint64_t line_bps; /* what it gives prefetch */
	uint64_t rtt_us;   /* lowest since the last tick; UINT64_MAX: none */
	uint64_t base_us;  /* lowest known: without a queue */
	uint64_t base_ns;  /* known since */
	UT_hash_handle hh;
};

struct pacing {
	/* Set once. */
	struct rates table;
	uint64_t link_bps, demand_bps;
	int tx_fd; /* the interface's tx_bytes, or -1 */

	/* Atomic. */
	uint64_t sent[CLASS_COUNT];
	uint64_t reader_flow_bps;

	/* The ticking thread's. */
	struct pace_meter meter_prefetch, meter_readers, meter_interface,
		meter_own;

	struct lock lock; /* the rest */
	struct pace pace;
	uint64_t tick_ns; /* the last */
	struct pacing_stats stats;
	struct pacing_server *server; /* hash */
	unsigned n_prefetch, n_readers;
};

/* Works out the rates of all prefetch anew. */
void pacing_share_locked(struct pacing *p);
/* What the server's table says now, and until when. */
void pacing_look_up_cap(struct pacing_server *s, int64_t now_s);

#endif
