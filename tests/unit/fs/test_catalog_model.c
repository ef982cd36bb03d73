/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog against a small model of the origin's table of nodes: random
 * changes, pages that are cut anywhere, restarts, and folders that change while
 * they are listed.
 */
#include "tests/unit/fs/catalog_pages.h"

/* ---- against a model --------------------------------------------------- */

#define ROWS_MAX 3000

static struct {
	struct row row[ROWS_MAX];
	size_t n;
	uint64_t revision;
} origin;

static struct row *origin_find(uint64_t parent, const char *name)
{
	for (size_t i = 0; i < origin.n; i++)
		if (!origin.row[i].removed && origin.row[i].parent == parent &&
		    strcmp(origin.row[i].name, name) == 0)
			return &origin.row[i];
	return NULL;
}

static bool origin_empty(uint64_t id)
{
	for (size_t i = 0; i < origin.n; i++)
		if (!origin.row[i].removed && origin.row[i].parent == id)
			return false;
	return true;
}

/* Adds, replaces, removes or touches something: one transaction. */
static void origin_step(void)
{
	struct row *at = origin.n ? &origin.row[(size_t)random() % origin.n]
				  : NULL;
	uint64_t parent = at && at->is_dir && !at->removed && random() % 4
				  ? at->id : 1;
	struct row *old, fresh = {0};

	if (origin.n >= ROWS_MAX - 1)
		return;
	origin.revision++;
	switch (random() % 8) {
	case 0:
	case 1:
		if (at && !at->removed &&
		    (!at->is_dir || origin_empty(at->id))) {
			at->removed = true;
			at->revision = origin.revision;
		}
		break;
	case 2:
		if (at && !at->removed) {
			at->mtime++;
			at->revision = origin.revision;
		}
		break;
	default:
		fresh = (struct row){origin.n + 2, parent, origin.revision};
		snprintf(fresh.name, sizeof(fresh.name), "n%ld",
			 random() % 40);
		fresh.is_dir = random() % 6 == 0;
		old = origin_find(parent, fresh.name);
		if (old && old->is_dir)
			break;
		if (old) {
			old->removed = true;
			old->revision = origin.revision;
		}
		origin.row[origin.n++] = fresh;
	}
}

static int by_revision(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->revision != y->revision)
		return x->revision < y->revision ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* One page as the origin would cut it. */
static int origin_page(struct catalog *c, uint64_t since, size_t max)
{
	static struct row page[ROWS_MAX];
	uint64_t to = origin.revision;
	bool more = false;
	size_t n = 0;

	for (size_t i = 0; i < origin.n; i++)
		if (origin.row[i].revision > since &&
		    !(since == 0 && origin.row[i].removed))
			page[n++] = origin.row[i];
	qsort(page, n, sizeof(*page), by_revision);
	if (n > max) {
		uint64_t last;

		n = max;
		last = page[n].revision;
		while (n && page[n - 1].revision == last)
			n--;
		if (n) {
			to = page[n - 1].revision;
			more = true;
		} else { /* one transaction larger than a page */
			while (n < origin.n && page[n].revision == last)
				n++;
			to = last;
			more = to < origin.revision;
		}
	}
	assert_int_equal(give(c, STORE, since, to, more, page, n, &key), 0);
	return more;
}

static void sync_it(struct catalog *c)
{
	uint64_t since = random() % 20 ? catalog_next(c) : 0;

	while (origin_page(c, since, 1 + (size_t)random() % 40)) {
		since = catalog_next(c);
		if (random() % 3 == 0)
			origin_step(); /* it changes between two pages */
	}
}

struct listing {
	struct {
		char name[24];
		uint64_t id;
	} at[ROWS_MAX];
	size_t n, stop;
};

static bool note_child(void *ctx, const char *name,
		       const struct catalog_node *node)
{
	struct listing *l = ctx;

	strcpy(l->at[l->n].name, name);
	l->at[l->n++].id = node->id;
	return l->n < l->stop;
}

/* A folder whose listing is not the one that was seen last does not look the
 * same: NFS clients go by that. */
static void check_stamp(const struct listing *l, const struct catalog_node *n)
{
	static struct {
		uint64_t listing, changed;
	} seen[ROWS_MAX + 2];
	uint64_t sum = 1;

	for (size_t i = 0; i < l->n; i++)
		sum = (sum ^ l->at[i].id) * UINT64_C(1099511628211);
	assert_true(n->id < ROWS_MAX + 2);
	if (seen[n->id].listing && seen[n->id].listing != sum)
		assert_int_not_equal(seen[n->id].changed, n->changed);
	seen[n->id].listing = sum;
	seen[n->id].changed = n->changed;
}

