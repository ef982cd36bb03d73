/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fetch.c - windows and manifests from a scripted server that does each
 * thing that can go wrong on the way. Every block that the fetcher hands over
 * is compared with the image (R1), whatever the test is about.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/lock.h"
#include "fs/fetch/fetch.h"
#include "mini_httpd.h"

#define BLOCK (64u << 10)
#define N_BLOCKS 41
#define LENGTH ((uint64_t)(N_BLOCKS - 1) * BLOCK + 1000)
#define LOG_MAX 64
#define PATIENCE_NS (60 * NS_PER_S)

/* ---- the image ------------------------------------------------------- */

static uint8_t image[LENGTH];
static struct manifest *manifest;
static void *manifest_bytes;
static size_t manifest_n;
static char hex[DIGEST_TEXT];

static void image_make(void)
{
	struct digest *hash = calloc(N_BLOCKS, sizeof(*hash));
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i < LENGTH; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		image[i] = (uint8_t)x;
	}
	for (uint64_t i = 0; i < N_BLOCKS; i++)
		crypto_sha256(image + i * BLOCK,
			      manifest_block_length(LENGTH, BLOCK, i),
			      &hash[i]);
	assert_int_equal(manifest_build(LENGTH, BLOCK, hash, &manifest), 0);
	assert_int_equal(
		manifest_encode(manifest, &manifest_bytes, &manifest_n), 0);
	digest_text(&manifest->digest, hex);
}

/* ---- the server ------------------------------------------------------ */

enum fault {
	OK,
	STATUS_200,
	STATUS_404,
	STATUS_503,
	WRONG_RANGE,
	WRONG_TOTAL,
	NO_RANGE,
	TWO_RANGES,
	WRONG_LENGTH,
	SHORT,	   /* right head, orderly end in the middle */
	RESET,	   /* the same with a reset */
	STALL,	   /* the same with silence */
	STALL_ERROR, /* a 503 whose page never ends */
	FLIP,	   /* one wrong bit */
	SHIFT,	   /* right bytes of the next block */
	GZIP,
	LOOP,
	TO_FTP,
	MOVED, /* one redirect to the right place */
	GARBAGE,
	NOTHING,
	HEADERS, /* endless */
	LONGER,	 /* chunked, more than asked for */
};

struct origin {
	struct mini m;
	atomic_int fault;
	atomic_int times;      /* so often, then OK; < 0: for ever */
	atomic_int delay_ms;   /* before each answer */
	atomic_int pace_us;    /* sleep after each 15,001 bytes */
	atomic_ullong bytes;   /* of bodies that left */
	atomic_int class_seen[CLASS_COUNT];
	atomic_int wrong_headers;
	atomic_uint n_asked;
	atomic_ullong asked[LOG_MAX]; /* first byte of each window, in order */
	atomic_bool gate; /* answers wait until it is false */
};

static void send_body(struct origin *o, int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		/* Odd, so that what curl hands out crosses blocks. */
		size_t part = n < 15001 ? n : 15001;
		int us = atomic_load(&o->pace_us);

		if (!mini_write(fd, p, part))
			return;
		atomic_fetch_add(&o->bytes, part);
		p += part;
		n -= part;
		if (us)
			usleep((unsigned)us);
	}
}

static void head_206(int fd, uint64_t a, uint64_t b, uint64_t total,
		     uint64_t length, const char *more)
{
	mini_printf(fd,
		    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes "
		    "%" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n"
		    "Content-Length: %" PRIu64 "\r\n%s\r\n",
		    a, b, total, length, more);
}

static void hold(int fd)
{
	char c;

	while (recv(fd, &c, 1, 0) > 0)
		;
}

static void check_headers(struct origin *o, const struct mini_request *r)
{
	const char *h = mini_header(r, "Accept-Encoding");
	enum wire_class c;

	if (!h || strcmp(h, "identity"))
		atomic_fetch_add(&o->wrong_headers, 1);
	h = mini_header(r, WIRE_HEADER_SERVER);
	if (!h || strcmp(h, "line3"))
		atomic_fetch_add(&o->wrong_headers, 1);
	h = mini_header(r, WIRE_HEADER_ORDER);
	if (!h || strcmp(h, "7"))
		atomic_fetch_add(&o->wrong_headers, 1);
	h = mini_header(r, WIRE_HEADER_CLASS);
	if (!h || wire_class_parse(h, &c))
		atomic_fetch_add(&o->wrong_headers, 1);
	else
		atomic_fetch_add(&o->class_seen[c], 1);
}

static enum fault next_fault(struct origin *o)
{
	int left = atomic_load(&o->times);

	while (left > 0 &&
	       !atomic_compare_exchange_weak(&o->times, &left, left - 1))
		;
	return left == 0 ? OK : (enum fault)atomic_load(&o->fault);
}

static bool plain(int fd, const char *status, const char *more)
{
	return mini_printf(fd, "HTTP/1.1 %s\r\n%sContent-Length: 3\r\n\r\nno\n",
			   status, more);
}

static bool send_manifest(struct origin *o, int fd, enum fault fault)
{
	uint8_t *copy = malloc(manifest_n);

	memcpy(copy, manifest_bytes, manifest_n);
	if (fault == FLIP)
		copy[100] ^= 1;
	mini_printf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%s\r\n",
		    manifest_n, fault == GZIP ? "Content-Encoding: gzip\r\n"
					      : "");
	send_body(o, fd, copy,
		  fault == SHORT || fault == RESET ? manifest_n / 2
						   : manifest_n);
	free(copy);
	if (fault == RESET)
		mini_reset(fd);
	return fault != SHORT && fault != RESET;
}

