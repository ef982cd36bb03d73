/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 100,000 random operations against a small model (cache_model.h). After each
 * operation the accounts are compared to the byte (C3), and the list in its
 * order (C4).
 *
 * Crashes are power cuts (cache_powercut.h). After one a set bit means right
 * bytes, and what cache_flush had said yes to is there (C1); no file is
 * without a row (C2).
 *
 * STAGEFS_SEED and STAGEFS_OPS in the environment change the run.
 */
#include "cache_model.h"
#include "cache_powercut.h"

#define N_WEIGHTS 87 /* sum of those in step() */
#ifdef __SANITIZE_THREAD__
#define N_OPS 30000 /* it is 25 times slower */
#else
#define N_OPS 100000
#endif
#define FAR_FUTURE INT64_C(32503680000)

/* ---- comparing ----------------------------------------------------------- */

static void compare(bool settled)
{
	struct version_info *l;
	struct cache_stats s;
	uint64_t last = 0;
	size_t n, rows = 0;

	cache_stats(c, &s);
	same("reserved", 0, (int64_t)s.reserved_bytes,
	     (int64_t)model_reserved());
	same("used", 0, (int64_t)s.used_bytes, (int64_t)model_used());
	if (settled && s.used_bytes + s.reserved_bytes > s.capacity_bytes)
		fail_at("above capacity", 0, s.used_bytes, s.capacity_bytes);
	same("list", 0, cache_list(c, &l, &n), 0);
	for (int id = 1; id <= N_IDS; id++)
		rows += m[id].row;
	same("rows", 0, (int64_t)n, (int64_t)rows);
	for (size_t i = 0; i < n; i++) {
		const struct model *x = &m[l[i].ident.id];

		same("row", l[i].ident.id, true, x->row);
		same("held", l[i].ident.id, l[i].held_until_s != 0, x->held);
		if (x->seq <= last)
			fail_at("order", l[i].ident.id, x->seq, last);
		last = x->seq;
	}
	free(l);
}

static void compare_bits(uint64_t id)
{
	struct model *x = &m[id];

	for (uint64_t b = 0; b < x->n; b++) {
		same("bit", id, version_has(x->v, b), x->bits[b]);
		if (x->bits[b])
			same("bytes", id, right(x->v, b), true);
	}
	x->fd |= x->file;
}

/* ---- operations ---------------------------------------------------------- */

static void op_get(uint64_t id)
{
	struct model *x = &m[id];
	struct version *v;

	if (x->refs >= 3)
		return;
	v = must_get(c, id, x->size);
	if (x->refs++ && v != x->v)
		fail_at("two objects", id, 0, 0);
	x->v = v;
	x->fd = version_fd(v) >= 0;
	same("file", id, x->fd, x->file);
}

static void op_put(uint64_t id)
{
	struct model *x = &m[id];

	if (!x->refs || (x->refs == 1 && in_work(x)))
		return;
	version_put(x->v);
	if (--x->refs == 0) {
		x->fd = false;
		x->retired = 0;
		x->touched = x->touched && x->row; /* the object goes */
	}
}

static void op_pins(uint64_t id)
{
	struct model *x = &m[id];

	if (!x->refs)
		return;
	switch (rnd(8)) {
	case 0:
		version_open(x->v);
		x->opens++;
		break;
	case 1:
		version_pin(x->v);
		x->pins++;
		break;
	case 2:
		if (rnd(16) == 0) {
			version_touch(x->v);
			x->touched = cfg.just_read_ms != 0;
		}
		break;
	case 3:
	case 4:
	case 5:
		if (x->opens) {
			version_close(x->v);
			x->opens--;
		}
		break;
	default:
		if (x->pins) {
			version_unpin(x->v);
			x->pins--;
		}
	}
}

