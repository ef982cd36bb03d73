/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of the catalog, against clients that apply them at random times while
 * names come and go: after the last page each has exactly what is published,
 * and at every page something that was published at some time.
 */
#include "storetest.h"

#include "common/limits.h"
#include "common/wire.h"
#include "tests/unit/xorshift.h"

/* ---- names without files ----------------------------------------------- */

static void put(struct storetest *t, const char *name, uint64_t content)
{
	struct digest *hash = malloc(sizeof(*hash));
	struct image_added added = {0};
	struct publish p = {.name = name, .now_s = NOW, .mtime_s = 5};
	struct manifest *m;

	assert_int_equal(crypto_sha256(&content, sizeof(content), hash), 0);
	assert_int_equal(manifest_build(1, MIB, hash, &m), 0);
	p.manifest = m;
	if (publish_add(t->db, &p, &added, &t->e))
		fail_msg("%s: %s", name, t->e.text);
	manifest_free(m);
}

static void take(struct storetest *t, const char *name)
{
	struct node n;

	assert_int_equal(node_find(t->db, name, &n, &t->e), 0);
	assert_int_equal(publish_remove(t->db, &n, NOW, &t->e), 0);
}

static void begin(struct storetest *t)
{
	assert_int_equal(db_begin(t->db, &t->e), 0);
}

static void commit(struct storetest *t)
{
	assert_int_equal(db_commit(t->db, &t->e), 0);
}

static void page(struct storetest *t, uint64_t since, struct wire_catalog *ret)
{
	assert_int_equal(catalog_page(t->s, t->db, since, ret, &t->e), 0);
	assert_int_equal(ret->since, since);
	assert_string_equal(ret->store, t->s->uuid);
	assert_true(ret->n_entries + ret->n_removed <=
		    STAGEFS_CATALOG_PAGE_ENTRIES);
}

/* ---- a client ---------------------------------------------------------- */

#define ITEMS_MAX 30000

struct item {
	uint64_t id, parent;
	char name[16];
	bool is_dir;
};

struct client {
	uint64_t revision;
	struct item item[ITEMS_MAX];
	size_t n;
};

static struct item *client_find(struct client *c, uint64_t id)
{
	for (size_t i = c->n; i-- > 0;)
		if (c->item[i].id == id)
			return &c->item[i];
	return NULL;
}

static struct item *client_name(struct client *c, uint64_t parent,
				const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->item[i].parent == parent &&
		    strcmp(c->item[i].name, name) == 0)
			return &c->item[i];
	return NULL;
}

static void client_add(struct client *c, const struct wire_entry *w, bool check)
{
	struct item *i;

	/* Parents precede children, and no name is there twice. */
	if (check) {
		assert_true(w->parent == 1 || client_find(c, w->parent));
		assert_null(client_name(c, w->parent, w->name));
		assert_null(client_find(c, w->id));
	}
	assert_true(c->n < ITEMS_MAX);
	i = &c->item[c->n++];
	i->id = w->id;
	i->parent = w->parent;
	i->is_dir = w->is_dir;
	snprintf(i->name, sizeof(i->name), "%s", w->name);
}

static void client_apply(struct client *c, const struct wire_catalog *w,
			 bool check)
{
	for (size_t i = 0; i < w->n_removed; i++) {
		struct item *it = client_find(c, w->removed[i].id);

		if (it)
			*it = c->item[--c->n];
	}
	for (size_t i = 0; i < w->n_entries; i++)
		client_add(c, &w->entry[i], check);
	c->revision = w->revision;
}

/* True if there are more pages. */
static bool client_step(struct client *c, struct storetest *t)
{
	struct wire_catalog w;
	bool more;

	page(t, c->revision, &w);
	if (w.since == 0)
		assert_int_equal(w.n_removed, 0);
	assert_true(w.revision >= c->revision);
	client_apply(c, &w, true);
	more = w.more;
	wire_catalog_free(&w);
	return more;
}

static int count_live(const struct node *n, void *ctx)
{
	struct {
		struct client *c;
		size_t n;
	} *x = ctx;
	struct item *i = client_find(x->c, n->id);

	x->n++;
	assert_non_null(i);
	assert_int_equal(i->parent, n->parent);
	assert_int_equal(i->is_dir, n->is_dir);
	return 0;
}