static bool send_window(struct origin *o, int fd, uint64_t a, uint64_t b,
			enum fault fault)
{
	uint64_t n = b - a + 1;
	uint8_t *copy;

	switch (fault) {
	case STATUS_200:
		mini_printf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %" PRIu64
				"\r\n\r\n", LENGTH);
		send_body(o, fd, image, LENGTH);
		return true;
	case WRONG_RANGE:
		head_206(fd, a + BLOCK, b + BLOCK, LENGTH, n, "");
		break;
	case WRONG_TOTAL:
		head_206(fd, a, b, LENGTH + 1, n, "");
		break;
	case NO_RANGE:
		mini_printf(fd, "HTTP/1.1 206 Partial Content\r\n"
				"Content-Length: %" PRIu64 "\r\n\r\n", n);
		break;
	case TWO_RANGES:
		head_206(fd, a, b, LENGTH, n, "Content-Range: bytes 0-1/2\r\n");
		break;
	case WRONG_LENGTH:
		head_206(fd, a, b, LENGTH, n - 1, "");
		break;
	case GZIP:
		head_206(fd, a, b, LENGTH, n, "Content-Encoding: gzip\r\n");
		break;
	case LONGER:
		mini_printf(fd, "HTTP/1.1 206 Partial Content\r\nContent-Range:"
				" bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n"
				"Transfer-Encoding: chunked\r\n\r\n%" PRIx64
				"\r\n", a, b, LENGTH, n + 5);
		send_body(o, fd, image + a, n);
		mini_printf(fd, "12345\r\n0\r\n\r\n");
		return true;
	case SHORT:
	case RESET:
	case STALL:
		head_206(fd, a, b, LENGTH, n, "");
		send_body(o, fd, image + a, n / 2);
		if (fault == RESET)
			mini_reset(fd);
		if (fault == STALL)
			hold(fd);
		return false;
	default:
		head_206(fd, a, b, LENGTH, n, "");
		break;
	}
	copy = malloc(n);
	memcpy(copy, image + a, n);
	if (fault == FLIP)
		copy[n / 2] ^= 4;
	if (fault == SHIFT)
		memcpy(copy, image + (a + BLOCK + n < LENGTH ? a + BLOCK : 0),
		       n);
	send_body(o, fd, copy, n);
	free(copy);
	return true;
}

static bool handle(void *ctx, struct mini_request *r)
{
	struct origin *o = ctx;
	enum fault fault = next_fault(o);
	const char *range = mini_header(r, "Range");
	bool moved = strncmp(r->path, "/moved", 6) == 0;
	const char *path = moved ? r->path + 6 : r->path;
	uint64_t a, b;

	while (atomic_load(&o->gate) && !atomic_load(&o->m.quit))
		usleep(1000);
	if (atomic_load(&o->delay_ms))
		usleep((unsigned)atomic_load(&o->delay_ms) * 1000);
	switch (fault) {
	case STATUS_404:
		return plain(r->fd, "404 Not Found", "");
	case STATUS_503:
		return plain(r->fd, "503 Busy", "");
	case STALL_ERROR:
		mini_printf(r->fd, "HTTP/1.1 503 Busy\r\n"
				   "Content-Length: 10000\r\n\r\nx");
		hold(r->fd);
		return false;
	case LOOP:
		return mini_printf(r->fd, "HTTP/1.1 302 Go\r\nLocation: %s\r\n"
					  "Content-Length: 0\r\n\r\n", r->path);
	case TO_FTP:
		return plain(r->fd, "302 Go", "Location: ftp://[::1]/x\r\n");
	case MOVED:
		if (moved)
			break;
		return mini_printf(r->fd, "HTTP/1.1 307 Go\r\nLocation: /moved"
					  "%s\r\nContent-Length: 0\r\n\r\n",
				   r->path);
	case GARBAGE:
		mini_printf(r->fd, "220 smtp ready\r\n");
		return false;
	case NOTHING:
		return false;
	case HEADERS:
		mini_printf(r->fd, "HTTP/1.1 206 Partial Content\r\n");
		while (mini_printf(r->fd, "X-A: %0200d\r\n", 0))
			;
		return false;
	default:
		break;
	}
	if (strncmp(path, "/v1/manifests/", 14) == 0 &&
	    strcmp(path + 14, hex) == 0 && !range)
		return send_manifest(o, r->fd, fault);
	if (strncmp(path, "/v1/data/", 9) || strcmp(path + 9, hex) || !range ||
	    sscanf(range, "bytes=%" SCNu64 "-%" SCNu64, &a, &b) != 2 ||
	    a > b || b >= LENGTH)
		return plain(r->fd, "404 Not Found", "");
	check_headers(o, r);
	atomic_store(&o->asked[atomic_fetch_add(&o->n_asked, 1) % LOG_MAX], a);
	return send_window(o, r->fd, a, b, fault);
}

/* ---- the owner ------------------------------------------------------- */

struct win {
	struct lock lock;
	struct wait_cond cond;
	unsigned blocks[N_BLOCKS], lost[N_BLOCKS];
	unsigned n_blocks, n_lost, ended, wrong;
	int error;
	bool keep; /* buffers are kept until told otherwise */
	struct buf *kept[N_BLOCKS];
	unsigned n_kept;
};

