/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog: what is refused, what survives a crash, cookies, and a random
 * run against a small model of the origin's table of nodes. Keeps R8 (answers
 * from memory) by having no network at all, and the refusals of forged, older
 * and foreign catalogs.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/envelope.h"
#include "common/fdio.h"
#include "common/limits.h"
#include "common/log.h"
#include "fs/catalog/catalog.h"
#include "fs/catalog/tree.h"

/* Rows are written short: what is left out is 0. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define STORE "11111111-2222-4333-8444-555555555555"
#define OTHER "99999999-2222-4333-8444-555555555555"

static struct sign_secret key, wrong_key;
static char dir[64];
static int dirfd_;

static int set_up(void **state)
{
	(void)state;
	/* In memory: each of thousands of syncs would wait for a disk. */
	strcpy(dir, access("/dev/shm", W_OK) ? "/tmp/test_catalog.XXXXXX"
					     : "/dev/shm/catalog.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0;
}

static int tear_down(void **state)
{
	static const char *const name[] = {"catalog", "catalog.new",
					   "catalog.bad", "key.pub"};

	(void)state;
	for (size_t i = 0; i < 4; i++)
		unlinkat(dirfd_, name[i], 0);
	close(dirfd_);
	return rmdir(dir);
}

/* ---- pages ------------------------------------------------------------- */

struct row {
	uint64_t id, parent, revision;
	char name[24];
	bool is_dir, removed;
	int64_t mtime;
};

static void fill_entry(const struct row *r, struct wire_entry *w)
{
	*w = (struct wire_entry){.id = r->id,
				 .parent = r->parent,
				 .name = strdup(r->name),
				 .is_dir = r->is_dir,
				 .mtime_s = r->mtime};
	if (r->is_dir)
		return;
	w->size_bytes = r->id * 1000;
	w->block_bytes = STAGEFS_BLOCK_DEFAULT_BYTES;
	memset(w->digest.b, (int)(r->id & 0xff), sizeof(w->digest.b));
}

static char *seal(struct wire_catalog *w, const struct sign_secret *k,
		  size_t *ret_n)
{
	CLEAN_FREE char *json = NULL;
	char *text;
	size_t n;

	assert_int_equal(wire_catalog_encode(w, &json, &n), 0);
	assert_int_equal(envelope_seal(k, json, n, &text, ret_n), 0);
	return text;
}

static char *make_page(const char *store, uint64_t since, uint64_t revision,
		       bool more, const struct row *row, size_t n_rows,
		       const struct sign_secret *k, size_t *ret_n)
{
	struct wire_catalog w = {.since = since, .revision = revision,
				 .more = more};
	char *text;

	memcpy(w.store, store, UUID_TEXT);
	w.entry = calloc(n_rows + 1, sizeof(*w.entry));
	w.removed = calloc(n_rows + 1, sizeof(*w.removed));
	for (size_t i = 0; i < n_rows; i++) {
		if (row[i].removed)
			w.removed[w.n_removed++] = (struct wire_removed){
				row[i].id, row[i].parent, strdup(row[i].name)};
		else
			fill_entry(&row[i], &w.entry[w.n_entries++]);
	}
	text = seal(&w, k, ret_n);
	wire_catalog_free(&w);
	return text;
}

static struct catalog_change *changes;
static size_t n_changes;

static int give(struct catalog *c, const char *store, uint64_t since,
		uint64_t revision, bool more, const struct row *row,
		size_t n_rows, const struct sign_secret *k)
{
	struct err e = {""};
	bool got_more;
	size_t n;
	CLEAN_FREE char *text =
		make_page(store, since, revision, more, row, n_rows, k, &n);
	int r;

	catalog_changes_free(changes, n_changes);
	changes = NULL;
	n_changes = 0;
	r = catalog_apply(c, text, n, &got_more, &changes, &n_changes, &e);
	if (r)
		assert_true(*e.text);
	else
		assert_int_equal(got_more, more);
	return r;
}