static void compare_dir(struct catalog *c, uint64_t id)
{
	static struct listing l;
	struct catalog_node n;
	size_t want = 0, dirs = 0;

	l.n = 0;
	l.stop = SIZE_MAX;
	assert_int_equal(catalog_readdir(c, id, 0, note_child, &l), 0);
	for (size_t i = 0; i < origin.n; i++) {
		const struct row *r = &origin.row[i];

		if (r->removed || r->parent != id)
			continue;
		want++;
		dirs += r->is_dir;
		assert_int_equal(catalog_lookup(c, id, r->name, &n), 0);
		assert_int_equal(n.id, r->id);
		if (r->is_dir)
			assert_true(n.mtime_s >= r->mtime);
		else
			assert_int_equal(n.mtime_s, r->mtime);
		assert_false(n.ghost);
	}
	assert_int_equal(l.n, want);
	for (size_t i = 1; i < l.n; i++)
		assert_true(strcmp(l.at[i - 1].name, l.at[i].name) < 0);
	assert_int_equal(catalog_get(c, id, &n), 0);
	assert_int_equal(n.n_dirs, dirs);
	check_stamp(&l, &n);
}

static void compare(struct catalog *c)
{
	struct catalog_node n;
	uint64_t live = 0;

	assert_int_equal(catalog_revision(c), origin.revision);
	compare_dir(c, 1);
	for (size_t i = 0; i < origin.n; i++) {
		const struct row *r = &origin.row[i];

		live += !r->removed;
		if (!r->removed && r->is_dir)
			compare_dir(c, r->id);
		else if (r->removed && catalog_get(c, r->id, &n) == 0)
			assert_true(n.ghost);
	}
	assert_int_equal(catalog_count(c), live);
}

static void test_random(void **state)
{
	struct catalog *c = open_it();

	(void)state;
	srandom(7);
	memset(&origin, 0, sizeof(origin));
	origin.revision = 1;
	for (int round = 0; round < 500; round++) {
		for (long k = random() % 8; k >= 0; k--)
			origin_step();
		sync_it(c);
		if (catalog_revision(c) == origin.revision)
			compare(c);
		if (random() % 10 == 0) {
			uint64_t r = catalog_revision(c);

			catalog_close(c);
			c = open_it();
			assert_int_equal(catalog_revision(c), r);
		}
	}
	sync_it(c);
	sync_it(c);
	if (catalog_revision(c) == origin.revision)
		compare(c);
	catalog_close(c);
}

/*
 * Listing in small steps while the folder changes: what is there from the
 * first step to the last comes exactly once, nothing comes twice, and the
 * order holds.
 */
static void test_cookies(void **state)
{
	struct catalog *c = open_it();
	static struct listing all, step;

	(void)state;
	srandom(11);
	memset(&origin, 0, sizeof(origin));
	origin.revision = 1;
	for (int i = 0; i < 60; i++)
		origin_step();
	sync_it(c);
	for (int round = 0; round < 40; round++) {
		static struct row before[ROWS_MAX];
		size_t n_before = origin.n;
		uint64_t cookie = 0;

		memcpy(before, origin.row, sizeof(before));
		all.n = 0;
		for (;;) {
			step.n = 0;
			step.stop = 1 + (size_t)random() % 4;
			assert_int_equal(catalog_readdir(c, 1, cookie,
							 note_child, &step),
					 0);
			for (size_t i = 0; i < step.n; i++)
				all.at[all.n++] = step.at[i];
			if (step.n < step.stop)
				break;
			cookie = step.at[step.n - 1].id;
			for (long k = random() % 6; k > 0; k--)
				origin_step();
			sync_it(c);
			sync_it(c);
		}
		for (size_t i = 1; i < all.n; i++)
			assert_true(strcmp(all.at[i - 1].name,
					   all.at[i].name) < 0);
		for (size_t i = 0; i < n_before; i++) {
			size_t seen = 0;

			if (before[i].removed || before[i].parent != 1 ||
			    origin.row[i].removed)
				continue;
			for (size_t k = 0; k < all.n; k++)
				seen += all.at[k].id == before[i].id;
			assert_int_equal(seen, 1);
		}
	}
	assert_int_equal(catalog_readdir(c, 1, 999999, note_child, &step),
			 -ENOENT);
	assert_int_equal(catalog_readdir(c, 999999, 0, note_child, &step),
			 -ENOENT);
	catalog_close(c);
}

int main(void)
{
	RUN_PAGES_TESTS(PAGES_TEST(test_random),
			PAGES_TEST(test_cookies));
}