static void on_block(void *ctx, uint64_t i, struct buf *b)
{
	struct win *w = ctx;
	uint32_t n = manifest_block_length(LENGTH, BLOCK, i);

	lock_take(&w->lock);
	if (b->n != n || memcmp(b->data, image + i * BLOCK, n))
		w->wrong++;
	w->blocks[i]++;
	w->n_blocks++;
	if (w->keep) {
		w->kept[w->n_kept++] = b;
		b = NULL;
	}
	cond_wake_all(&w->cond);
	lock_give(&w->lock);
	buf_put(b);
}

static void on_lost(void *ctx, uint64_t i, int error)
{
	struct win *w = ctx;

	LOCK_SCOPE(&w->lock);
	w->lost[i]++;
	w->n_lost++;
	w->error = error;
}

static void on_end(void *ctx)
{
	struct win *w = ctx;

	LOCK_SCOPE(&w->lock);
	w->ended++;
	cond_wake_all(&w->cond);
}

static const struct fetch_owner owner = {
	.block = on_block, .lost = on_lost, .end = on_end};

static void win_init(struct win *w)
{
	memset(w, 0, sizeof(*w));
	lock_init(&w->lock, 1000);
	cond_init(&w->cond);
}

static void win_free(struct win *w)
{
	lock_destroy(&w->lock);
	cond_destroy(&w->cond);
}

static void wait_end(struct win *w)
{
	uint64_t until = clock_mono_ns() + PATIENCE_NS;

	lock_take(&w->lock);
	while (!w->ended)
		if (cond_wait_until(&w->cond, &w->lock, until))
			break;
	lock_give(&w->lock);
	assert_int_equal(w->ended, 1);
	assert_int_equal(w->wrong, 0);
}

static void wait_blocks(struct win *w, unsigned n)
{
	uint64_t until = clock_mono_ns() + PATIENCE_NS;

	lock_take(&w->lock);
	while (w->n_blocks < n)
		if (cond_wait_until(&w->cond, &w->lock, until))
			break;
	lock_give(&w->lock);
	assert_true(w->n_blocks >= n);
}

/* All of [first, first + n), each once, nothing else. */
static void all_there(const struct win *w, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < N_BLOCKS; i++) {
		assert_int_equal(w->blocks[i], i >= first && i < first + n);
		assert_int_equal(w->lost[i], 0);
	}
}

/* ---- the set-up ------------------------------------------------------ */

struct fix {
	struct origin o[2];
	struct sources *sources;
	struct pool *pool;
	struct fetch *f;
	struct win w;
};

struct params {
	unsigned origins, connections;
	uint32_t stall_ms;
	uint64_t memory_bytes;
};

static struct fix *fix_new(const struct params *p)
{
	struct fix *x = calloc(1, sizeof(*x));
	struct fetch_config cfg = {.server = "line3",
				   .memory_bytes = p->memory_bytes
							   ? p->memory_bytes
							   : 8u << 20,
				   .max_connections = p->connections,
				   .stall_ms = p->stall_ms};
	char urls[256];
	struct err e;

	mini_start(&x->o[0].m, handle, &x->o[0]);
	mini_start(&x->o[1].m, handle, &x->o[1]);
	snprintf(urls, sizeof(urls), p->origins > 1 ? "%s,%s" : "%s",
		 x->o[0].m.url, x->o[1].m.url);
	assert_int_equal(sources_new(urls, &x->sources, &e), 0);
	assert_int_equal(pool_new("hash", 2, &x->pool), 0);
	cfg.sources = x->sources;
	cfg.pool = x->pool;
	assert_int_equal(fetch_new(&cfg, &x->f, &e), 0);
	win_init(&x->w);
	return x;
}

static void fix_free(struct fix *x)
{
	fetch_free(x->f);
	pool_free(x->pool);
	sources_free(x->sources);
	for (int i = 0; i < 2; i++) {
		atomic_store(&x->o[i].gate, false);
		assert_int_equal(atomic_load(&x->o[i].wrong_headers), 0);
		mini_stop(&x->o[i].m);
	}
	win_free(&x->w);
	free(x);
}

static struct fetch_window *start(struct fix *x, struct win *w, uint64_t first,
				  uint64_t n, enum wire_class c)
{
	struct fetch_window *fw =
		fetch_start(x->f, manifest, first, n, c, 7, &owner, w);

	assert_non_null(fw);
	return fw;
}

static struct fetch_stats stats_of(struct fix *x)
{
	struct fetch_stats st;

	fetch_stats(x->f, &st);
	return st;
}

/* The place, among all requests, of that for the window from this block on. */
static unsigned place(struct fix *x, uint64_t block)
{
	unsigned n = atomic_load(&x->o[0].n_asked);

	assert_true(n <= LOG_MAX);
	for (unsigned i = 0; i < n; i++)
		if (atomic_load(&x->o[0].asked[i]) == block * BLOCK)
			return i;
	fail_msg("block %u was not asked for", (unsigned)block);
	return 0;
}

/* ---- tests ----------------------------------------------------------- */

static void test_whole_image(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	struct fetch_stats st;

	(void)state;
	start(x, &x->w, 0, N_BLOCKS, CLASS_FILL);
	wait_end(&x->w);
	all_there(&x->w, 0, N_BLOCKS);
	st = stats_of(x);
	assert_int_equal(st.bytes[CLASS_FILL], LENGTH);
	assert_int_equal(st.requests[CLASS_FILL], 1);
	assert_int_equal(st.retries, 0);
	assert_int_equal(st.in_flight, 0);
	assert_int_equal(st.buffers_bytes, 0);
	assert_int_equal(atomic_load(&x->o[0].bytes), LENGTH);
	fix_free(x);
}