static void op_reserve(uint64_t id)
{
	struct model *x = &m[id];
	uint64_t first = rnd(x->n), n = 1 + rnd(x->n - first), need = 0;
	bool reader = rnd(2), clash = false;
	int r, want;

	if (!x->refs)
		return;
	for (uint64_t b = first; b < first + n; b++) {
		clash |= x->reserved[b];
		need += x->bits[b] || x->kept[b] ? 0 : charge(x, b);
	}
	need += x->row ? 0 : overhead(x);
	want = clash ? -EINVAL : 0;
	if (!clash && !model_get_room(x, need, reader)) {
		want = -ENOSPC;
		seen.refused++;
	}
	r = version_reserve(x->v, first, n,
			    reader ? RESERVE_READER : RESERVE_PREFETCH, NULL,
			    NULL);
	same("reserve", id, r, want);
	if (r)
		return;
	seen.granted++;
	if (!x->file)
		x->seq = ++next_seq;
	x->row = x->file = x->fd = true;
	for (uint64_t b = first; b < first + n; b++)
		x->reserved[b] = !x->bits[b];
}

static void op_store(uint64_t id)
{
	struct model *x = &m[id];

	if (!x->refs)
		return;
	for (uint64_t i = 0, b = rnd(x->n); i < x->n; i++, b = (b + 1) % x->n) {
		if (!x->reserved[b])
			continue;
		same("store", id, store(x->v, b), 0);
		x->reserved[b] = false;
		x->bits[b] = true;
		seen.mended += x->kept[b];
		x->kept[b] = false;
		if (rnd(2))
			return;
	}
}

static void op_unreserve(uint64_t id)
{
	struct model *x = &m[id];
	uint64_t first = rnd(x->n), n = 1 + rnd(x->n - first);

	if (!x->refs)
		return;
	version_unreserve(x->v, first, n);
	memset(x->reserved + first, 0, n * sizeof(bool));
}

static void op_forget(uint64_t id)
{
	struct model *x = &m[id];
	uint64_t b = rnd(x->n);

	if (!x->refs)
		return;
	same("forget", id, version_forget_block(x->v, b), 0);
	if (x->bits[b] && x->opens) {
		x->kept[b] = true;
		/* R1: whoever reads the file past us sees no hole (I5). */
		same("kept bytes", id, block_right(version_fd(x->v), id, b),
		     true);
	}
	x->bits[b] = x->flushed[b] = false;
	x->fd |= x->file;
}

static void op_could_fit(uint64_t id)
{
	struct model *x = &m[id], before[N_IDS + 1];
	uint64_t need = x->row ? 0 : overhead(x);
	struct seen seen_before = seen;
	bool reader = rnd(2), want;

	if (!x->refs)
		return;
	for (uint64_t b = 0; b < x->n; b++)
		need += x->bits[b] || x->reserved[b] || x->kept[b]
				? 0
				: charge(x, b);
	memcpy(before, m, sizeof(m));
	want = model_get_room(x, need, reader);
	memcpy(m, before, sizeof(m));
	seen = seen_before;
	same("could fit", id,
	     version_could_fit(x->v, reader ? RESERVE_READER
					    : RESERVE_PREFETCH),
	     want || need == 0);
}

static void op_evict(uint64_t id)
{
	struct model *x = &m[id];
	bool force = rnd(2);
	int want = 0;

	if (!x->row)
		want = -ENOENT;
	else if (in_work(x))
		want = -EBUSY;
	else if (x->held && !force)
		want = -EPERM;
	same("evict", id, cache_evict(c, id, NULL, force, NULL), want);
	if (!want)
		empty(x);
}

static void op_reclaim(void)
{
	uint64_t bytes = rnd(capacity / 4), freed = 0, before = model_used();
	uint64_t room = model_room();
	uint64_t above = model_used() + model_reserved();
	int want = 0;

	above = above > capacity ? above - capacity : 0;
	if (room < bytes && !model_evict(NULL, bytes - room, false, true))
		want = -ENOSPC;
	if (above) /* trimming; not in this test */
		fail_at("above", 0, above, 0);
	same("reclaim", 0, cache_reclaim(c, bytes, &freed), want);
	same("freed", 0, (int64_t)freed, (int64_t)(before - model_used()));
}

