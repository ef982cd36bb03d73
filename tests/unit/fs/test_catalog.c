/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog: what it answers and what it refuses. Keeps R8 (answers from
 * memory) by having no network at all, and the refusals of forged, older and
 * foreign catalogs.
 */
#include "tests/unit/fs/catalog_pages.h"

/* ---- plain use --------------------------------------------------------- */

static void test_life(void **state)
{
	struct catalog *c = open_it();
	struct catalog_node n;
	char path[128], store[UUID_TEXT];

	(void)state;
	assert_int_equal(catalog_revision(c), 0);
	assert_int_equal(catalog_get(c, 1, &n), 0);
	assert_true(n.is_dir);
	assert_int_equal(catalog_next(c), 0);
	assert_int_equal(GIVE(c, 0, 3, {2, 1, 1, "win11", true, false, 5},
			      {3, 2, 3, "base.wim", false, false, 6}), 0);
	assert_int_equal(n_changes, 1); /* only the root was known before */
	assert_true(changed(1, 0, "win11"));
	assert_int_equal(catalog_revision(c), 3);
	assert_int_equal(catalog_next(c), 3);
	assert_int_equal(catalog_count(c), 2);
	catalog_store(c, store);
	assert_string_equal(store, STORE);
	assert_int_equal(catalog_find(c, "win11/base.wim", &n), 0);
	assert_int_equal(n.id, 3);
	assert_int_equal(n.size_bytes, 3000);
	assert_int_equal(catalog_lookup(c, 3, ".", &n), 0);
	assert_int_equal(n.id, 3);
	assert_int_equal(catalog_lookup(c, 3, "..", &n), 0);
	assert_int_equal(n.id, 2);
	assert_int_equal(catalog_lookup(c, 1, "..", &n), 0);
	assert_int_equal(n.id, 1);
	assert_int_equal(n.n_dirs, 1);
	assert_int_equal(catalog_lookup(c, 3, "x", &n), -ENOTDIR);
	assert_int_equal(catalog_lookup(c, 2, "x", &n), -ENOENT);
	assert_int_equal(catalog_lookup(c, 77, "x", &n), -ENOENT);
	assert_int_equal(catalog_find(c, "win11/", &n), -ENOENT);
	assert_int_equal(catalog_find(c, "/win11", &n), -ENOENT);
	assert_int_equal(catalog_find(c, "", &n), 0);
	assert_int_equal(catalog_path(c, 3, path, sizeof(path)), 0);
	assert_string_equal(path, "win11/base.wim");
	assert_int_equal(catalog_path(c, 3, path, 14), -ENAMETOOLONG);
	assert_int_equal(catalog_path(c, 3, path, 15), 0);
	assert_int_equal(catalog_path(c, 9, path, 15), -ENOENT);

	/* A new version under the old name. */
	assert_int_equal(GIVE(c, 3, 4, {3, 2, 4, "base.wim", .removed = true},
			      {4, 2, 4, "base.wim", false, false, 8}), 0);
	assert_int_equal(n_changes, 1);
	assert_true(changed(2, 3, "base.wim"));
	assert_int_equal(catalog_find(c, "win11/base.wim", &n), 0);
	assert_int_equal(n.id, 4);
	assert_int_equal(catalog_get(c, 3, &n), 0);
	assert_true(n.ghost);
	assert_int_equal(n.size_bytes, 3000);

	/* All of it gone, folder first in the list. */
	assert_int_equal(GIVE(c, 4, 5, {2, 1, 5, "win11", .removed = true},
			      {4, 2, 5, "base.wim", .removed = true}), 0);
	assert_true(changed(1, 2, "win11"));
	assert_true(changed(2, 4, "base.wim"));
	assert_int_equal(catalog_count(c), 0);
	assert_int_equal(catalog_get(c, 1, &n), 0);
	assert_int_equal(n.n_dirs, 0);
	catalog_close(c);
}

/* What NFS clients go by: a folder looks different after each change of it,
 * and no other folder does. */