/* One after the other: one connection, kept. */
static void test_connection_is_kept(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});

	(void)state;
	for (uint64_t i = 0; i < 10; i++) {
		struct win w;

		win_init(&w);
		start(x, &w, i * 4, 4, CLASS_DEMAND);
		wait_end(&w);
		all_there(&w, i * 4, 4);
		win_free(&w);
	}
	assert_int_equal(atomic_load(&x->o[0].m.connections), 1);
	fix_free(x);
}

/* Each fault once or twice, then the source is good: the window comes, right,
 * and verified blocks are not fetched again. */
static void test_faults_are_overcome(void **state)
{
	static const struct {
		enum fault fault;
		int times;
		unsigned retries_min, retries_max;
	} t[] = {
		{STATUS_200, 2, 2, 2},	 {STATUS_503, 2, 2, 2},
		{WRONG_RANGE, 1, 1, 1},	 {WRONG_TOTAL, 1, 1, 1},
		{NO_RANGE, 1, 1, 1},	 {TWO_RANGES, 1, 1, 1},
		{WRONG_LENGTH, 1, 1, 1}, {SHORT, 2, 2, 2},
		{RESET, 2, 2, 2},	 {GZIP, 1, 1, 1},
		{LOOP, 4, 1, 1},	 {TO_FTP, 1, 1, 1},
		{GARBAGE, 1, 1, 1},	 {NOTHING, 1, 1, 1},
		{HEADERS, 1, 1, 1},
		/* The end of the last block may come with what is too much,
		 * and is refused with it: a second one. */
		{LONGER, 2, 1, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct fix *x = fix_new(&(struct params){.origins = 1});
		struct fetch_stats st;

		print_message("fault %d\n", (int)t[i].fault);
		atomic_store(&x->o[0].fault, (int)t[i].fault);
		atomic_store(&x->o[0].times, t[i].times);
		start(x, &x->w, 3, 20, CLASS_DEMAND);
		wait_end(&x->w);
		all_there(&x->w, 3, 20);
		st = stats_of(x);
		assert_in_range(st.retries, t[i].retries_min,
				t[i].retries_max);
		if (t[i].fault == STATUS_200 || t[i].fault == STATUS_503)
			assert_int_equal(st.wrong_status, t[i].times);
		if (t[i].fault >= WRONG_RANGE && t[i].fault <= WRONG_LENGTH)
			assert_int_equal(st.wrong_range, t[i].times);
		if (t[i].fault == SHORT) {
			/* Half, then half of the half, then the rest: what
			 * was a whole block by then came once. */
			assert_int_equal(st.short_body, 2);
			assert_true(atomic_load(&x->o[0].bytes) <=
				    22 * (uint64_t)BLOCK);
		}
		fix_free(x);
	}
}

static void test_redirect_is_followed(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});

	(void)state;
	atomic_store(&x->o[0].fault, MOVED);
	atomic_store(&x->o[0].times, -1);
	start(x, &x->w, 0, N_BLOCKS, CLASS_DEMAND);
	wait_end(&x->w);
	all_there(&x->w, 0, N_BLOCKS);
	assert_int_equal(stats_of(x).retries, 0);
	fix_free(x);
}

static void test_stall(void **state)
{
	static const enum fault faults[] = {STALL, STALL_ERROR};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fix *x = fix_new(&(struct params){.origins = 1,
							 .stall_ms = 150});

		atomic_store(&x->o[0].fault, (int)faults[i]);
		atomic_store(&x->o[0].times, 1);
		start(x, &x->w, 0, 8, CLASS_DEMAND);
		wait_end(&x->w);
		all_there(&x->w, 0, 8);
		assert_true(stats_of(x).retries > 0);
		fix_free(x);
	}
}

/* R1: wrong bytes, right bytes of another place: the second source is asked,
 * the first no more. */
static void test_liar_is_left_out(void **state)
{
	static const enum fault faults[] = {FLIP, SHIFT};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fix *x = fix_new(&(struct params){.origins = 2});
		struct source_state st;
		unsigned before;
		struct win w;

		atomic_store(&x->o[0].fault, (int)faults[i]);
		atomic_store(&x->o[0].times, -1);
		start(x, &x->w, 0, 16, CLASS_FILL);
		wait_end(&x->w);
		all_there(&x->w, 0, 16);
		assert_true(stats_of(x).blocks_bad > 0);
		sources_state(x->sources, 0, &st);
		assert_true(st.bad_blocks > 0);
		before = atomic_load(&x->o[0].m.requests);
		win_init(&w);
		start(x, &w, 20, 4, CLASS_DEMAND);
		wait_end(&w);
		all_there(&w, 20, 4);
		assert_int_equal(atomic_load(&x->o[0].m.requests), before);
		win_free(&w);
		fix_free(x);
	}
}

/* One bit that flips on the way from the only source is repaired. */
static void test_one_flip_is_repaired(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});

	(void)state;
	atomic_store(&x->o[0].fault, FLIP);
	atomic_store(&x->o[0].times, 1);
	start(x, &x->w, 0, 16, CLASS_DEMAND);
	wait_end(&x->w);
	all_there(&x->w, 0, 16);
	assert_int_equal(stats_of(x).blocks_bad, 1);
	fix_free(x);
}

