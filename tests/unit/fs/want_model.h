/* SPDX-License-Identifier: Apache-2.0 */
/*
 * want_model.h - what may be asked for and what must be, as a few arrays: what
 * was touched, asked for and lost. The fetcher's functions are defined here,
 * so the library's own are not linked; they compare each call with the model
 * (R2, R5, R7) and keep the windows for the test to play. at_rest() compares
 * what is under way when nothing is left to do (R5 to R7). Included by
 * test_want.c alone.
 */
#ifndef STAGEFS_TESTS_WANT_MODEL_H
#define STAGEFS_TESTS_WANT_MODEL_H

#include <utlist.h>

#include "cache_fixture.h"
#include "fs/fetch/fetch.h"
#include "fs/read/stream.h"

#define ID 7
#define BLOCKS 96u
#define SIZE ((BLOCKS - 1) * (uint64_t)BLOCK + 1234)
#define WINDOW_BLOCKS 4u
#define AHEAD (12u * BLOCK)
#define FILL_AFTER (24u * BLOCK)

static const char *const class_name[] = {"demand", "look-ahead", "fill",
					 "prefetch"};

struct fetch_window {
	uint64_t first, n, given;
	enum wire_class class_;
	const struct fetch_owner *owner;
	void *ctx;
	bool cancelled;
	struct fetch_window *prev, *next;
};

struct a_read {
	struct read_request req;
	bool parked, answered;
	int error;
	struct a_read *prev, *next;
};

/* The run. */
static uint64_t op_no;
static struct reader r;
static struct fetch_window *flight;
static struct a_read *reads;
static struct prefetch *prefetch;
static bool manifest_asked;
static int last_class; /* of this look */
static struct {
	uint64_t starts[CLASS_COUNT], promotions, rounds, complete, errors;
} seen;
/* The model. */
static bool touched[BLOCKS]; /* by any read */
static uint64_t read_bytes;  /* since nothing was stored */
static uint64_t asked[BLOCKS], lost[BLOCKS];
static bool ever_prefetch, looked_at_open;

static struct stream *the_stream(void)
{
	uint64_t id = ID;
	struct stream *s;

	HASH_FIND(hh, r.streams, &id, sizeof(id), s);
	return s;
}

__attribute__((format(printf, 1, 2))) static void wrong(const char *fmt, ...)
{
	const struct fetch_window *w;
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "op %llu: ", (unsigned long long)op_no);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nin flight:");
	DL_FOREACH(flight, w)
		fprintf(stderr, " %llu+%llu %s",
			(unsigned long long)w->first,
			(unsigned long long)w->n, class_name[w->class_]);
	fprintf(stderr, "\n");
	abort();
}

static const struct fetch_window *window_of(uint64_t block)
{
	const struct fetch_window *w;

	DL_FOREACH(flight, w)
		if (block >= w->first && block < w->first + w->n)
			return w;
	return NULL;
}

/* Still to come, that is. */
static const struct fetch_window *in_flight(uint64_t block)
{
	const struct fetch_window *w = window_of(block);

	return w && block >= w->first + w->given ? w : NULL;
}

static bool in_memory(const struct stream *s, uint64_t block)
{
	struct held *h;

	HASH_FIND(hh, s->held, &block, sizeof(block), h);
	return h;
}

static bool there(const struct stream *s, uint64_t block)
{
	return version_has(s->v, block) || in_memory(s, block);
}

/* ---- the fetcher --------------------------------------------------------- */

static bool waited_for(uint64_t block)
{
	const struct a_read *a;

	DL_FOREACH(reads, a)
		if (a->parked && block >= a->req.offset / BLOCK &&
		    block <= (a->req.offset + a->req.size - 1) / BLOCK)
			return true;
	return false;
}

static void may_be_asked(const struct stream *s, uint64_t b,
			 enum wire_class class_)
{
	if (window_of(b) || there(s, b))
		wrong("block %llu asked for twice (R2)", (unsigned long long)b);
	if (class_ == CLASS_DEMAND && !waited_for(b))
		wrong("nobody waits for block %llu", (unsigned long long)b);
	if (!touched[b] && !ever_prefetch && read_bytes < FILL_AFTER)
		wrong("block %llu asked for as %s, only %llu bytes were read "
		      "(R7)", (unsigned long long)b, class_name[class_],
		      (unsigned long long)read_bytes);
	asked[b]++;
}

struct fetch_window *fetch_start(struct fetch *f, const struct manifest *m,
				 uint64_t first, uint64_t n,
				 enum wire_class class_, uint64_t order,
				 const struct fetch_owner *owner, void *ctx)
{
	struct fetch_window *w = calloc(1, sizeof(*w));

	(void)f, (void)order;
	if (n == 0 || first + n > m->n_blocks)
		wrong("window %llu+%llu", (unsigned long long)first,
		      (unsigned long long)n);
	if (class_ != CLASS_DEMAND && n > WINDOW_BLOCKS)
		wrong("a window of %llu", (unsigned long long)n);
	if ((int)class_ < last_class)
		wrong("%s after %s (R5)", class_name[class_],
		      class_name[last_class]);
	last_class = (int)class_;
	for (uint64_t b = first; b < first + n; b++)
		may_be_asked(the_stream(), b, class_);
	*w = (struct fetch_window){.first = first, .n = n, .class_ = class_,
				   .owner = owner, .ctx = ctx};
	DL_APPEND(flight, w);
	seen.starts[class_]++;
	return w;
}

