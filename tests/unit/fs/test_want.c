/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked for, when, and as what: random readers, seeks, looks, closes,
 * prefetches and losses on one image, compared with what the promises allow.
 * One thread: the pump, the pool and the fetcher are played by the test, which
 * has the pump look at the stream only when it was rung, so a bell that is
 * not rung shows too.
 *
 *	R2	no block is asked for that is stored, in memory or in flight
 *	R5	demand, look-ahead, fill, prefetch, in that order; at rest
 *		whatever is wanted is asked for, up to the bounds on windows
 *	R6	what lies ahead of readers in sequence is under way
 *	R7	before fill-after bytes only what was touched is asked for;
 *		from then on all of it, in the end
 *
 * STAGEFS_SEED and STAGEFS_OPS in the environment change the run.
 */
#include <utlist.h>

#include "cache_fixture.h"
#include "common/lock.h"
#include "fs/fetch/fetch.h"
#include "fs/locks.h"
#include "fs/read/stream.h"

#define ID 7
#define BLOCKS 96u
#define SIZE ((BLOCKS - 1) * (uint64_t)BLOCK + 1234)
#define WINDOW_BLOCKS 4u
#define AHEAD (12u * BLOCK)
#define FILL_AFTER (24u * BLOCK)
#define READS_MAX 60
#define CURSORS 3
#define ROUNDS 300u

static const char *const class_name[] = {"demand", "look-ahead", "fill",
					 "prefetch"};

/* ---- the run ------------------------------------------------------------- */

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

static uint64_t rng, op_no;
static struct cache *c;
static struct reader r;
static struct manifest *manifest;
static struct buf_pool *bufs;
static struct stream *open_[4];
static unsigned n_open;
static struct fetch_window *flight;
static struct pool_job *jobs[512];
static unsigned n_jobs;
static struct a_read *reads;
static unsigned n_reads;
static struct prefetch *prefetch;
static bool manifest_asked;
static int last_class; /* of this look */
/* the model: */
static bool touched[BLOCKS]; /* by any read */
static uint64_t read_bytes;  /* since nothing was stored */
static uint64_t asked[BLOCKS], lost[BLOCKS];
static bool ever_prefetch, looked_at_open;
static struct {
	uint64_t starts[CLASS_COUNT], promotions, rounds, complete, errors;
} seen;

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % below;
}

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

/* ---- the fetcher and the pool -------------------------------------------- */

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

void pool_submit(struct pool *p, struct pool_job *job, unsigned class_)
{
	(void)p, (void)class_;
	if (n_jobs == sizeof(jobs) / sizeof(jobs[0]))
		wrong("too many jobs");
	jobs[n_jobs++] = job;
}

static struct manifest *manifest_make(void)
{
	struct digest *hash = calloc(BLOCKS, sizeof(*hash));
	struct manifest *m = NULL;

	if (manifest_build(SIZE, BLOCK, hash, &m))
		abort();
	return m;
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

/* The pump: those that were rung, and no others. */
static void pump(void)
{
	struct stream *s;

	while ((s = r.queue)) {
		r.queue = s->queue_next;
		if (!r.queue)
			r.queue_end = NULL;
		s->queued = false;
		last_class = -1;
		stream_look(s);
		looked_at_open |= s->opens > 0;
		last_class = -1;
		stream_put(s);
	}
	at_rest();
}

/* ---- operations ---------------------------------------------------------- */

static struct version_ident image(void)
{
	struct version_ident i = ident_of(ID, SIZE);