static void test_all_lie(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 2});

	(void)state;
	for (int i = 0; i < 2; i++) {
		atomic_store(&x->o[i].fault, SHIFT);
		atomic_store(&x->o[i].times, -1);
	}
	start(x, &x->w, 0, 4, CLASS_DEMAND);
	wait_end(&x->w);
	assert_int_equal(x->w.n_blocks, 0);
	assert_int_equal(x->w.n_lost, 4);
	assert_int_equal(x->w.error, -EIO);
	fix_free(x);
}

static void test_absent(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 2});
	struct win w;

	(void)state;
	/* On one of two: the other has it. */
	atomic_store(&x->o[0].fault, STATUS_404);
	atomic_store(&x->o[0].times, -1);
	start(x, &x->w, 0, 4, CLASS_DEMAND);
	wait_end(&x->w);
	all_there(&x->w, 0, 4);
	/* On both. */
	atomic_store(&x->o[1].fault, STATUS_404);
	atomic_store(&x->o[1].times, -1);
	win_init(&w);
	start(x, &w, 4, 5, CLASS_DEMAND);
	wait_end(&w);
	assert_int_equal(w.n_lost, 5);
	assert_int_equal(w.error, -ENOENT);
	assert_true(sources_reachable(x->sources));
	win_free(&w);
	fix_free(x);
}

/* The second source takes over in the middle of a window. */
static void test_switch_in_mid_window(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 2});

	(void)state;
	atomic_store(&x->o[0].fault, RESET);
	atomic_store(&x->o[0].times, -1);
	start(x, &x->w, 0, N_BLOCKS, CLASS_DEMAND);
	wait_end(&x->w);
	all_there(&x->w, 0, N_BLOCKS);
	assert_true(atomic_load(&x->o[0].bytes) > 0);
	assert_true(atomic_load(&x->o[1].bytes) > 0);
	fix_free(x);
}

/* Refused, then there: the window waits for it, whoever that takes. */
static void test_origin_returns(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	uint16_t port = x->o[0].m.port;
	uint64_t until = clock_mono_ns() + PATIENCE_NS;

	(void)state;
	mini_stop(&x->o[0].m);
	start(x, &x->w, 0, 8, CLASS_DEMAND);
	while (sources_reachable(x->sources) && clock_mono_ns() < until)
		usleep(5000);
	assert_false(sources_reachable(x->sources));
	assert_int_equal(x->w.ended, 0);
	assert_int_equal(mini_start_at(&x->o[0].m, port, handle, &x->o[0]), 0);
	wait_end(&x->w);
	all_there(&x->w, 0, 8);
	assert_true(sources_reachable(x->sources));
	fix_free(x);
}

/* A pool of four blocks, all kept by the owner: the transfer stands still,
 * without tripping the stall timer, and goes on when they come back. */
static void test_pool_runs_dry(void **state)
{
	struct fix *x = fix_new(&(struct params){
		.origins = 1, .memory_bytes = 4 * BLOCK, .stall_ms = 400});

	(void)state;
	atomic_store(&x->o[0].pace_us, 200);
	x->w.keep = true;
	start(x, &x->w, 0, N_BLOCKS, CLASS_DEMAND);
	wait_blocks(&x->w, 4);
	usleep(1000 * 1000);
	assert_int_equal(x->w.n_blocks, 4);
	assert_int_equal(stats_of(x).buffers_bytes, 4 * BLOCK);
	lock_take(&x->w.lock);
	x->w.keep = false;
	lock_give(&x->w.lock);
	for (unsigned i = 0; i < x->w.n_kept; i++)
		buf_put(x->w.kept[i]);
	wait_end(&x->w);
	all_there(&x->w, 0, N_BLOCKS);
	assert_int_equal(stats_of(x).stalls, 0);
	assert_int_equal(stats_of(x).retries, 0);
	fix_free(x);
}

/* A pool of one buffer is enough for all classes together. */
static void test_one_buffer(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .memory_bytes = BLOCK});
	struct win w[CLASS_COUNT];

	(void)state;
	atomic_store(&x->o[0].pace_us, 200);
	for (unsigned c = 0; c < CLASS_COUNT; c++) {
		win_init(&w[c]);
		start(x, &w[c], c * 10, 10, CLASS_PREFETCH - c);
	}
	for (unsigned c = 0; c < CLASS_COUNT; c++) {
		wait_end(&w[c]);
		all_there(&w[c], c * 10, 10);
		win_free(&w[c]);
	}
	fix_free(x);
}

static void test_cancel_in_every_state(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .connections = 1});
	struct fetch_window *a, *b;
	struct win w[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		win_init(&w[i]);
	/* in flight, no head yet; and queued behind it */
	atomic_store(&x->o[0].gate, true);
	a = start(x, &w[0], 0, 20, CLASS_DEMAND);
	b = start(x, &w[1], 20, 20, CLASS_DEMAND);
	while (atomic_load(&x->o[0].m.requests) == 0)
		usleep(1000);
	fetch_cancel(x->f, b);
	wait_end(&w[1]);
	assert_int_equal(w[1].n_blocks + w[1].n_lost, 0);
	fetch_cancel(x->f, a);
	wait_end(&w[0]);
	assert_int_equal(w[0].n_blocks, 0);
	/* in flight, half of it here */
	atomic_store(&x->o[0].pace_us, 5000);
	atomic_store(&x->o[0].gate, false);
	a = start(x, &w[2], 0, 40, CLASS_DEMAND);
	wait_blocks(&w[2], 3);
	fetch_cancel(x->f, a);
	wait_end(&w[2]);
	assert_true(w[2].n_blocks < 40);
	/* and the connection is free for the next */
	atomic_store(&x->o[0].pace_us, 0);
	start(x, &x->w, 0, 4, CLASS_DEMAND);
	wait_end(&x->w);
	assert_int_equal(stats_of(x).buffers_bytes, 0);
	for (int i = 0; i < 3; i++)
		win_free(&w[i]);
	fix_free(x);
}