static void assert_in_step(struct client *c, struct storetest *t)
{
	struct {
		struct client *c;
		size_t n;
	} x = {.c = c};

	while (client_step(c, t))
		;
	assert_int_equal(c->revision, node_revision(t->db));
	assert_int_equal(node_each(t->db, count_live, &x, &t->e), 0);
	assert_int_equal(x.n, c->n);
}

/* ---- tests ------------------------------------------------------------- */

static void test_empty_and_first(void **state)
{
	struct storetest t;
	struct wire_catalog w;

	(void)state;
	storetest_begin(&t);
	page(&t, 0, &w);
	assert_int_equal(w.revision, 0);
	assert_int_equal(w.n_entries + w.n_removed, 0);
	assert_false(w.more);
	wire_catalog_free(&w);

	put(&t, "a/b", 1);
	page(&t, 0, &w);
	assert_int_equal(w.revision, 1);
	assert_int_equal(w.n_entries, 2);
	assert_true(w.entry[0].is_dir && !w.entry[1].is_dir);
	assert_string_equal(w.entry[1].name, "b");
	assert_int_equal(w.entry[1].parent, w.entry[0].id);
	assert_int_equal(w.entry[1].size_bytes, 1);
	assert_int_equal(w.entry[1].block_bytes, MIB);
	assert_int_equal(w.entry[1].mtime_s, 5);
	assert_true(w.entry[0].id > 1);
	wire_catalog_free(&w);
	storetest_end(&t);
}

static void test_since(void **state)
{
	struct storetest t;
	struct wire_catalog w;

	(void)state;
	storetest_begin(&t);
	put(&t, "a/b", 1);
	put(&t, "c", 2);
	page(&t, 1, &w);
	assert_int_equal(w.n_entries, 1);
	assert_string_equal(w.entry[0].name, "c");
	wire_catalog_free(&w);

	/* The last image takes its folder along. */
	take(&t, "a/b");
	page(&t, 2, &w);
	assert_int_equal(w.revision, 3);
	assert_int_equal(w.n_entries, 0);
	assert_int_equal(w.n_removed, 2);
	assert_int_equal(w.removed[0].parent, 1);
	assert_string_equal(w.removed[0].name, "a");
	wire_catalog_free(&w);

	/* Nothing new; and a server that is ahead of us. */
	page(&t, 3, &w);
	assert_int_equal(w.revision, 3);
	assert_int_equal(w.n_entries + w.n_removed, 0);
	wire_catalog_free(&w);
	page(&t, 77, &w);
	assert_int_equal(w.revision, 3);
	assert_int_equal(w.n_entries + w.n_removed, 0);
	wire_catalog_free(&w);

	/* Removed rows are not for those who start from nothing. */
	page(&t, 0, &w);
	assert_int_equal(w.n_entries, 1);
	assert_int_equal(w.n_removed, 0);
	assert_int_equal(w.revision, 3);
	wire_catalog_free(&w);
	storetest_end(&t);
}

static void fill(struct storetest *t, unsigned from, unsigned to)
{
	char name[32];

	begin(t);
	for (unsigned i = from; i < to; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		put(t, name, i);
	}
	commit(t);
}

static void test_pages_end_at_the_limit(void **state)
{
	const unsigned max = STAGEFS_CATALOG_PAGE_ENTRIES;
	struct storetest t;
	struct wire_catalog w;

	(void)state;
	storetest_begin(&t);
	fill(&t, 0, max);
	page(&t, 0, &w);
	assert_int_equal(w.n_entries, max);
	assert_false(w.more);
	wire_catalog_free(&w);

	fill(&t, max, max + 1);
	page(&t, 0, &w);
	assert_int_equal(w.n_entries, max);
	assert_true(w.more);
	assert_int_equal(w.revision, max);
	wire_catalog_free(&w);
	page(&t, max, &w);
	assert_int_equal(w.n_entries, 1);
	assert_false(w.more);
	wire_catalog_free(&w);

	/* Old and new version, one revision: they stay on one page. */
	put(&t, "n5", 999999);
	page(&t, 1, &w);
	assert_int_equal(w.n_entries + w.n_removed, max - 1);
	assert_true(w.more);
	assert_int_equal(w.revision, max + 1);
	wire_catalog_free(&w);
	storetest_end(&t);
}