void fetch_promote(struct fetch *f, struct fetch_window *w,
		   enum wire_class class_)
{
	(void)f;
	if (class_ >= w->class_)
		wrong("promoted to what it is");
	w->class_ = class_;
	seen.promotions++;
}

void fetch_cancel(struct fetch *f, struct fetch_window *w)
{
	(void)f;
	w->cancelled = true;
}

static void (*manifest_done)(void *ctx, struct manifest *m, int error);
static void *manifest_ctx;

uint64_t fetch_manifest(struct fetch *f, const struct digest *digest,
			enum wire_class class_,
			void (*done)(void *ctx, struct manifest *m, int error),
			void *ctx)
{
	(void)f, (void)digest, (void)class_;
	if (manifest_asked)
		wrong("the manifest is asked for twice");
	manifest_asked = true;
	manifest_done = done;
	manifest_ctx = ctx;
	return 1;
}

void fetch_manifest_cancel(struct fetch *f, uint64_t number)
{
	(void)f, (void)number;
}

uint64_t fetch_window_bytes(struct fetch *f)
{
	(void)f;
	return WINDOW_BLOCKS * BLOCK;
}

/* ---- at rest: is all that is wanted asked for? --------------------------- */

static unsigned windows_of(int up_to)
{
	const struct fetch_window *w;
	unsigned n = 0;

	DL_FOREACH(flight, w)
		n += (int)w->class_ <= up_to;
	return n;
}

static void demand_is_asked_for(const struct stream *s)
{
	const struct a_read *a;

	if (windows_of(CLASS_PREFETCH) > WINDOWS_DEMAND_MAX)
		wrong("too many windows");
	DL_FOREACH(reads, a) {
		uint64_t last = (a->req.offset + a->req.size - 1) / BLOCK;

		if (!a->parked)
			continue;
		for (uint64_t b = a->req.offset / BLOCK; b <= last; b++) {
			const struct fetch_window *w = in_flight(b);

			if (w && w->class_ != CLASS_DEMAND)
				wrong("a read waits for block %llu: %s (R5)",
				      (unsigned long long)b,
				      class_name[w->class_]);
			if (!window_of(b) && !there(s, b) &&
			    windows_of(CLASS_PREFETCH) < WINDOWS_DEMAND_MAX)
				wrong("a read waits for block %llu, which "
				      "nobody fetches", (unsigned long long)b);
		}
	}
}

/* R6. What is no whole window yet may be left to the fill, in the second half
 * of the look-ahead. */
static void ahead_is_asked_for(const struct stream *s)
{
	uint64_t front, b, end;

	for (unsigned i = 0; runs_nth(&s->runs, i, &front); i++) {
		end = (front / BLOCK + (front + AHEAD) / BLOCK) / 2;
		for (b = front / BLOCK; b <= end && b < BLOCKS; b++) {
			const struct fetch_window *w = in_flight(b);

			if (w && w->class_ > CLASS_LOOKAHEAD)
				wrong("block %llu ahead of %llu is %s (R6)",
				      (unsigned long long)b,
				      (unsigned long long)(front / BLOCK),
				      class_name[w->class_]);
			if (!window_of(b) && !there(s, b) &&
			    windows_of(CLASS_LOOKAHEAD) < WINDOWS_MAX)
				wrong("block %llu ahead of %llu is not asked "
				      "for (R6)", (unsigned long long)b,
				      (unsigned long long)(front / BLOCK));
		}
	}
}

static void rest_is_asked_for(const struct stream *s, enum wire_class class_)
{
	const struct fetch_window *w;

	DL_FOREACH(flight, w)
		if (w->class_ > class_)
			wrong("%llu is %s and not %s (R5)",
			      (unsigned long long)w->first,
			      class_name[w->class_], class_name[class_]);
	for (uint64_t b = 0; b < BLOCKS; b++)
		if (!window_of(b) && !there(s, b) &&
		    windows_of(CLASS_PREFETCH) < WINDOWS_MAX)
			wrong("block %llu is not asked for, %u windows (R7)",
			      (unsigned long long)b,
			      windows_of(CLASS_PREFETCH));
}

static void at_rest(void)
{
	struct stream *s = the_stream();

	if (!s || !version_manifest(s->v) || version_complete(s->v))
		return;
	demand_is_asked_for(s);
	if (s->engaged_bytes >= FILL_AFTER && s->opens) {
		if (!s->filling)
			wrong("read enough, and not filled (R7)");
		if (looked_at_open)
			ahead_is_asked_for(s);
	}
	if (s->filling)
		rest_is_asked_for(s, CLASS_FILL);
	else if (prefetch)
		rest_is_asked_for(s, CLASS_PREFETCH);
}

static void check_counts(void)
{
	for (uint64_t b = 0; b < BLOCKS; b++)
		if (asked[b] > 1 + lost[b])
			wrong("block %llu asked for %llu times, lost %llu "
			      "(R2)", (unsigned long long)b,
			      (unsigned long long)asked[b],
			      (unsigned long long)lost[b]);
}

#endif
