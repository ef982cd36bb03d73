/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch_origin.h - what the tests of the fetcher share: an image, a server
 * that does each thing that can go wrong on the way, and an owner of windows
 * that compares every block with the image (R1), whatever the test is about.
 */
#ifndef STAGEFS_TESTS_FETCH_ORIGIN_H
#define STAGEFS_TESTS_FETCH_ORIGIN_H

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
#include "tests/unit/xorshift.h"

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

static inline void image_make(void)
{
	struct digest *hash = calloc(N_BLOCKS, sizeof(*hash));
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i < LENGTH; i++) {
		image[i] = (uint8_t)xorshift(&x);
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
	TRICKLE, /* the same with a byte now and then */
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
	atomic_bool hold_prefetch; /* those to prefetch */
};

static inline void send_body(struct origin *o, int fd, const uint8_t *p,
			     size_t n)
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

static inline void head_206(int fd, uint64_t a, uint64_t b, uint64_t total,
			    uint64_t length, const char *more)
{
	mini_printf(fd,
		    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes "
		    "%" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n"
		    "Content-Length: %" PRIu64 "\r\n%s\r\n",
		    a, b, total, length, more);
}

static inline void hold(int fd)
{
	char c;

	while (recv(fd, &c, 1, 0) > 0)
		;
}

static inline void trickle(int fd, uint8_t *p)
{
	while (mini_write(fd, p++, 1))
		usleep(20000);
}

static inline void check_headers(struct origin *o,
				 const struct mini_request *r)
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

static inline enum fault next_fault(struct origin *o)
{
	int left = atomic_load(&o->times);

	while (left > 0 &&
	       !atomic_compare_exchange_weak(&o->times, &left, left - 1))
		;
	return left == 0 ? OK : (enum fault)atomic_load(&o->fault);
}

static inline bool plain(int fd, const char *status, const char *more)
{
	return mini_printf(fd, "HTTP/1.1 %s\r\n%sContent-Length: 3\r\n\r\nno\n",
			   status, more);
}

static inline bool send_manifest(struct origin *o, int fd, enum fault fault)
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

static inline bool send_window(struct origin *o, int fd, uint64_t a, uint64_t b,
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
	case TRICKLE:
		head_206(fd, a, b, LENGTH, n, "");
		send_body(o, fd, image + a, n / 2);
		if (fault == RESET)
			mini_reset(fd);
		if (fault == STALL)
			hold(fd);
		if (fault == TRICKLE)
			trickle(fd, image + a + n / 2);
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

static inline bool is_prefetch(const struct mini_request *r)
{
	const char *h = mini_header(r, WIRE_HEADER_CLASS);

	return h && strcmp(h, "prefetch") == 0;
}

static inline bool handle(void *ctx, struct mini_request *r)
{
	struct origin *o = ctx;
	enum fault fault = next_fault(o);
	bool prefetch = is_prefetch(r);
	const char *range = mini_header(r, "Range");
	bool moved = strncmp(r->path, "/moved", 6) == 0;
	const char *path = moved ? r->path + 6 : r->path;
	uint64_t a, b;

	while (atomic_load(&o->gate) && !atomic_load(&o->m.quit))
		usleep(1000);
	while (prefetch && atomic_load(&o->hold_prefetch) &&
	       !atomic_load(&o->m.quit))
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

static inline void on_block(void *ctx, uint64_t i, struct buf *b)
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

static inline void on_lost(void *ctx, uint64_t i, int error)
{
	struct win *w = ctx;

	LOCK_SCOPE(&w->lock);
	w->lost[i]++;
	w->n_lost++;
	w->error = error;
}

static inline void on_end(void *ctx)
{
	struct win *w = ctx;

	LOCK_SCOPE(&w->lock);
	w->ended++;
	cond_wake_all(&w->cond);
}

static const struct fetch_owner owner = {
	.block = on_block, .lost = on_lost, .end = on_end};

static inline void win_init(struct win *w)
{
	memset(w, 0, sizeof(*w));
	lock_init(&w->lock, 1000);
	cond_init(&w->cond);
}

static inline void win_free(struct win *w)
{
	lock_destroy(&w->lock);
	cond_destroy(&w->cond);
}

static inline void wait_end(struct win *w)
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

static inline void wait_blocks(struct win *w, unsigned n)
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
static inline void all_there(const struct win *w, uint64_t first, uint64_t n)
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

static inline struct fix *fix_new(const struct params *p)
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

static inline void fix_free(struct fix *x)
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

static inline struct fetch_window *start(struct fix *x, struct win *w,
					 uint64_t first, uint64_t n,
					 enum wire_class c)
{
	struct fetch_window *fw =
		fetch_start(x->f, manifest, first, n, c, 7, &owner, w);

	assert_non_null(fw);
	return fw;
}

static inline struct fetch_stats stats_of(struct fix *x)
{
	struct fetch_stats st;

	fetch_stats(x->f, &st);
	return st;
}

/* The place, among all requests, of that for the window from this block on. */
static inline unsigned place(struct fix *x, uint64_t block)
{
	unsigned n = atomic_load(&x->o[0].n_asked);

	assert_true(n <= LOG_MAX);
	for (unsigned i = 0; i < n; i++)
		if (atomic_load(&x->o[0].asked[i]) == block * BLOCK)
			return i;
	fail_msg("block %u was not asked for", (unsigned)block);
	return 0;
}

static inline int image_set_up(void **state)
{
	(void)state;
	/* Proxies of the environment are not used. */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	image_make();
	return 0;
}

static inline int image_tear_down(void **state)
{
	(void)state;
	manifest_free(manifest);
	free(manifest_bytes);
	return 0;
}

#endif
