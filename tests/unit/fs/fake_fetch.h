/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_fetch.h - stands in for fs/fetch/fetch.c in the reader's test, so that
 * the test decides when a block arrives, or that it never does. A thread of
 * its own makes the callbacks, as the real one does. Included once, by the
 * test: its functions take the place of the library's.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "fs/fetch/fetch.h"

#define FAKE_BLOCK 65536u

/* assert, also with NDEBUG. */
#define CHECK(x)                                                       \
	do {                                                           \
		if (!(x)) {                                            \
			fprintf(stderr, "%s:%d: %s\n", __FILE__,       \
				__LINE__, #x);                         \
			abort();                                       \
		}                                                      \
	} while (0)

/* Word i of image `id`. */
static uint64_t fake_word(uint64_t id, uint64_t i)
{
	uint64_t x = (i + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ id << 40;

	x ^= x >> 29;
	return x * UINT64_C(0xbf58476d1ce4e5b9);
}

static void fake_bytes(uint64_t id, uint64_t offset, void *out, size_t n)
{
	uint8_t *to = out;

	for (size_t i = 0; i < n; i++) {
		uint64_t w = fake_word(id, (offset + i) / 8);

		to[i] = (uint8_t)(w >> ((offset + i) % 8 * 8));
	}
}

/* Whole-word version for blocks. */
static void fake_block(uint64_t id, uint64_t block, void *out, uint32_t n)
{
	uint64_t *to = out;
	uint64_t first = block * (FAKE_BLOCK / 8);

	for (uint32_t i = 0; i < n / 8; i++)
		to[i] = fake_word(id, first + i);
	if (n % 8)
		fake_bytes(id, block * FAKE_BLOCK + n / 8 * 8,
			   (uint8_t *)out + n / 8 * 8, n % 8);
}

struct fetch_window {
	struct fetch *f;
	const struct manifest *m;
	uint64_t id, first, n;
	uint64_t given; /* blocks handed over so far, from the front */
	enum wire_class class_;
	const struct fetch_owner *owner;
	void *ctx;
	bool cancelled;
	struct fetch_window *prev, *next;
};

struct fake_manifest {
	uint64_t number;
	struct digest digest;
	void (*done)(void *ctx, struct manifest *m, int error);
	void *ctx;
	bool cancelled;
	struct fake_manifest *prev, *next;
};

#define FAKE_IMAGES 16

struct fetch {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	pthread_t thread;
	bool stop;
	bool paused;	       /* nothing arrives */
	int lose;	       /* error with which every block is lost */
	int manifest_error;
	bool shuffle;	       /* blocks of different windows in any order */
	bool spread;	       /* the first of each, then the second ... */
	uint64_t window_bytes;
	struct buf_pool *bufs;
	struct fetch_window *windows;
	struct fake_manifest *manifests;
	uint64_t next_number;
	/* images it knows */
	struct {
		uint64_t id, size;
		struct digest digest;
	} image[FAKE_IMAGES];
	unsigned n_images;
	/* log */
	uint64_t started[CLASS_COUNT], blocks_given, blocks_asked, promotions;
	unsigned rand;
};

static struct manifest *fake_make_manifest(uint64_t id, uint64_t size)
{
	uint64_t n = manifest_block_count(size, FAKE_BLOCK);
	struct digest *hash = calloc(n ? n : 1, sizeof(*hash));
	uint8_t *block = malloc(FAKE_BLOCK);
	struct manifest *m;

	for (uint64_t i = 0; i < n; i++) {
		uint32_t len = manifest_block_length(size, FAKE_BLOCK, i);

		fake_block(id, i, block, len);
		crypto_sha256(block, len, &hash[i]);
	}
	free(block);
	CHECK(manifest_build(size, FAKE_BLOCK, hash, &m) == 0);
	return m;
}

static void fake_one_block(struct fetch *f, struct fetch_window *w)
{
	uint64_t i = w->first + w->given;
	uint32_t n = manifest_block_length(w->m->length_bytes, FAKE_BLOCK, i);
	int lose = f->lose;
	struct buf *b = NULL;

	w->given++;
	f->blocks_given++;
	pthread_mutex_unlock(&f->mutex);
	if (lose) {
		w->owner->lost(w->ctx, i, lose);
	} else {
		while (!(b = buf_get(f->bufs, FAKE_BLOCK, true)))
			usleep(100);
		fake_block(w->id, i, b->data, n);
		b->n = n;
		w->owner->block(w->ctx, i, b);
	}
	pthread_mutex_lock(&f->mutex);
}

static struct fetch_window *fake_pick(struct fetch *f)
{
	struct fetch_window *w, *best = NULL;
	unsigned n = 0;

	DL_FOREACH(f->windows, w) {
		if (w->cancelled || w->given == w->n)
			return w;
		if (f->paused)
			continue;
		n++;
		if (!best || (f->spread && w->given < best->given) ||
		    (!f->spread && w->class_ < best->class_) ||
		    (f->shuffle && rand_r(&f->rand) % n == 0))
			best = w;
	}
	return best;
}

static void fake_answer_manifest(struct fetch *f, struct fake_manifest *q)
{
	struct manifest *m = NULL;
	int error = q->cancelled ? -ECANCELED : f->manifest_error;

	DL_DELETE(f->manifests, q);
	pthread_mutex_unlock(&f->mutex);
	for (unsigned i = 0; !error && i < f->n_images; i++)
		if (digest_equal(&f->image[i].digest, &q->digest))
			m = fake_make_manifest(f->image[i].id,
					       f->image[i].size);
	q->done(q->ctx, m, m ? 0 : error ? error : -ENOENT);
	free(q);
	pthread_mutex_lock(&f->mutex);
}

static void *fake_main(void *ctx)
{
	struct fetch *f = ctx;

	pthread_mutex_lock(&f->mutex);
	for (;;) {
		struct fetch_window *w = fake_pick(f);

		if (f->manifests &&
		    (!f->paused || f->manifests->cancelled)) {
			fake_answer_manifest(f, f->manifests);
		} else if (w && (w->cancelled || w->given == w->n)) {
			DL_DELETE(f->windows, w);
			pthread_mutex_unlock(&f->mutex);
			w->owner->end(w->ctx);
			free(w);
			pthread_mutex_lock(&f->mutex);
		} else if (w) {
			fake_one_block(f, w);
		} else if (f->stop) {
			break;
		} else {
			pthread_cond_wait(&f->cond, &f->mutex);
		}
	}
	pthread_mutex_unlock(&f->mutex);
	return NULL;
}

/* Of buffers, for the next one that is made. */
static uint64_t fake_memory_bytes = 64u << 20;

static struct fetch *fake_new(void)
{
	struct fetch *f = calloc(1, sizeof(*f));

	pthread_mutex_init(&f->mutex, NULL);
	pthread_cond_init(&f->cond, NULL);
	f->window_bytes = 4 * FAKE_BLOCK;
	f->rand = 1;
	CHECK(buf_pool_new(fake_memory_bytes, &f->bufs) == 0);
	CHECK(pthread_create(&f->thread, NULL, fake_main, f) == 0);
	return f;
}

static void fake_add(struct fetch *f, uint64_t id, uint64_t size,
		     struct digest *ret)
{
	struct manifest *m = fake_make_manifest(id, size);

	CHECK(f->n_images < FAKE_IMAGES);
	f->image[f->n_images].id = id;
	f->image[f->n_images].size = size;
	f->image[f->n_images++].digest = m->digest;
	*ret = m->digest;
	manifest_free(m);
}

#define FAKE_SET(f, field, value)                \
	do {                                     \
		pthread_mutex_lock(&(f)->mutex); \
		(f)->field = (value);            \
		pthread_cond_signal(&(f)->cond); \
		pthread_mutex_unlock(&(f)->mutex); \
	} while (0)

#define FAKE_GET(f, field)                         \
	({                                         \
		pthread_mutex_lock(&(f)->mutex);   \
		__typeof__((f)->field) v_ = (f)->field; \
		pthread_mutex_unlock(&(f)->mutex); \
		v_;                                \
	})

static void fake_free(struct fetch *f)
{
	FAKE_SET(f, stop, true);
	pthread_join(f->thread, NULL);
	CHECK(!f->windows);
	CHECK(!f->manifests);
	CHECK(buf_pool_used(f->bufs) == 0);
	buf_pool_free(f->bufs);
	free(f);
}

/* ---- the interface ------------------------------------------------------- */

struct fetch_window *fetch_start(struct fetch *f, const struct manifest *m,
				 uint64_t first, uint64_t n,
				 enum wire_class class_, uint64_t order,
				 const struct fetch_owner *owner, void *ctx)
{
	struct fetch_window *w = calloc(1, sizeof(*w)), *other;

	(void)order;
	w->f = f;
	w->m = m;
	w->first = first;
	w->n = n;
	w->class_ = class_;
	w->owner = owner;
	w->ctx = ctx;
	pthread_mutex_lock(&f->mutex);
	for (unsigned i = 0; i < f->n_images; i++)
		if (digest_equal(&f->image[i].digest, &m->digest))
			w->id = f->image[i].id;
	/* R2: no block is asked for while it is in flight. */
	DL_FOREACH(f->windows, other)
		CHECK(other->m != m || other->first >= first + n ||
		       first >= other->first + other->n);
	CHECK(n > 0 && first + n <= m->n_blocks);
	DL_APPEND(f->windows, w);
	f->started[class_]++;
	f->blocks_asked += n;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->mutex);
	return w;
}

void fetch_promote(struct fetch *f, struct fetch_window *w,
		   enum wire_class class_)
{
	pthread_mutex_lock(&f->mutex);
	CHECK(class_ < w->class_);
	w->class_ = class_;
	f->promotions++;
	pthread_mutex_unlock(&f->mutex);
}

void fetch_cancel(struct fetch *f, struct fetch_window *w)
{
	pthread_mutex_lock(&f->mutex);
	w->cancelled = true;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->mutex);
}

uint64_t fetch_manifest(struct fetch *f, const struct digest *digest,
			enum wire_class class_,
			void (*done)(void *ctx, struct manifest *m, int error),
			void *ctx)
{
	struct fake_manifest *q = calloc(1, sizeof(*q));
	uint64_t number;

	(void)class_;
	q->digest = *digest;
	q->done = done;
	q->ctx = ctx;
	pthread_mutex_lock(&f->mutex);
	number = q->number = ++f->next_number;
	DL_APPEND(f->manifests, q);
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->mutex);
	return number;
}

void fetch_manifest_cancel(struct fetch *f, uint64_t number)
{
	struct fake_manifest *q;

	pthread_mutex_lock(&f->mutex);
	DL_FOREACH(f->manifests, q)
		if (q->number == number)
			q->cancelled = true;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->mutex);
}

uint64_t fetch_window_bytes(struct fetch *f)
{
	return FAKE_GET(f, window_bytes);
}