static void test_folders_change(void **state)
{
	struct catalog *c = open_it();
	struct catalog_node n;

	(void)state;
	assert_int_equal(GIVE(c, 0, 3, {2, 1, 1, "a", true, false, 50},
			      {3, 1, 2, "b", true, false, 60},
			      {4, 2, 3, "x", false, false, 70}), 0);
	assert_int_equal(catalog_get(c, 2, &n), 0);
	assert_int_equal(n.changed, 3);
	assert_int_equal(n.mtime_s, 70);
	assert_int_equal(catalog_get(c, 1, &n), 0);
	assert_int_equal(n.mtime_s, 60);

	/* Replaced by something older. */
	assert_int_equal(GIVE(c, 3, 4, {4, 2, 4, "x", .removed = true},
			      {5, 2, 4, "x", false, false, 8}), 0);
	assert_int_equal(catalog_get(c, 2, &n), 0);
	assert_int_equal(n.changed, 4);
	assert_int_equal(n.mtime_s, 70);
	assert_int_equal(GIVE(c, 4, 5, {5, 2, 5, "x", .removed = true}), 0);
	assert_int_equal(catalog_get(c, 2, &n), 0);
	assert_int_equal(n.changed, 5);
	assert_int_equal(catalog_get(c, 3, &n), 0);
	assert_int_equal(n.changed, 0);
	assert_int_equal(catalog_get(c, 1, &n), 0);
	assert_int_equal(n.changed, 3);

	/* Named again, all at once, it is as it was. */
	assert_int_equal(GIVE(c, 0, 9, {2, 1, 1, "a", true, false, 50},
			      {3, 1, 2, "b", true, false, 60}), 0);
	assert_int_equal(catalog_get(c, 2, &n), 0);
	assert_int_equal(n.changed, 5);
	assert_int_equal(n.mtime_s, 70);
	catalog_close(c);

	/* From the disk: not older than what a client may have seen. */
	c = open_it();
	assert_int_equal(catalog_get(c, 1, &n), 0);
	assert_true(n.changed >= 3);
	catalog_close(c);
}

static void test_generation(void **state)
{
	struct catalog *c = open_it();
	uint64_t g;

	(void)state;
	assert_int_equal(GIVE(c, 0, 1, {2, 1, 1, "a", true}), 0);
	g = catalog_generation(c);
	assert_true(g > 0 && g <= UINT32_MAX); /* what an NFS handle holds */
	catalog_close(c);
	c = open_it();
	assert_true(catalog_generation(c) == g);
	catalog_close(c);
}

/* ---- refusals: the last good state stays ------------------------------- */

static void expect_kept(struct catalog *c)
{
	struct catalog_node n;

	assert_int_equal(catalog_revision(c), 3);
	assert_int_equal(catalog_next(c), 3);
	assert_int_equal(catalog_count(c), 2);
	assert_int_equal(catalog_find(c, "d/f", &n), 0);
	assert_int_equal(n.id, 3);
	assert_int_equal(n.mtime_s, 6);
	assert_int_equal(catalog_get(c, 2, &n), 0);
	assert_int_equal(n.n_dirs, 0);
}

