/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace.h - the arithmetic of pacing: how much prefetch may send, and how that
 * is shared. Pure: no sockets, no clock, no lock. pacing.h measures, calls
 * this four times a second and applies the outcome.
 *
 * Rates are bytes per second; RATE_UNLIMITED (units.h) is "no limit", 0 is
 * "none". Readers' traffic is demand, look-ahead and fill together: all that
 * goes before prefetch (R5).
 */
#ifndef STAGEFS_ORIGIN_HTTP_PACE_H
#define STAGEFS_ORIGIN_HTTP_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACE_TICKS_PER_S 4

/* Prefetch is never squeezed below this by other traffic, or a plan would
 * starve on a busy line. A time table that says less is obeyed. */
#define PACE_FLOOR_BPS (UINT64_C(1) << 20)
/*
 * What a transfer that has begun gets at the least. A higher rate is felt when
 * the packet under way has gone at the lower one: up to 64 KiB of segments,
 * four seconds (tcp_update_skb_after_send in the kernel).
 */
#define PACE_FLOW_MIN_BPS (UINT64_C(16) << 10)

/* ---- the budget of all prefetch together ------------------------------- */

struct pace_input {
	uint64_t table_bps;    /* time table, now */
	uint64_t link_bps;     /* of the interface; RATE_UNLIMITED: not known */
	uint64_t other_bps;    /* on the interface, and not ours */
	uint64_t reader_bps;   /* measured over the last second */
	uint64_t prefetch_bps; /* the same */
};

/* Zeroed at the start. */
struct pace {
	bool yielding;
	uint64_t yield_bps;
};

/*
 * The budget until the next tick.
 *
 * With a link rate: what the others leave of it. While readers are served a
 * quarter of that stays free, so that their share can grow: a link that is
 * exactly full would look content to both.
 *
 * Without one, nobody knows what the line can carry. While readers are served,
 * prefetch falls to an eighth of what it had, at once, and when they are done
 * grows by a quarter each tick (ten times in 2.5 s) until it meets its table.
 */
uint64_t pace_budget(struct pace *p, const struct pace_input *in);

/* ---- sharing it -------------------------------------------------------- */

#define PACE_RANK_LAST SIZE_MAX

/* The transfers of one server. */
struct pace_group {
	uint64_t cap_bps; /* the server's own time table, now */
	size_t rank;	  /* lower goes first: it is due earlier */
	unsigned n_flows; /* > 0 */
	uint64_t took_bps; /* lately, ... */
	uint64_t gave_bps; /* ... of what it was given; 0: not known */
	uint64_t bps;	   /* out: all of them together */
	uint64_t more_bps; /* pace_share's own */
	void *who;	   /* the caller's */
};

/*
 * Earliest deadline first, as the schedule reckons (schedule/flow.h): in order
 * of rank each group gets what it can take, until nothing is left. That is its
 * cap, and no more than a quarter above what it took if it was given more than
 * it took: a server behind a slow line does not keep the others waiting. Groups
 * of one rank share equally per flow (max-min fair), and so do all what is left
 * when each has what it can take: it may be able to take more.
 *
 * Before all that each flow gets PACE_FLOW_MIN_BPS, so that it does not stall;
 * only for that is the budget, or a cap, ever exceeded. Changes the order of
 * `g`.
 */
void pace_share(uint64_t budget_bps, struct pace_group *g, size_t n);

/* ---- backing off ------------------------------------------------------- */

/*
 * Packets that wait longer than this on the way are a queue: others who want
 * the same line feel it. LEDBAT (RFC 6817), which fetches in the background by
 * the same rule, waits for 100 ms; its successor for 60.
 */
#define PACE_QUEUE_US 60000

/* The line to one server. Zeroed at the start. */
struct pace_line {
	uint64_t bps; /* 0: no limit is known */
};

/*
 * Once a tick. What the line gives prefetch until the next: at the first sign
 * of a queue three quarters of what was taken, an eighth less with each tick
 * that it lasts, a sixteenth more with each that it does not; never below
 * PACE_FLOOR_BPS. RATE_UNLIMITED while nothing queues.
 */
uint64_t pace_line(struct pace_line *l, uint64_t queue_us, uint64_t took_bps);

/* ---- measuring --------------------------------------------------------- */

/* A rate over about the last second, out of a counter that only grows. */
struct pace_meter {
	unsigned n;
	struct {
		uint64_t time_ns, total;
	} sample[PACE_TICKS_PER_S + 1]; /* newest first */
};

/* Once a tick; 0 for the first. A counter that went back starts anew. */
uint64_t pace_measure(struct pace_meter *m, uint64_t now_ns, uint64_t total);

#endif
