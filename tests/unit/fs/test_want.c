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
 * The rules are want_model.h. STAGEFS_SEED in the environment changes the run.
 */
#include "want_model.h"

#include "common/lock.h"
#include "fs/locks.h"
#include "tests/unit/xorshift.h"

#define READS_MAX 60
#define CURSORS 3
#define ROUNDS 300u

static uint64_t rng;
static struct cache *c;
static struct manifest *manifest;
static struct buf_pool *bufs;
static struct stream *open_[4];
static unsigned n_open, n_reads;
static struct pool_job *jobs[512];
static unsigned n_jobs;

static uint64_t rnd(uint64_t below)
{
	return xorshift(&rng) % below;
}

/* ---- the pool and the pump ----------------------------------------------- */

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

/* ---- a round: from nothing stored to the end ----------------------------- */

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