	i.digest = manifest->digest;
	return i;
}

static void op_open(void)
{
	struct version_ident i = image();

	if (n_open == sizeof(open_) / sizeof(open_[0]))
		return;
	if (reader_open(&r, &i, &open_[n_open]))
		wrong("open");
	n_open++;
}

static void op_close(void)
{
	if (!n_open)
		return;
	reader_close(open_[--n_open]);
	looked_at_open &= n_open > 0;
}

static void answered(struct read_request *req, const struct iovec *iov, int n,
		     int error)
{
	struct a_read *a = (struct a_read *)req;
	uint64_t at = req->offset, tag[2];

	if (a->answered)
		wrong("answered twice");
	a->answered = true;
	a->parked = false;
	a->error = error;
	seen.errors += error != 0;
	for (int i = 0; i < n; i++) {
		/* The beginning of a block says which it is. */
		if (at % BLOCK == 0 && iov[i].iov_len >= sizeof(tag)) {
			memcpy(tag, iov[i].iov_base, sizeof(tag));
			if (tag[0] != ID || tag[1] != at / BLOCK)
				wrong("wrong bytes (R1)");
		}
		at += iov[i].iov_len;
	}
	if (!error && at != req->offset + req->size)
		wrong("a short read");
}

static void forget_answered(void)
{
	struct a_read *a, *next;

	DL_FOREACH_SAFE(reads, a, next) {
		if (!a->answered)
			continue;
		DL_DELETE(reads, a);
		n_reads--;
		free(a);
	}
}

static void read_at(struct stream *s, uint64_t offset, uint32_t size)
{
	struct a_read *a;

	if (offset + size > SIZE)
		size = (uint32_t)(SIZE - offset);
	read_bytes += size;
	for (uint64_t b = offset / BLOCK; b <= (offset + size - 1) / BLOCK; b++)
		touched[b] = true;
	if (stream_stored(s, offset, size))
		return;
	a = calloc(1, sizeof(*a));
	a->req = (struct read_request){.offset = offset, .size = size,
				       .answer = answered};
	a->parked = true;
	DL_APPEND(reads, a);
	n_reads++;
	stream_read(s, &a->req);
}

/* Stations that read on, each at its own place, and now and then seek. */
static void op_read(void)
{
	static uint64_t cursor[CURSORS];
	unsigned i = (unsigned)rnd(CURSORS);
	uint32_t size = (uint32_t)(1 + rnd(3 * BLOCK));

	if (!n_open || n_reads >= READS_MAX)
		return;
	if (rnd(30) == 0 || cursor[i] >= SIZE)
		cursor[i] = rnd(3) ? rnd(SIZE) : 0;
	if (rnd(12) == 0) /* a look at another place */
		read_at(open_[rnd(n_open)], rnd(2) ? rnd(BLOCK)
						   : SIZE - 1 - rnd(BLOCK),
			4096);
	read_at(open_[rnd(n_open)], cursor[i], size);
	cursor[i] += size;
}

static void op_cancel(void)
{
	struct a_read *a;

	if (!reads || reads->answered || !n_open)
		return;
	a = reads;
	stream_cancel(open_[0], &a->req, -EINTR);
	if (!a->answered)
		wrong("cancelled, and not answered");
}

static struct fetch_window *any_window(void)
{
	struct fetch_window *w;
	unsigned n = 0;