/* Cancelled while it waits for a dead origin, and while it is dry. */
static void test_cancel_while_waiting(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .memory_bytes = 2 * BLOCK});
	struct fetch_window *a;
	struct win w;

	(void)state;
	x->w.keep = true;
	a = start(x, &x->w, 0, 8, CLASS_DEMAND);
	wait_blocks(&x->w, 2);
	fetch_cancel(x->f, a);
	wait_end(&x->w);
	for (unsigned i = 0; i < x->w.n_kept; i++)
		buf_put(x->w.kept[i]);
	atomic_store(&x->o[0].fault, STATUS_503);
	atomic_store(&x->o[0].times, -1);
	win_init(&w);
	a = start(x, &w, 0, 8, CLASS_DEMAND);
	while (stats_of(x).wrong_status < 3)
		usleep(1000);
	fetch_cancel(x->f, a);
	wait_end(&w);
	assert_int_equal(w.n_blocks + w.n_lost, 0);
	win_free(&w);
	fix_free(x);
}

/* R5: demand that comes last is done first; nothing below it starts. */
static void test_demand_first(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .connections = 2});
	struct win low[6], demand;

	(void)state;
	atomic_store(&x->o[0].pace_us, 2000);
	for (unsigned i = 0; i < 6; i++) {
		win_init(&low[i]);
		start(x, &low[i], i * 5, 5, i % 2 ? CLASS_PREFETCH
						  : CLASS_FILL);
	}
	wait_blocks(&low[0], 1);
	win_init(&demand);
	start(x, &demand, 35, 6, CLASS_DEMAND);
	wait_end(&demand);
	for (unsigned i = 0; i < 6; i++) {
		wait_end(&low[i]);
		all_there(&low[i], i * 5, 5);
	}
	for (unsigned i = 1; i < 6; i++)
		assert_true(place(x, i * 5) > place(x, 35));
	for (unsigned i = 0; i < 6; i += 2)
		for (unsigned k = 1; k < 6; k += 2)
			assert_true(place(x, i * 5) < place(x, k * 5));
	for (unsigned i = 0; i < 6; i++)
		win_free(&low[i]);
	win_free(&demand);
	fix_free(x);
}

/* R5 at block granularity: what runs stands still while demand is served. */
static void test_fill_pauses(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	struct origin *o = &x->o[0];
	struct win demand;
	unsigned before;

	(void)state;
	atomic_store(&o->pace_us, 3000);
	start(x, &x->w, 0, 30, CLASS_FILL);
	wait_blocks(&x->w, 2);
	atomic_store(&o->gate, true);
	win_init(&demand);
	start(x, &demand, 35, 2, CLASS_DEMAND);
	while (atomic_load(&o->m.requests) < 2)
		usleep(1000);
	usleep(50 * 1000);
	before = x->w.n_blocks;
	usleep(120 * 1000);
	assert_in_range(x->w.n_blocks, before, before + 3);
	atomic_store(&o->gate, false);
	wait_end(&demand);
	wait_end(&x->w);
	all_there(&x->w, 0, 30);
	/* Not even asked for again. */
	assert_int_equal(atomic_load(&o->class_seen[CLASS_FILL]), 1);
	win_free(&demand);
	fix_free(x);
}

/* R5: nothing below look-ahead is asked for while demand is in flight. */
static void test_fill_does_not_start(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	struct origin *o = &x->o[0];
	struct win w[4];

	(void)state;
	atomic_store(&o->gate, true);
	for (unsigned i = 0; i < 4; i++) {
		win_init(&w[i]);
		start(x, &w[i], i, 1, (enum wire_class)i);
		while (i == 0 && atomic_load(&o->m.requests) == 0)
			usleep(1000);
	}
	while (atomic_load(&o->m.requests) < 2)
		usleep(1000);
	usleep(50 * 1000);
	assert_int_equal(atomic_load(&o->m.requests), 2);
	assert_int_equal(stats_of(x).waiting, 2);
	atomic_store(&o->gate, false);
	for (unsigned i = 0; i < 4; i++) {
		wait_end(&w[i]);
		all_there(&w[i], i, 1);
		win_free(&w[i]);
	}
	fix_free(x);
}

/* The only buffer is half full with a fill when demand comes: the fill goes
 * on to the end of its block instead of pausing with it for ever. */
static void test_fill_gives_its_buffer(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .memory_bytes = BLOCK});
	struct win demand;

	(void)state;
	atomic_store(&x->o[0].pace_us, 20000);
	start(x, &x->w, 0, 2, CLASS_FILL);
	while (stats_of(x).buffers_bytes == 0)
		usleep(1000);
	win_init(&demand);
	start(x, &demand, 35, 1, CLASS_DEMAND);
	wait_end(&demand);
	assert_int_equal(x->w.ended, 0);
	wait_end(&x->w);
	all_there(&x->w, 0, 2);
	win_free(&demand);
	fix_free(x);
}