static void op_hold(uint64_t id)
{
	struct model *x = &m[id];
	struct version_ident i = ident_of(id, x->size);
	int want = 0;

	if (rnd(4) == 0) {
		if (!x->row && !model_get_room(x, overhead(x), false))
			want = -ENOSPC;
		same("hold", id, cache_hold(c, &i, FAR_FUTURE), want);
		if (want)
			return;
		if (!x->row)
			x->seq = ++next_seq;
		x->row = x->held = true;
		return;
	}
	same("release", id, cache_hold(c, &i, 0), 0);
	x->held = false;
	if (x->row && !x->file && !in_work(x))
		empty(x);
}

static void flushed(void)
{
	for (int id = 1; id <= N_IDS; id++)
		memcpy(m[id].flushed, m[id].bits, sizeof(m[id].bits));
}

static void let_go(void)
{
	for (uint64_t id = 1; id <= N_IDS; id++) {
		struct model *x = &m[id];

		if (!x->refs)
			continue;
		version_unreserve(x->v, 0, x->n);
		memset(x->reserved, 0, sizeof(x->reserved));
		for (; x->opens; x->opens--)
			version_close(x->v);
		for (; x->pins; x->pins--)
			version_unpin(x->v);
		while (x->refs)
			op_put(id);
	}
	for (int id = 1; id <= N_IDS; id++)
		m[id].touched = false;
}

/* Start-up removes rows without a file that nothing holds. */
static void model_restart(void)
{
	for (int id = 1; id <= N_IDS; id++) {
		if (m[id].row && !m[id].file && !m[id].held)
			empty(&m[id]);
		memset(m[id].kept, 0, sizeof(m[id].kept)); /* punched */
	}
}

/* The capacity may have become another: it shrinks by itself (C3). */
static void open_with(uint64_t bytes)
{
	struct cache_stats s;
	uint64_t above;

	capacity = bytes;
	cfg.dir = dir;
	cfg.capacity_bytes = bytes;
	cfg.just_read_ms = rnd(2) ? 3600 * 1000 : 0;
	c = must_open(&cfg);
	above = model_used();
	if (above > capacity) {
		seen.trims++;
		model_evict(NULL, above - capacity, false, true);
	}
	do
		cache_stats(c, &s);
	while (s.used_bytes != model_used() && usleep(1000) == 0);
}

static uint64_t some_capacity(void)
{
	return SPACE_INDEX_BASE_BYTES + 2 * MIB + rnd(4) * MIB;
}

static void reopen(void)
{
	let_go();
	cache_close(c);
	flushed();
	model_restart();
	open_with(some_capacity());
	compare(false);
}

/* What the crash left: read from the cache, checked against what it may be,
 * and taken over. */
static void adopt(uint64_t id)
{
	struct model *x = &m[id], old = *x;
	struct version *v;
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/data/%" PRIu64, dir, id);
	x->file = stat(path, &st) == 0;
	x->row = cache_find(c, id, &v) == 0;
	if (x->file && !x->row)
		fail_at("file without a row (C2)", id, 1, 0);
	memset(x->bits, 0, sizeof(x->bits));
	memset(x->kept, 0, sizeof(x->kept));
	if (x->row != old.row && !(old.row && !old.held))
		fail_at("row", id, x->row, old.row);
	if (!x->row)
		x->held = false;
	for (uint64_t b = 0; b < x->n; b++) {
		x->bits[b] = x->row && version_has(v, b);
		if (x->bits[b] && !old.bits[b])
			fail_at("bit from nowhere", id, b, 0);
		if (x->bits[b] && !right(v, b))
			fail_at("bit without its bytes (C1)", id, b, 0);
		if (old.flushed[b] && !x->bits[b])
			fail_at("flushed bit is lost (C1)", id, b, 0);
	}
	if (x->row)
		version_put(v);
	memcpy(x->flushed, x->bits, sizeof(x->bits));
	shadow[id].ino = shadow[id].named = x->file ? st.st_ino : 0;
	memcpy(shadow[id].has, x->bits, sizeof(x->bits));
}

static void crash(void)
{
	struct model before[N_IDS + 1];
	char *copy;

	memcpy(before, m, sizeof(m));
	copy = power_cut_copy();
	let_go();
	cache_close(c);
	scratch_remove(dir);
	dir = copy;
	seen.crashes++;
	/* As large as it was: so nothing is trimmed before it is looked at. */
	cfg.dir = dir;
	c = must_open(&cfg);
	for (uint64_t id = 1; id <= N_IDS; id++)
		adopt(id);
	compare(true);
}

