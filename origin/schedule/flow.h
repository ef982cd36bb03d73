/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow.h - when transfers end that share one line: a fluid simulation.
 *
 * A transfer goes to one sink (a server) and has a rank; at any moment the
 * transfers that have started get, lowest rank first, as much of the shared
 * line as their sink's own line lets through, until nothing is left. Ranks by
 * deadline make it earliest deadline first. Lines are piecewise constant.
 *
 * Time is seconds from an origin that the caller chooses; bytes are not
 * rounded. Pure.
 */
#ifndef STAGEFS_ORIGIN_SCHEDULE_FLOW_H
#define STAGEFS_ORIGIN_SCHEDULE_FLOW_H

#include <stddef.h>

/* bps[i] holds from t[i] to t[i + 1], the last one for ever; t[0] is the first
 * moment. INFINITY is a line without a limit. */
struct flow_line {
	size_t n;
	double *t, *bps;
};

struct flow_task {
	size_t rank; /* 0 .. n - 1, each once */
	size_t sink;
	double start;
	double bytes; /* > 0 */
	double end;   /* result; INFINITY: not by `stop` */
};

/*
 * `shared` is never unlimited. sink[i] may point to one line for several
 * sinks. Runs from `from` until all is done, or `stop`. 0 or -ENOMEM.
 */
int flow_run(struct flow_task *task, size_t n, const struct flow_line *shared,
	     const struct flow_line *const *sink, size_t n_sinks, double from,
	     double stop);

/* -ENOMEM. Appending keeps t growing; a rate as before is left out. */
int flow_line_add(struct flow_line *l, double t, double bps);
void flow_line_free(struct flow_line *l);
double flow_line_at(const struct flow_line *l, double t);
/* The same line with time running backwards: t becomes -t. `end` is where it
 * ends (what follows is left out). */
int flow_line_mirror(const struct flow_line *l, double end,
		     struct flow_line *ret);

#endif