static void test_promote_queued(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .connections = 1});
	struct fetch_window *last = NULL;
	struct win w[5];

	(void)state;
	atomic_store(&x->o[0].gate, true);
	for (unsigned i = 0; i < 5; i++) {
		win_init(&w[i]);
		last = start(x, &w[i], i * 4, 4, CLASS_FILL);
		while (i == 0 && atomic_load(&x->o[0].m.requests) == 0)
			usleep(1000);
	}
	fetch_promote(x->f, last, CLASS_DEMAND);
	fetch_promote(x->f, last, CLASS_PREFETCH); /* never down */
	atomic_store(&x->o[0].gate, false);
	for (unsigned i = 0; i < 5; i++)
		wait_end(&w[i]);
	for (unsigned i = 1; i < 4; i++)
		assert_true(place(x, 16) < place(x, i * 4));
	assert_int_equal(atomic_load(&x->o[0].class_seen[CLASS_DEMAND]), 1);
	for (unsigned i = 0; i < 5; i++)
		win_free(&w[i]);
	fix_free(x);
}

/* A running fill that becomes demand is no longer paused for demand; a
 * running prefetch, which the origin holds back, is asked for anew. */
static void test_promote_running(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	struct origin *o = &x->o[0];
	struct fetch_window *fw;
	struct win w, held;

	(void)state;
	atomic_store(&o->pace_us, 3000);
	fw = start(x, &x->w, 0, 20, CLASS_FILL);
	wait_blocks(&x->w, 1);
	atomic_store(&o->gate, true);
	win_init(&held);
	start(x, &held, 35, 1, CLASS_DEMAND);
	while (atomic_load(&o->m.requests) < 2)
		usleep(1000);
	fetch_promote(x->f, fw, CLASS_DEMAND);
	wait_end(&x->w); /* while the other one waits */
	assert_int_equal(held.ended, 0);
	assert_int_equal(stats_of(x).retries, 0);
	atomic_store(&o->gate, false);
	wait_end(&held);

	win_init(&w);
	atomic_store(&o->pace_us, 20000);
	fw = start(x, &w, 0, 20, CLASS_PREFETCH);
	wait_blocks(&w, 1);
	fetch_promote(x->f, fw, CLASS_DEMAND);
	atomic_store(&o->pace_us, 0);
	wait_end(&w);
	all_there(&w, 0, 20);
	assert_int_equal(atomic_load(&o->class_seen[CLASS_PREFETCH]), 1);
	assert_int_equal(atomic_load(&o->class_seen[CLASS_DEMAND]), 2);
	win_free(&w);
	win_free(&held);
	fix_free(x);
}

/* Demand finds a connection however much is below it. */
static void test_connections_are_left(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .connections = 8});
	struct win w[20], demand;
	unsigned c = 0;

	(void)state;
	atomic_store(&x->o[0].gate, true);
	for (unsigned i = 0; i < 20; i++) {
		win_init(&w[i]);
		start(x, &w[i], i, 1, CLASS_PREFETCH);
	}
	while (atomic_load(&x->o[0].m.requests) < 4)
		usleep(1000);
	usleep(20 * 1000);
	assert_int_equal(atomic_load(&x->o[0].m.requests), 4);
	assert_int_equal(stats_of(x).in_flight, 4);
	assert_int_equal(stats_of(x).waiting, 16);
	win_init(&demand);
	start(x, &demand, 30, 1, CLASS_DEMAND);
	while (atomic_load(&x->o[0].m.requests) < 5 && c++ < 10000)
		usleep(1000);
	assert_int_equal(atomic_load(&x->o[0].m.requests), 5);
	atomic_store(&x->o[0].gate, false);
	wait_end(&demand);
	for (unsigned i = 0; i < 20; i++) {
		wait_end(&w[i]);
		win_free(&w[i]);
	}
	win_free(&demand);
	fix_free(x);
}

/* Thousands of windows, some cancelled, some promoted, faults in between. */
static void test_thousands(void **state)
{
	enum { N = 3000 };
	struct fix *x = fix_new(&(struct params){.origins = 2,
						 .memory_bytes = 1u << 20});
	struct win *w = calloc(N, sizeof(*w));

	(void)state;
	atomic_store(&x->o[0].fault, RESET);
	atomic_store(&x->o[0].times, 5);
	for (unsigned i = 0; i < N; i++) {
		struct fetch_window *fw;

		win_init(&w[i]);
		/* Held, so that it is still there for promote and cancel. */
		if (i % 100 == 0)
			atomic_store(&x->o[0].gate, true);
		fw = start(x, &w[i], i % N_BLOCKS, 1,
			   (enum wire_class)(i % CLASS_COUNT));
		if (i % 100 == 1)
			fetch_promote(x->f, fw, CLASS_DEMAND);
		if (i % 100 == 2)
			fetch_cancel(x->f, fw);
		if (i % 100 == 2)
			atomic_store(&x->o[0].gate, false);
	}
	for (unsigned i = 0; i < N; i++) {
		wait_end(&w[i]);
		if (i % 100 != 2)
			all_there(&w[i], i % N_BLOCKS, 1);
		win_free(&w[i]);
	}
	assert_int_equal(stats_of(x).buffers_bytes, 0);
	free(w);
	fix_free(x);
}

/* fetch_free with everything under way: each window ends, once. */
static void test_free_in_flight(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1,
						 .connections = 4});
	struct win w[30];

	(void)state;
	atomic_store(&x->o[0].pace_us, 2000);
	for (unsigned i = 0; i < 30; i++) {
		win_init(&w[i]);
		start(x, &w[i], 0, 10, (enum wire_class)(i % CLASS_COUNT));
	}
	wait_blocks(&w[0], 1);
	fetch_free(x->f);
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(w[i].ended, 1);
		assert_int_equal(w[i].wrong, 0);
		win_free(&w[i]);
	}
	x->f = NULL;
	fix_free(x);
}