static void test_refusals(void **state)
{
	struct catalog *c = open_it();
	struct catalog_node n;
	struct err e;
	size_t size;
	bool more;
	char *text;

	(void)state;
	assert_int_equal(GIVE(c, 0, 3, {2, 1, 1, "d", true, false, 5},
			      {3, 2, 3, "f", false, false, 6}), 0);
#define REFUSED(error, call)                              \
	do {                                              \
		assert_int_equal(call, error);            \
		expect_kept(c);                           \
	} while (0)
	/* forged, foreign, older */
	REFUSED(-EKEYREJECTED, give(c, STORE, 3, 4, false, NULL, 0,
				    &wrong_key));
	REFUSED(-EXDEV, give(c, OTHER, 3, 4, false, NULL, 0, &key));
	REFUSED(-EXDEV, give(c, OTHER, 0, 4, false, NULL, 0, &key));
	REFUSED(-ESTALE, give(c, STORE, 3, 2, false, NULL, 0, &key));
	REFUSED(-ESTALE, give(c, STORE, 0, 2, false, NULL, 0, &key));
	REFUSED(-EPROTO, give(c, STORE, 2, 4, false, NULL, 0, &key));
	REFUSED(-EPROTO, give(c, STORE, 4, 5, false, NULL, 0, &key));
	REFUSED(-EPROTO, give(c, STORE, 3, 3, true, NULL, 0, &key));
	text = make_page(STORE, 3, 4, false, NULL, 0, &key, &size);
	for (size_t i = 0; i < size; i += 7) {
		char was = text[i];

		text[i] ^= 1;
		assert_int_not_equal(
			catalog_apply(c, text, size, &more, &changes,
				      &n_changes, &e), 0);
		text[i] = was;
	}
	for (size_t i = 0; i < size; i += 11)
		assert_int_not_equal(
			catalog_apply(c, text, i, &more, &changes, &n_changes,
				      &e), 0);
	free(text);
	expect_kept(c);

	/* contradictions; some steps have been done when they show */
	REFUSED(-EPROTO, GIVE(c, 3, 4, {5, 1, 4, "ok"}, {6, 77, 4, "x"}));
	REFUSED(-EPROTO, GIVE(c, 3, 4, {3, 2, 4, "f", .removed = true},
			      {6, 3, 4, "x"}));
	REFUSED(-EPROTO, GIVE(c, 3, 4, {5, 1, 4, "d"}));
	REFUSED(-EPROTO, GIVE(c, 3, 4, {5, 2, 4, "g"}, {6, 2, 4, "g"}));
	REFUSED(-EPROTO, GIVE(c, 3, 4, {2, 1, 4, "d", .removed = true}));
	REFUSED(-EPROTO, GIVE(c, 3, 4, {3, 1, 4, "f", false, false, 6}));
	REFUSED(-EPROTO, GIVE(c, 3, 4, {3, 2, 4, "g", false, false, 6}));
	REFUSED(-EPROTO, GIVE(c, 3, 4, {3, 2, 4, "f", true, false, 6}));
	REFUSED(-EPROTO, GIVE(c, 3, 4, {2, 1, 4, "d", true, false, 9},
			      {6, 77, 4, "x"}));
	/* a cycle, and a folder that holds itself */
	REFUSED(-EPROTO, GIVE(c, 3, 4, {5, 6, 4, "a", true},
			      {6, 5, 4, "b", true}));
	REFUSED(-EPROTO, GIVE(c, 3, 4, {5, 5, 4, "a", true}));
	/* a full one that leaves out the folder of an entry */
	REFUSED(-EPROTO, GIVE(c, 0, 4, {3, 2, 4, "f", false, false, 6}));
	assert_int_equal(catalog_get(c, 5, &n), -ENOENT);
	/* pages before a bad one are dropped with it */
	assert_int_equal(give(c, STORE, 3, 4, true,
			      &(struct row){5, 1, 4, "ok"}, 1, &key), 0);
	assert_int_equal(catalog_next(c), 4);
	REFUSED(-EPROTO, give(c, STORE, 5, 6, false, NULL, 0, &key));
	assert_int_equal(catalog_get(c, 5, &n), -ENOENT);
	/* and none of it stands on disk */
	catalog_close(c);
	c = open_it();
	expect_kept(c);
	assert_int_equal(GIVE(c, 3, 4, {5, 1, 4, "ok"}), 0);
	catalog_close(c);
}

static void test_depth(void **state)
{
	struct catalog *c = open_it();
	struct row deep[STAGEFS_PATH_MAX_DEPTH + 1];

	(void)state;
	for (unsigned i = 0; i <= STAGEFS_PATH_MAX_DEPTH; i++)
		deep[i] = (struct row){i + 2, i + 1, 1, "d", true};
	assert_int_equal(give(c, STORE, 0, 1, false, deep,
			      STAGEFS_PATH_MAX_DEPTH + 1, &key), -EPROTO);
	assert_int_equal(give(c, STORE, 0, 1, false, deep,
			      STAGEFS_PATH_MAX_DEPTH, &key), 0);
	assert_int_equal(catalog_count(c), STAGEFS_PATH_MAX_DEPTH);
	catalog_close(c);
}

/* One more than a server takes: all or nothing, so nothing. */
static void test_too_many(void **state)
{
	size_t n = STAGEFS_CATALOG_MAX_ENTRIES + 1;
	struct wire_catalog page = {.revision = 1};
	struct catalog_change *ch = NULL;
	size_t n_ch = 0;
	struct tree tree;

	(void)state;
	assert_int_equal(tree_init(&tree), 0);
	for (int round = 0; round < 2; round++) {
		page.entry = calloc(n, sizeof(*page.entry));
		page.n_entries = n - (size_t)round;
		for (size_t i = 0; i < page.n_entries; i++) {
			char name[24];

			snprintf(name, sizeof(name), "%08zu", i);
			page.entry[i] = (struct wire_entry){
				.id = i + 2, .parent = 1, .is_dir = true,
				.name = strdup(name)};
		}
		assert_int_equal(tree_apply(&tree, &page, 1, true, &ch, &n_ch,
					    NULL), round ? 0 : -E2BIG);
		assert_int_equal(tree.n_live, round ? n - 1 : 0);
		assert_int_equal(HASH_COUNT(tree.by_id), tree.n_live + 1);
		wire_catalog_free(&page);
	}
	assert_int_equal(n_ch, n - 1);
	catalog_changes_free(ch, n_ch);
	tree_free(&tree);
}

