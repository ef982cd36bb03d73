/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_model.h - the cache as a few arrays, in which every rule is easy to
 * see: what is stored, in which order, what each version takes, who has to go
 * (C3, C4). With it the chance that drives the test, and the run's state.
 * Included by test_cache_model.c alone.
 */
#ifndef STAGEFS_TESTS_CACHE_MODEL_H
#define STAGEFS_TESTS_CACHE_MODEL_H

#include <inttypes.h>

#include "cache_fixture.h"
#include "tests/unit/xorshift.h"

#define N_IDS 24
#define MAX_BLOCKS 12

struct model {
	uint64_t size, n;
	struct version *v; /* while refs > 0 */
	unsigned refs, opens, pins;
	bool fd, touched, held, row, file;
	bool bits[MAX_BLOCKS], reserved[MAX_BLOCKS], flushed[MAX_BLOCKS];
	bool kept[MAX_BLOCKS]; /* forgotten while open: in the file */
	uint64_t seq;
	uint64_t retired; /* used by files that references keep */
};

/* The run. */
static struct model m[N_IDS + 1]; /* by id, from 1 */
static struct cache *c;
static struct cache_config cfg;
static char *dir;
static uint64_t next_seq, rng, capacity, op_no;
static const char *op_name;
static struct seen {
	unsigned granted, refused, victims, held_victims, crashes, trims;
	unsigned mended;
} seen;

/* ---- chance -------------------------------------------------------------- */

static uint64_t rnd(uint64_t below)
{
	return xorshift(&rng) % below;
}

static uint64_t bytes_of(const struct model *x);

static void fail_at(const char *what, uint64_t id, uint64_t a, uint64_t b)
{
	fprintf(stderr, "op %" PRIu64 " (%s): %s, id %" PRIu64 ": %" PRIu64
		", model %" PRIu64 "\n", op_no, op_name, what, id, a, b);
	for (int i = 1; i <= N_IDS; i++)
		fprintf(stderr, "%d: row %d file %d fd %d refs %u opens %u "
			"pins %u touched %d held %d seq %" PRIu64
			" retired %" PRIu64 " bytes %" PRIu64 "\n", i,
			m[i].row, m[i].file, m[i].fd, m[i].refs, m[i].opens,
			m[i].pins, m[i].touched, m[i].held, m[i].seq,
			m[i].retired, bytes_of(&m[i]));
	abort();
}

static void same(const char *what, uint64_t id, int64_t a, int64_t b)
{
	if (a != b)
		fail_at(what, id, (uint64_t)a, (uint64_t)b);
}

/* ---- the model ----------------------------------------------------------- */

static uint64_t overhead(const struct model *x)
{
	return space_row(x->n) + space_inode(x->n);
}

static uint64_t charge(const struct model *x, uint64_t b)
{
	return space_block(manifest_block_length(x->size, BLOCK, b));
}

static uint64_t bytes_of(const struct model *x)
{
	uint64_t sum = x->row ? overhead(x) : 0;

	for (uint64_t b = 0; b < x->n; b++)
		sum += x->bits[b] || x->kept[b] ? charge(x, b) : 0;
	return sum;
}

static uint64_t reserved_of(const struct model *x)
{
	uint64_t sum = 0;

	for (uint64_t b = 0; b < x->n; b++)
		sum += x->reserved[b] && !x->kept[b] ? charge(x, b) : 0;
	return sum;
}

static uint64_t model_used(void)
{
	uint64_t sum = SPACE_INDEX_BASE_BYTES;

	for (int id = 1; id <= N_IDS; id++)
		sum += bytes_of(&m[id]) + m[id].retired;
	return sum;
}

static uint64_t model_reserved(void)
{
	uint64_t sum = 0;

	for (int id = 1; id <= N_IDS; id++)
		sum += reserved_of(&m[id]);
	return sum;
}

static uint64_t model_room(void)
{
	uint64_t taken = model_used() + model_reserved();

	return taken < capacity ? capacity - taken : 0;
}

static bool in_work(const struct model *x)
{
	for (uint64_t b = 0; b < x->n; b++)
		if (x->reserved[b])
			return true;
	return x->opens || x->pins;
}

static bool may_go(const struct model *x, const struct model *self)
{
	return x->row && x != self && !in_work(x) && !x->touched &&
	       !(x->refs && x->fd);
}

static void empty(struct model *x)
{
	if (x->refs && x->fd)
		x->retired += bytes_of(x);
	x->row = x->file = x->fd = x->held = false;
	x->touched = x->touched && x->refs;
	memset(x->bits, 0, sizeof(x->bits));
	memset(x->kept, 0, sizeof(x->kept));
	memset(x->flushed, 0, sizeof(x->flushed));
}

/* The next in stored order, among held ones or the others. */
static struct model *oldest(const struct model *self, bool held)
{
	struct model *best = NULL;

	for (int id = 1; id <= N_IDS; id++)
		if (may_go(&m[id], self) && m[id].held == held &&
		    (!best || m[id].seq < best->seq))
			best = &m[id];
	return best;
}

/* Victims for `shortage` more bytes, or none if that is not enough. */
static bool model_evict(const struct model *self, uint64_t shortage,
			bool take_held, bool partly)
{
	struct model before[N_IDS + 1], *x;
	unsigned n = 0, n_held = 0;
	uint64_t got = 0;

	memcpy(before, m, sizeof(m));
	while (got < shortage) {
		x = oldest(self, false);
		if (!x && take_held) {
			x = oldest(self, true);
			n_held += x != NULL;
		}
		if (!x)
			break;
		got += bytes_of(x);
		n++;
		empty(x);
	}
	if (got < shortage && !partly) {
		memcpy(m, before, sizeof(m));
		return false;
	}
	seen.victims += n;
	seen.held_victims += n_held;
	return got >= shortage;
}

static bool model_get_room(const struct model *self, uint64_t need, bool reader)
{
	uint64_t room = model_room(), taken = model_used() + model_reserved();

	if (need == 0 || need <= room)
		return true;
	return model_evict(self, taken + need - capacity, reader, false);
}

#endif