/* Long names that are not ASCII, on a full page. */
static void test_full_page_fits_its_bytes(void **state)
{
	char name[STAGEFS_NAME_MAX_BYTES + 1];
	struct storetest t;
	struct wire_catalog w;
	char *json;
	size_t n;

	(void)state;
	storetest_begin(&t);
	begin(&t);
	for (unsigned i = 0; i < STAGEFS_CATALOG_PAGE_ENTRIES; i++) {
		for (size_t k = 0; k < 240; k += 2)
			memcpy(name + k, "\xc3\xa9", 2);
		snprintf(name + 240, sizeof(name) - 240, "%u", i);
		put(&t, name, i);
	}
	commit(&t);
	page(&t, 0, &w);
	assert_int_equal(w.n_entries, STAGEFS_CATALOG_PAGE_ENTRIES);
	assert_int_equal(wire_catalog_encode(&w, &json, &n), 0);
	assert_true(n < STAGEFS_CATALOG_PAGE_MAX_BYTES);
	free(json);
	wire_catalog_free(&w);
	storetest_end(&t);
}

static uint64_t next_random(uint64_t *x)
{
	return xorshift(x) >> 11;
}

/* One of 8 x 8 x 8 names, in folders one to three deep. */
static void random_name(uint64_t *x, char out[32])
{
	unsigned a = next_random(x) % 8, b = next_random(x) % 8,
		 c = next_random(x) % 8;

	switch (next_random(x) % 3) {
	case 0:
		snprintf(out, 32, "f%u", a);
		break;
	case 1:
		snprintf(out, 32, "d%u/f%u", a, b);
		break;
	default:
		snprintf(out, 32, "d%u/e%u/f%u", a, b, c);
	}
}

static void random_change(struct storetest *t, uint64_t *x)
{
	char name[32];
	struct node n;

	random_name(x, name);
	if (next_random(x) % 100 < 45 && node_find(t->db, name, &n, NULL) == 0)
		take(t, name);
	else
		put(t, name, next_random(x) % 4);
}

static void test_random_changes_reach_every_client(void **state)
{
	enum { CLIENTS = 4, ROUNDS = 4000 };
	struct client *c = calloc(CLIENTS, sizeof(*c));
	uint64_t x = 88172645463325252;
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	db_run(t.db, NULL, "PRAGMA synchronous=OFF", "");
	for (unsigned i = 0; i < ROUNDS; i++) {
		random_change(&t, &x);
		/* Each asks at its own pace; one may start from nothing. */
		for (unsigned k = 0; k < CLIENTS; k++) {
			if (next_random(&x) % (3 + 40 * k))
				continue;
			if (next_random(&x) % 20 == 0)
				c[k].n = c[k].revision = 0;
			assert_in_step(&c[k], &t);
		}
	}
	for (unsigned k = 0; k < CLIENTS; k++)
		assert_in_step(&c[k], &t);
	free(c);
	storetest_end(&t);
}

/* Changes between the pages of one catalog. */
static void test_changes_between_pages(void **state)
{
	struct client *c = calloc(1, sizeof(*c));
	struct storetest t;
	bool more = true;
	unsigned pages = 0;

	(void)state;
	storetest_begin(&t);
	fill(&t, 0, 12000);
	while (more) {
		struct wire_catalog w;

		page(&t, c->revision, &w);
		client_apply(c, &w, false); /* the clients' look-up is linear */
		more = w.more;
		wire_catalog_free(&w);
		if (pages++ > 2)
			continue;
		begin(&t);
		put(&t, "n7", 5000 + pages);	 /* a page that is past */
		put(&t, "n11000", 6000 + pages); /* one to come */
		put(&t, "new/x", pages);
		take(&t, pages == 1 ? "n8" : pages == 2 ? "n11001" : "n9");
		commit(&t);
	}
	/* The change after the last page is not there yet. */
	assert_int_equal(pages, 3);
	assert_int_equal(c->n, 12000 - 2 + 2);
	assert_in_step(c, &t);
	free(c);
	storetest_end(&t);
}

static struct storetest *other;