/* An origin that goes on for ever: pages are only kept up to a bound. */
static void test_endless_pages(void **state)
{
	struct catalog *c = open_it();
	size_t n = STAGEFS_CATALOG_PAGE_ENTRIES, pages = 0;
	struct row *row = calloc(n, sizeof(*row));
	int r = 0;

	(void)state;
	for (size_t i = 0; i < n; i++)
		row[i] = (struct row){i + 2, 1, 1, "x", .removed = true};
	assert_int_equal(give(c, STORE, 0, 1, false, NULL, 0, &key), 0);
	while (r == 0 && pages++ < 1000)
		r = give(c, STORE, pages, pages + 1, true, row, n, &key);
	assert_int_equal(r, -E2BIG);
	assert_int_equal(pages, 2 * STAGEFS_CATALOG_MAX_ENTRIES / n + 1);
	assert_int_equal(catalog_next(c), 1);
	free(row);
	catalog_close(c);
}

static void test_keys(void **state)
{
	struct catalog *c = NULL;
	struct sign_public got;
	struct err e;

	(void)state;
	/* pinned: nothing else is accepted, not even at first */
	assert_int_equal(catalog_open(dirfd_, &wrong_key.pub, &c, &e), 0);
	assert_int_equal(GIVE(c, 0, 1, {2, 1, 1, "a", true}), -EKEYREJECTED);
	catalog_close(c);
	/* trusted at first use, and then kept */
	c = open_it();
	assert_false(catalog_key(c, &got));
	assert_int_equal(GIVE(c, 0, 1, {2, 1, 1, "a", true}), 0);
	assert_true(catalog_key(c, &got));
	assert_memory_equal(got.b, key.pub.b, sizeof(got.b));
	catalog_close(c);
	c = open_it();
	assert_int_equal(give(c, STORE, 1, 2, false, NULL, 0, &wrong_key),
			 -EKEYREJECTED);
	catalog_close(c);
	c = NULL;
	assert_int_equal(catalog_open(dirfd_, &wrong_key.pub, &c, &e),
			 -EKEYREJECTED);
	assert_null(c);
	assert_int_equal(catalog_open(dirfd_, &key.pub, &c, &e), 0);
	assert_int_equal(catalog_revision(c), 1);
	catalog_close(c);
	/* even without the catalog the key stays */
	unlinkat(dirfd_, "catalog", 0);
	c = open_it();
	assert_int_equal(give(c, STORE, 0, 2, false, NULL, 0, &wrong_key),
			 -EKEYREJECTED);
	catalog_close(c);
}

/* ---- ghosts ------------------------------------------------------------ */

static void test_ghosts_are_bounded(void **state)
{
	struct catalog *c = open_it();
	struct row row[1000];
	uint64_t rev = 0, id = 2;
	struct catalog_node n;

	(void)state;
	while (id < TREE_GHOSTS_MAX + 5002) {
		uint64_t first = id;

		for (size_t i = 0; i < 1000; i++) {
			row[i] = (struct row){id++, 1, rev + 1};
			snprintf(row[i].name, sizeof(row[i].name), "n%zu", i);
		}
		assert_int_equal(give(c, STORE, rev, rev + 1, false, row, 1000,
				      &key), 0);
		rev++;
		for (size_t i = 0; i < 1000; i++)
			row[i].removed = true;
		assert_int_equal(give(c, STORE, rev, rev + 1, false, row, 1000,
				      &key), 0);
		rev++;
		assert_int_equal(catalog_get(c, first, &n), 0);
		assert_true(n.ghost);
	}
	assert_int_equal(catalog_get(c, 2, &n), -ENOENT); /* the oldest */
	assert_int_equal(catalog_get(c, 5001, &n), -ENOENT);
	assert_int_equal(catalog_get(c, 5002, &n), 0);
	assert_int_equal(catalog_count(c), 0);
	catalog_close(c);
}

int main(void)
{
	RUN_PAGES_TESTS(PAGES_TEST(test_life),
			PAGES_TEST(test_folders_change),
			PAGES_TEST(test_generation),
			PAGES_TEST(test_refusals),
			PAGES_TEST(test_depth),
			PAGES_TEST(test_too_many),
			PAGES_TEST(test_endless_pages),
			PAGES_TEST(test_keys),
			PAGES_TEST(test_ghosts_are_bounded));
}