#define GIVE(c, since, revision, ...)                                    \
	give(c, STORE, since, revision, false,                           \
	     (const struct row[]){__VA_ARGS__},                          \
	     sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row), \
	     &key)

static struct catalog *open_it(void)
{
	struct catalog *c = NULL;
	struct err e;
	int r = catalog_open(dirfd_, NULL, &c, &e);

	if (r)
		fail_msg("%s", e.text);
	return c;
}

static bool changed(uint64_t parent, uint64_t id, const char *name)
{
	for (size_t i = 0; i < n_changes; i++)
		if (changes[i].parent == parent && changes[i].id == id &&
		    strcmp(changes[i].name, name) == 0)
			return true;
	return false;
}

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

/* ---- the file ---------------------------------------------------------- */

static void write_catalog(const char *data, size_t n)
{
	assert_int_equal(file_replace_at(dirfd_, "catalog", data, n, 0600), 0);
	unlinkat(dirfd_, "catalog.bad", 0);
}

static bool exists(const char *name)
{
	struct stat st;

	return fstatat(dirfd_, name, &st, 0) == 0;
}

/* Three batches, the last of two pages; returns the file, and where the
 * batches end. */
static char *three_batches(size_t end[3], size_t *ret_n)
{
	struct catalog *c = open_it();
	struct stat st;
	char *data;

	assert_int_equal(GIVE(c, 0, 1, {2, 1, 1, "a", true}), 0);
	assert_int_equal(fstatat(dirfd_, "catalog", &st, 0), 0);
	end[0] = (size_t)st.st_size;
	assert_int_equal(GIVE(c, 1, 2, {3, 2, 2, "b"}), 0);
	assert_int_equal(fstatat(dirfd_, "catalog", &st, 0), 0);
	end[1] = (size_t)st.st_size;
	assert_int_equal(give(c, STORE, 2, 3, true,
			      &(struct row){4, 2, 3, "c"}, 1, &key), 0);
	assert_int_equal(GIVE(c, 3, 4, {5, 2, 4, "d"}), 0);
	catalog_close(c);
	assert_int_equal(file_read_at(dirfd_, "catalog", 1 << 20, &data,
				      ret_n), 0);
	end[2] = *ret_n;
	return data;
}

/* Cut at every byte: whole batches, never half of one; and it goes on. */
static void test_cut_everywhere(void **state)
{
	size_t end[3], n;
	CLEAN_FREE char *data = three_batches(end, &n);

	(void)state;
	for (size_t cut = 0; cut <= n; cut++) {
		uint64_t want = cut >= end[2] ? 4 : cut >= end[1] ? 2
			      : cut >= end[0] ? 1 : 0;
		struct catalog *c;

		write_catalog(data, cut);
		c = open_it();
		assert_int_equal(catalog_revision(c), want);
		assert_int_equal(catalog_count(c), want);
		assert_false(exists("catalog.bad"));
		if (cut % 16 == 0 || cut == n) {
			/* and a batch can follow */
			assert_int_equal(catalog_next(c), want);
			assert_int_equal(give(c, STORE, want, 9, false,
					      &(struct row){9, 1, 9, "z"}, 1,
					      &key), 0);
			catalog_close(c);
			c = open_it();
			assert_int_equal(catalog_revision(c), 9);
			assert_int_equal(catalog_count(c), want + 1);
		}
		catalog_close(c);
	}
}

/* A flipped bit: what comes before it is good, the rest is set aside. */
static void test_damage(void **state)
{
	size_t end[3], n;
	CLEAN_FREE char *data = three_batches(end, &n);

	(void)state;
	log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	for (size_t at = 0; at < n; at += 3) {
		struct catalog *c;
		uint64_t r;

		data[at] ^= 4;
		write_catalog(data, n);
		data[at] ^= 4;
		c = open_it();
		r = catalog_revision(c);
		assert_int_equal(r, at >= end[1]   ? 2
				    : at >= end[0] ? 1
						   : 0);
		assert_int_equal(catalog_count(c), r);
		if (exists("catalog.bad"))
			assert_int_equal(catalog_next(c), 0);
		catalog_close(c);
		c = open_it(); /* the second time there is nothing to say */
		assert_int_equal(catalog_revision(c), r);
		catalog_close(c);
	}
	log_set_fd(2);
}