/* ---- manifests ------------------------------------------------------- */

struct doc {
	struct lock lock;
	struct wait_cond cond;
	struct manifest *m;
	int error;
	unsigned n;
};

static void on_manifest(void *ctx, struct manifest *m, int error)
{
	struct doc *d = ctx;

	LOCK_SCOPE(&d->lock);
	d->m = m;
	d->error = error;
	d->n++;
	cond_wake_all(&d->cond);
}

static void doc_wait(struct doc *d)
{
	uint64_t until = clock_mono_ns() + PATIENCE_NS;

	lock_take(&d->lock);
	while (!d->n)
		if (cond_wait_until(&d->cond, &d->lock, until))
			break;
	lock_give(&d->lock);
	assert_int_equal(d->n, 1);
}

static int doc_get(struct fix *x, const struct digest *digest)
{
	struct doc d = {0};

	lock_init(&d.lock, 1000);
	cond_init(&d.cond);
	assert_true(fetch_manifest(x->f, digest, CLASS_DEMAND, on_manifest,
				   &d) > 0);
	doc_wait(&d);
	if (d.error == 0) {
		assert_non_null(d.m);
		assert_true(digest_equal(&d.m->digest, digest));
		assert_int_equal(d.m->n_blocks, N_BLOCKS);
		manifest_free(d.m);
	} else {
		assert_null(d.m);
	}
	lock_destroy(&d.lock);
	cond_destroy(&d.cond);
	return d.error;
}

static void test_manifest(void **state)
{
	static const enum fault faults[] = {
		OK, SHORT, RESET, GZIP, STATUS_503, GARBAGE, LOOP, HEADERS,
	};
	struct digest other = {{1}};

	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		struct fix *x = fix_new(&(struct params){.origins = 1});

		atomic_store(&x->o[0].fault, (int)faults[i]);
		atomic_store(&x->o[0].times, faults[i] == LOOP ? 4 : 1);
		assert_int_equal(doc_get(x, &manifest->digest), 0);
		assert_int_equal(doc_get(x, &other), -ENOENT);
		fix_free(x);
	}
}

/* A manifest that is not the one whose digest was asked for. */
static void test_manifest_lies(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 2});

	(void)state;
	atomic_store(&x->o[0].fault, FLIP);
	atomic_store(&x->o[0].times, -1);
	assert_int_equal(doc_get(x, &manifest->digest), 0);
	fix_free(x);

	x = fix_new(&(struct params){.origins = 1});
	atomic_store(&x->o[0].fault, FLIP);
	atomic_store(&x->o[0].times, -1);
	assert_int_equal(doc_get(x, &manifest->digest), -EIO);
	fix_free(x);
}

static void test_manifest_cancel(void **state)
{
	struct fix *x = fix_new(&(struct params){.origins = 1});
	struct doc d[2] = {{.error = 1}, {.error = 1}};
	uint64_t number;

	(void)state;
	atomic_store(&x->o[0].gate, true);
	for (int i = 0; i < 2; i++) {
		lock_init(&d[i].lock, 1000);
		cond_init(&d[i].cond);
	}
	number = fetch_manifest(x->f, &manifest->digest, CLASS_FILL,
				on_manifest, &d[0]);
	while (atomic_load(&x->o[0].m.requests) == 0)
		usleep(1000);
	fetch_manifest_cancel(x->f, number);
	doc_wait(&d[0]);
	assert_int_equal(d[0].error, -ECANCELED);
	fetch_manifest_cancel(x->f, number); /* late: harmless */
	fetch_manifest_cancel(x->f, 12345);
	fetch_manifest(x->f, &manifest->digest, CLASS_FILL, on_manifest, &d[1]);
	fetch_free(x->f);
	x->f = NULL;
	assert_int_equal(d[1].error, -ECANCELED);
	for (int i = 0; i < 2; i++) {
		lock_destroy(&d[i].lock);
		cond_destroy(&d[i].cond);
	}
	fix_free(x);
}

static int image_set_up(void **state)
{
	(void)state;
	image_make();
	return 0;
}

static int image_tear_down(void **state)
{
	(void)state;
	manifest_free(manifest);
	free(manifest_bytes);
	return 0;
}

/* With an argument: only the tests that match it. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_image),
		cmocka_unit_test(test_connection_is_kept),
		cmocka_unit_test(test_faults_are_overcome),
		cmocka_unit_test(test_redirect_is_followed),
		cmocka_unit_test(test_stall),
		cmocka_unit_test(test_liar_is_left_out),
		cmocka_unit_test(test_one_flip_is_repaired),
		cmocka_unit_test(test_all_lie),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_switch_in_mid_window),
		cmocka_unit_test(test_origin_returns),
		cmocka_unit_test(test_pool_runs_dry),
		cmocka_unit_test(test_one_buffer),
		cmocka_unit_test(test_cancel_in_every_state),
		cmocka_unit_test(test_cancel_while_waiting),
		cmocka_unit_test(test_demand_first),
		cmocka_unit_test(test_fill_pauses),
		cmocka_unit_test(test_fill_does_not_start),
		cmocka_unit_test(test_fill_gives_its_buffer),
		cmocka_unit_test(test_promote_queued),
		cmocka_unit_test(test_promote_running),
		cmocka_unit_test(test_connections_are_left),
		cmocka_unit_test(test_thousands),
		cmocka_unit_test(test_free_in_flight),
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_manifest_lies),
		cmocka_unit_test(test_manifest_cancel),
	};
	/* Proxies of the environment are not used. */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