static void step(void)
{
	static const struct {
		const char *name;
		unsigned weight;
		void (*op)(uint64_t id);
	} ops[] = {
		{"get", 9, op_get},	     {"put", 10, op_put},
		{"pins", 10, op_pins},	     {"reserve", 20, op_reserve},
		{"store", 24, op_store},     {"unreserve", 4, op_unreserve},
		{"forget", 1, op_forget},    {"could fit", 4, op_could_fit},
		{"evict", 2, op_evict},	     {"hold", 3, op_hold},
	};
	uint64_t id = 1 + rnd(N_IDS), at = rnd(N_WEIGHTS);

	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (at < ops[i].weight) {
			op_name = ops[i].name;
			ops[i].op(id);
			if (m[id].refs)
				compare_bits(id);
			return;
		}
		at -= ops[i].weight;
	}
}

/* C3 is about the disk, the account is only its servant. */
static void compare_to_disk(void)
{
	char path[512], name[24];
	struct cache_stats s;
	uint64_t sum = 0;
	struct stat st;

	cache_stats(c, &s);
	snprintf(path, sizeof(path), "%s/index.db", dir);
	sum += stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
	snprintf(path, sizeof(path), "%s/index.db-wal", dir);
	sum += stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
	snprintf(path, sizeof(path), "%s/index.db-shm", dir);
	sum += stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
	for (uint64_t id = 1; id <= N_IDS; id++) {
		snprintf(name, sizeof(name), "data/%" PRIu64, id);
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		if (stat(path, &st) == 0)
			sum += (uint64_t)st.st_blocks * 512 + 256;
	}
	if (sum > s.used_bytes)
		fail_at("disk has more than the account", 0, sum, s.used_bytes);
}

static void rare_step(void)
{
	compare_to_disk();
	switch (rnd(8)) {
	case 0:
		op_name = "reclaim";
		op_reclaim();
		break;
	case 1:
	case 2:
		op_name = "flush";
		same("flush", 0, cache_flush(c), 0);
		flushed();
		break;
	case 3:
		op_name = "crash";
		if (rnd(4) == 0)
			crash();
		break;
	case 4:
		op_name = "reopen";
		if (rnd(4) == 0)
			reopen();
	}
}

static bool trimmed(void)
{
	return model_used() + model_reserved() <= capacity;
}

static void random_operations(void **state)
{
	const char *seed = getenv("STAGEFS_SEED"), *ops = getenv("STAGEFS_OPS");
	uint64_t n = ops ? strtoull(ops, NULL, 0) : N_OPS;

	(void)state;
	rng = seed ? strtoull(seed, NULL, 0) : 88172645463325252ull;
	set_point(hook);
	for (uint64_t id = 1; id <= N_IDS; id++) {
		m[id].n = 1 + rnd(MAX_BLOCKS);
		m[id].size = m[id].n * BLOCK - (rnd(2) ? rnd(BLOCK - 64) : 0);
		const_size[id] = m[id].size;
	}
	dir = scratch_dir();
	cfg = config_of(dir, 0);
	open_with(some_capacity());
	for (op_no = 0; op_no < n; op_no++) {
		if (rnd(50) == 0 && trimmed())
			rare_step();
		else
			step();
		compare(trimmed());
	}
	let_go();
	cache_close(c);
	scratch_remove(dir);
	/* Chance has been everywhere. */
	if (n >= 100000)
		assert_true(seen.granted > 1000 && seen.refused > 100 &&
			    seen.victims > 500 && seen.held_victims > 5 &&
			    seen.crashes > 20 && seen.trims > 2 &&
			    seen.mended > 5);
	fprintf(stderr, "granted %u refused %u victims %u (held %u) crashes %u "
		"trims %u, mended %u\n", seen.granted, seen.refused,
		seen.victims, seen.held_victims, seen.crashes, seen.trims,
		seen.mended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
	};

	return cmocka_run_group_tests_name("cache model", tests, NULL, NULL);
}