/* Increments gather, a full one is asked for and replaces the file. */
static void test_rewrite(void **state)
{
	struct catalog *c = open_it();
	uint64_t rev = 1, largest = 0;
	struct row row[200];
	unsigned fulls = 0;
	struct stat st;

	(void)state;
	for (uint64_t i = 0; i < 200; i++) {
		row[i] = (struct row){i + 2, 1, 1, "", true};
		snprintf(row[i].name, sizeof(row[i].name), "%d", (int)i);
	}
	assert_int_equal(give(c, STORE, 0, rev, false, row, 200, &key), 0);
	while (rev < 500) {
		if (catalog_next(c) == 0) {
			assert_int_equal(give(c, STORE, 0, rev, false, row,
					      200, &key), 0);
			fulls++;
		}
		for (int i = 0; i < 200; i++)
			row[i].mtime++;
		assert_int_equal(give(c, STORE, rev, rev + 1, false, row, 200,
				      &key), 0);
		rev++;
		assert_int_equal(fstatat(dirfd_, "catalog", &st, 0), 0);
		if ((uint64_t)st.st_size > largest)
			largest = (uint64_t)st.st_size;
	}
	assert_true(fulls > 0);
	assert_true(largest < 2 << 20);
	catalog_close(c);
	c = open_it();
	assert_int_equal(catalog_revision(c), rev);
	assert_int_equal(catalog_count(c), 200);
	catalog_close(c);
}

/* The disk fails: readers get the new names all the same. */
static void test_disk_full(void **state)
{
	struct catalog *c = open_it();
	struct catalog_node n;

	(void)state;
	log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	assert_int_equal(GIVE(c, 0, 1, {2, 1, 1, "a", true}), 0);
	/* A folder in the file's place: open for writing fails. */
	unlinkat(dirfd_, "catalog", 0);
	assert_int_equal(mkdirat(dirfd_, "catalog", 0700), 0);
	assert_int_equal(GIVE(c, 1, 2, {3, 2, 2, "b"}), 0);
	assert_int_equal(catalog_find(c, "a/b", &n), 0);
	assert_int_equal(catalog_next(c), 0);
	assert_int_equal(unlinkat(dirfd_, "catalog", AT_REMOVEDIR), 0);
	assert_int_equal(GIVE(c, 0, 2, {2, 1, 1, "a", true}, {3, 2, 2, "b"}),
			 0);
	assert_int_equal(n_changes, 0);
	assert_int_equal(catalog_next(c), 2);
	catalog_close(c);
	c = open_it();
	assert_int_equal(catalog_revision(c), 2);
	catalog_close(c);
	log_set_fd(2);
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
		assert_int_equal(n.mtime_s, r->mtime);
		assert_false(n.ghost);
	}
	assert_int_equal(l.n, want);
	for (size_t i = 1; i < l.n; i++)
		assert_true(strcmp(l.at[i - 1].name, l.at[i].name) < 0);
	assert_int_equal(catalog_get(c, id, &n), 0);
	assert_int_equal(n.n_dirs, dirs);
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
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_life),	       T(test_generation),
		T(test_refusals),      T(test_depth),
		T(test_too_many),      T(test_endless_pages),
		T(test_keys),
		T(test_cut_everywhere), T(test_damage),
		T(test_rewrite),       T(test_disk_full),
		T(test_ghosts_are_bounded), T(test_random),
		T(test_cookies),
	};
	uint8_t seed[SIGN_KEY_BYTES] = {1};
	int r;

	sign_from_seed(seed, &key);
	seed[0] = 2;
	sign_from_seed(seed, &wrong_key);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	catalog_changes_free(changes, n_changes);
	return r;
}
