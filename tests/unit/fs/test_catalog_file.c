/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signed pages on disk: a file cut at every byte, flipped bits, a disk
 * that fails, and when the file is written anew.
 */
#include "tests/unit/fs/catalog_pages.h"

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

int main(void)
{
	RUN_PAGES_TESTS(PAGES_TEST(test_cut_everywhere),
			PAGES_TEST(test_damage),
			PAGES_TEST(test_rewrite),
			PAGES_TEST(test_disk_full));
}