	DL_COUNT(flight, w, n);
	if (!n)
		return NULL;
	n = (unsigned)rnd(n);
	for (w = flight; n--; w = w->next)
		;
	return w;
}

static void give_block(struct fetch_window *w, bool lose)
{
	uint64_t b = w->first + w->given++;
	struct stream *s = the_stream();
	struct buf *buf;

	if (lose) {
		lost[b]++;
		w->owner->lost(w->ctx, b, -EIO);
		s->fill_retry_ns = 0; /* half a minute has passed */
		stream_ring(s);
		return;
	}
	buf = buf_get(bufs, BLOCK, true);
	if (!buf)
		wrong("no buffer");
	buf->n = block_len(s->v, b);
	memcpy(buf->data, pattern(s->v, b), buf->n);
	w->owner->block(w->ctx, b, buf);
}

static void op_network(void)
{
	struct fetch_window *w = any_window();

	if (manifest_asked) {
		manifest_asked = false;
		manifest_done(manifest_ctx, manifest_make(), 0);
		return;
	}
	if (!w)
		return;
	if (w->given < w->n && !w->cancelled) {
		give_block(w, rnd(400) == 0);
		return;
	}
	for (uint64_t b = w->first + w->given; b < w->first + w->n; b++)
		lost[b]++; /* cancelled: it may be asked for again */
	DL_DELETE(flight, w);
	w->owner->end(w->ctx);
	free(w);
}

static void op_pool(void)
{
	unsigned i;
	struct pool_job *job;

	if (!n_jobs)
		return;
	i = (unsigned)rnd(n_jobs);
	job = jobs[i];
	jobs[i] = jobs[--n_jobs];
	job->run(job);
}

static void p_progress(void *ctx, uint64_t stored, uint64_t size)
{
	(void)ctx, (void)stored, (void)size;
}

static void p_end(void *ctx, uint64_t stored, uint64_t size, int error)
{
	(void)ctx, (void)stored, (void)size, (void)error;
	prefetch = NULL;
}

static const struct prefetch_owner p_owner = {p_progress, p_end};

static void op_prefetch(void)
{
	struct version_ident i = image();

	if (prefetch) {
		reader_prefetch_cancel(&r, prefetch);
		return;
	}
	ever_prefetch = true;
	if (reader_prefetch(&r, &i, 3, CLASS_PREFETCH, &p_owner, NULL,
			    &prefetch))
		wrong("prefetch");
}

static void step(bool may_prefetch)
{
	uint64_t at = rnd(100);

	op_no++;
	if (at < 20)
		op_read();
	else if (at < 62)
		op_network();
	else if (at < 92)
		op_pool();
	else if (at < 95)
		op_open();
	else if (at < 97)
		op_close();
	else if (at < 98)
		op_cancel();
	else if (at < 99 && may_prefetch)
		op_prefetch();
	pump();
	forget_answered();
}

/* ---- a round: from nothing stored to the end ------------------------------ */

static bool busy(void)
{
	return flight || n_jobs || manifest_asked || r.queue || reads;
}

static void drain(void)
{
	for (unsigned i = 0; busy(); i++) {
		if (i > 100000)
			wrong("never at its end");
		op_network();
		op_pool();
		pump();
		forget_answered();
	}
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

static void forget_all(void)
{
	struct stream *s = the_stream();
	struct past *p = r.past;

	if (s) {
		HASH_DEL(r.streams, s);
		stream_put(s);
	}
	if (p) {
		HASH_DEL(r.past, p);
		free(p);
	}
	if (cache_flush(c))
		wrong("flush");
	(void)cache_evict(c, ID, NULL, true, NULL);
	memset(touched, 0, sizeof(touched));
	memset(asked, 0, sizeof(asked));
	memset(lost, 0, sizeof(lost));
	read_bytes = 0;
	ever_prefetch = false;
}

static void one_round(void)
{
	bool may_prefetch = rnd(3) == 0, filling = false;
	uint64_t n = 50 + rnd(1500);
	struct version *v;

	while (n--)
		step(may_prefetch);
	drain();
	if (the_stream())
		filling = the_stream()->filling;
	if (filling)
		wrong("nothing is under way, and it is not complete (R7)");
	while (n_open)
		op_close();
	if (prefetch)
		reader_prefetch_cancel(&r, prefetch);
	while (prefetch || busy()) {
		drain();
		if (prefetch)
			stream_ring(the_stream());
	}
	check_counts();
	if (cache_find(c, ID, &v) == 0) {
		seen.complete += version_complete(v);
		version_put(v);
	}
	seen.rounds++;
	forget_all();
}

static void random_wants(void **state)
{
	const char *seed = getenv("STAGEFS_SEED");
	struct cache_config cfg;
	char *dir = scratch_dir();

	(void)state;
	rng = seed ? strtoull(seed, NULL, 0) : 88172645463325252ull;
	cfg = config_of(dir, 64 * MIB);
	c = must_open(&cfg);
	manifest = manifest_make();
	assert_int_equal(buf_pool_new(64 * MIB, &bufs), 0);
	r.cfg = (struct reader_config){.cache = c,
				       .fill_after_bytes = FILL_AFTER,
				       .look_ahead_bytes = AHEAD,
				       .ring_bytes = MIB,
				       .io_timeout_ms = 60000};
	lock_init(&r.lock, LOCK_READER);
	lock_init(&r.pump_lock, LOCK_PUMP);
	cond_init(&r.pump_bell);
	cond_init(&r.work_gone);
	for (unsigned i = 0; i < ROUNDS; i++)
		one_round();
	assert_int_equal(r.work, 0);
	assert_int_equal(buf_pool_used(bufs), 0);
	cache_close(c);
	scratch_remove(dir);
	buf_pool_free(bufs);
	manifest_free(manifest);
	fprintf(stderr, "%llu rounds, %llu complete, windows %llu %llu %llu "
		"%llu, promotions %llu, errors %llu\n",
		(unsigned long long)seen.rounds,
		(unsigned long long)seen.complete,
		(unsigned long long)seen.starts[0],
		(unsigned long long)seen.starts[1],
		(unsigned long long)seen.starts[2],
		(unsigned long long)seen.starts[3],
		(unsigned long long)seen.promotions,
		(unsigned long long)seen.errors);
	/* Chance has been everywhere. */
	for (int i = 0; i < CLASS_COUNT; i++)
		assert_true(seen.starts[i] > 100);
	assert_true(seen.promotions > 100 && seen.errors > 10);
	assert_true(seen.complete > 10 && seen.complete < seen.rounds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_wants),
	};

	return cmocka_run_group_tests_name("want", tests, NULL, NULL);
}