static void replace_x(const char *step)
{
	struct storetest t = *other;

	(void)step;
	store_step_hook = NULL;
	assert_int_equal(origindb_open(t.store_dir, &t.db, &t.e), 0);
	begin(&t);
	put(&t, "x", 2);
	commit(&t);
	db_close(t.db);
}

/* Another process commits while a page is read: before or after, not both. */
static void test_page_is_of_one_moment(void **state)
{
	struct storetest t;
	struct wire_catalog w;
	uint64_t old;

	(void)state;
	storetest_begin(&t);
	put(&t, "x", 1);
	other = &t;
	store_step_hook = replace_x;
	page(&t, 0, &w);
	assert_int_equal(w.revision, 1);
	assert_int_equal(w.n_entries, 1);
	old = w.entry[0].id;
	wire_catalog_free(&w);
	page(&t, 1, &w);
	assert_int_equal(w.revision, 2);
	assert_true(w.entry[0].id > old);
	assert_int_equal(w.removed[0].id, old);
	assert_int_equal(w.n_entries, 1);
	assert_int_equal(w.n_removed, 1);
	wire_catalog_free(&w);
	storetest_end(&t);
}

static void test_node_get_and_find(void **state)
{
	struct storetest t;
	struct node n, m;
	bool removed;

	(void)state;
	storetest_begin(&t);
	put(&t, "a/b/c", 1);
	assert_int_equal(node_find(t.db, "a/b/c", &n, &t.e), 0);
	assert_string_equal(n.name, "a/b/c");
	assert_int_equal(node_get(t.db, n.id, &m, &removed, &t.e), 0);
	assert_false(removed);
	assert_string_equal(m.name, "a/b/c");
	assert_int_equal(node_get(t.db, n.parent, &m, &removed, &t.e), 0);
	assert_string_equal(m.name, "a/b");
	assert_true(m.is_dir);
	take(&t, "a/b/c");
	assert_int_equal(node_get(t.db, n.id, &m, &removed, &t.e), 0);
	assert_true(removed);
	assert_string_equal(m.name, "a/b/c");
	assert_int_equal(node_find(t.db, "a/b/c", &m, &t.e), -ENOENT);
	assert_non_null(strstr(t.e.text, "image list"));
	assert_int_equal(node_find(t.db, "A/b", &m, &t.e), -ENOENT);
	assert_int_equal(node_find(t.db, "../b", &m, &t.e), -EINVAL);
	assert_int_equal(node_get(t.db, 4711, &m, &removed, &t.e), -ENOENT);
	storetest_end(&t);
}

/* Servers refuse more; so the origin does. */
static void test_catalog_has_an_end(void **state)
{
	struct image_added added;
	struct digest *hash = calloc(1, sizeof(*hash));
	struct publish p = {.name = "one/more", .now_s = NOW};
	struct storetest t;
	struct manifest *m;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(manifest_build(1, MIB, hash, &m), 0);
	p.manifest = m;
	assert_int_equal(
		db_run(t.db, &t.e,
		       "WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL"
		       " SELECT i+1 FROM k WHERE i<?)"
		       " INSERT INTO node(parent,name,fold,is_dir,mtime_s,"
		       "added_s,revision)"
		       " SELECT 1,'n'||i,'n'||i,1,0,0,i FROM k",
		       "i",
		       (int64_t)STAGEFS_CATALOG_MAX_ENTRIES -
			       STAGEFS_PATH_MAX_DEPTH),
		0);
	assert_int_equal(publish_add(t.db, &p, &added, &t.e), -ENOSPC);
	assert_non_null(strstr(t.e.text, "full"));
	assert_int_equal(db_run(t.db, &t.e, "DELETE FROM node WHERE id>1000",
				""),
			 0);
	assert_int_equal(publish_add(t.db, &p, &added, &t.e), 0);
	manifest_free(m);
	storetest_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_and_first),
		cmocka_unit_test(test_since),
		cmocka_unit_test(test_pages_end_at_the_limit),
		cmocka_unit_test(test_full_page_fits_its_bytes),
		cmocka_unit_test(test_random_changes_reach_every_client),
		cmocka_unit_test(test_changes_between_pages),
		cmocka_unit_test(test_page_is_of_one_moment),
		cmocka_unit_test(test_node_get_and_find),
		cmocka_unit_test(test_catalog_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
