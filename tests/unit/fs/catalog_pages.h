/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog_pages.h - what the tests of the catalog share: a cache folder per
 * test, and signed pages made from short rows.
 */
#ifndef STAGEFS_TESTS_CATALOG_PAGES_H
#define STAGEFS_TESTS_CATALOG_PAGES_H

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

static struct sign_secret key;
static struct sign_secret wrong_key __attribute__((unused));
static char dir[64];
static int dirfd_;

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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

static inline void fill_entry(const struct row *r, struct wire_entry *w)
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

static inline char *seal(struct wire_catalog *w, const struct sign_secret *k,
		  size_t *ret_n)
{
	CLEAN_FREE char *json = NULL;
	char *text;
	size_t n;

	assert_int_equal(wire_catalog_encode(w, &json, &n), 0);
	assert_int_equal(envelope_seal(k, json, n, &text, ret_n), 0);
	return text;
}

static inline char *make_page(const char *store, uint64_t since,
			      uint64_t revision, bool more,
			      const struct row *row, size_t n_rows,
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

static inline int give(struct catalog *c, const char *store, uint64_t since,
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

static inline struct catalog *open_it(void)
{
	struct catalog *c = NULL;
	struct err e;
	int r = catalog_open(dirfd_, NULL, &c, &e);

	if (r)
		fail_msg("%s", e.text);
	return c;
}

static inline bool changed(uint64_t parent, uint64_t id, const char *name)
{
	for (size_t i = 0; i < n_changes; i++)
		if (changes[i].parent == parent && changes[i].id == id &&
		    strcmp(changes[i].name, name) == 0)
			return true;
	return false;
}

static inline int run_pages_tests(const struct CMUnitTest *test, size_t n)
{
	uint8_t seed[SIGN_KEY_BYTES] = {1};
	int r;

	sign_from_seed(seed, &key);
	seed[0] = 2;
	sign_from_seed(seed, &wrong_key);
	r = _cmocka_run_group_tests("tests", test, n, NULL, NULL);
	catalog_changes_free(changes, n_changes);
	return r;
}

#define PAGES_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define RUN_PAGES_TESTS(...)                                            \
	do {                                                            \
		const struct CMUnitTest tests_[] = {__VA_ARGS__};       \
		return run_pages_tests(tests_, sizeof(tests_) /         \
						       sizeof(*tests_)); \
	} while (0)

#endif
