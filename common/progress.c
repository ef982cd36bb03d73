/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.c - counting is one atomic add; whoever adds when a tenth of a
 * second has passed since the last drawing draws. No thread of its own: work
 * that stands still shows a bar that stands still.
 *
 * The rate is that of the last five seconds or so (an average that forgets),
 * as a mean over the whole run tells nothing after a pause.
 */
#include "common/progress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/units.h"

#define REDRAW_NS (100 * NS_PER_MS)
#define BAR_WIDTH 24
#define HALF_LIFE_S 3.0

struct progress {
	char label[64];
	uint64_t total;
	bool tty;
	atomic_uint_fast64_t done;
	atomic_uint_fast64_t next_ns; /* the next drawing is due */

	pthread_mutex_t drawing; /* protects what follows, and the line */
	uint64_t last_ns, last_done;
	double bps;
};

struct progress *progress_new(const char *label, uint64_t total_bytes)
{
	struct progress *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	snprintf(p->label, sizeof(p->label), "%s", label);
	p->total = total_bytes;
	p->tty = isatty(STDERR_FILENO);
	p->last_ns = clock_mono_ns();
	atomic_init(&p->next_ns, p->last_ns + REDRAW_NS);
	pthread_mutex_init(&p->drawing, NULL);
	return p;
}

static void update_rate(struct progress *p, uint64_t now, uint64_t done)
{
	double s = (double)(now - p->last_ns) / 1e9;
	double bps, keep;

	if (s <= 0)
		return;
	bps = done > p->last_done ? (double)(done - p->last_done) / s : 0;
	keep = s < 60 ? 1 / (1 + s / HALF_LIFE_S) : 0;
	p->bps = p->bps > 0 ? p->bps * keep + bps * (1 - keep) : bps;
	p->last_ns = now;
	p->last_done = done;
}

/* A line that wraps cannot be overwritten. */
static void print_cut(const char *line)
{
	struct winsize w = {0};
	int columns = 80;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1)
		columns = w.ws_col;
	fprintf(stderr, "\r%.*s\033[K", columns - 1, line);
	fflush(stderr);
}

static void draw(struct progress *p, uint64_t now)
{
	char bar[BAR_WIDTH + 1], line[256];
	char a[UNITS_TEXT], b[UNITS_TEXT], rate[UNITS_TEXT], left[UNITS_TEXT];
	uint64_t done = atomic_load(&p->done);
	double part;
	size_t full;

	if (done > p->total)
		done = p->total;
	update_rate(p, now, done);
	part = p->total ? (double)done / (double)p->total : 1;
	full = (size_t)(part * BAR_WIDTH);
	memset(bar, '-', BAR_WIDTH);
	memset(bar, '#', full);
	bar[BAR_WIDTH] = 0;
	if (p->bps >= 1)
		units_span((uint64_t)((double)(p->total - done) / p->bps) *
				   1000, left);
	else
		strcpy(left, "-");
	snprintf(line, sizeof(line), "%s  [%s]  %3d%%  %s/%s  %s  %s left",
		 p->label, bar, (int)(part * 100), units_size(done, a),
		 units_size(p->total, b),
		 units_rate((uint64_t)p->bps, rate), left);
	print_cut(line);
}

static void maybe_draw(struct progress *p)
{
	uint64_t now, due;

	if (!p->tty)
		return;
	now = clock_mono_ns();
	due = atomic_load(&p->next_ns);
	/* One of the threads that find it due wins. */
	if (now < due ||
	    !atomic_compare_exchange_strong(&p->next_ns, &due, now + REDRAW_NS))
		return;
	pthread_mutex_lock(&p->drawing);
	draw(p, clock_mono_ns());
	pthread_mutex_unlock(&p->drawing);
}

void progress_set(struct progress *p, uint64_t done_bytes)
{
	if (!p)
		return;
	atomic_store(&p->done, done_bytes);
	maybe_draw(p);
}

void progress_add(struct progress *p, uint64_t bytes)
{
	if (!p)
		return;
	atomic_fetch_add(&p->done, bytes);
	maybe_draw(p);
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	if (p->tty) {
		fprintf(stderr, "\r\033[K");
		fflush(stderr);
	}
	pthread_mutex_destroy(&p->drawing);
	free(p);
}
