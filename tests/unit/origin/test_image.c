/* SPDX-License-Identifier: Apache-2.0 */
/* `image add` and `remove`: what is stored, under which names. */
#include "imagetest.h"

/* ---- the bytes --------------------------------------------------------- */

static void test_sizes_around_a_block(void **state)
{
	static const uint64_t size[] = {0,	 1,	      65535,
					65536,	 MIB - 1,     MIB,
					MIB + 1, 3 * MIB + 7, 4 * MIB};
	struct storetest t;
	char name[32];

	(void)state;
	storetest_begin(&t);
	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		storetest_make(&t, "f", size[i], i + 1);
		snprintf(name, sizeof(name), "sizes/%zu", i);
		add_and_compare(&t, "f", name);
	}
	assert_int_equal(storetest_count(&t, "objects"),
			 sizeof(size) / sizeof(size[0]));
	assert_int_equal(storetest_count(&t, "incoming"), 0);
	storetest_end(&t);
}

static void test_facts_of_the_file_are_kept(void **state)
{
	const struct timespec times[2] = {{0}, {.tv_sec = 1234567890}};
	struct image_added a;
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 10, 1);
	utimensat(AT_FDCWD, storetest_path(&t, "f"), times, 0);
	assert_int_equal(storetest_add(&t, "f", "a/b/c.iso", &a), 0);
	assert_int_equal(a.node.mtime_s, 1234567890);
	assert_int_equal(a.node.added_s, NOW);
	assert_int_equal(a.node.block_bytes, MIB);
	assert_false(a.unchanged || a.shared || a.replaced);
	storetest_end(&t);
}

/* Data in a hole's middle, zeros that are written out, a hole at the end. */
static void test_sparse_files_stay_sparse(void **state)
{
	uint8_t *zeros = calloc(1, 2 * MIB), data[5000];
	struct storetest t;
	struct image_added a;
	struct stat st;
	uint64_t size;
	int fd;

	(void)state;
	storetest_begin(&t);
	storetest_fill(data, sizeof(data), 3);
	storetest_put(&t, "f", zeros, 2 * MIB);
	fd = open(storetest_path(&t, "f"), O_WRONLY);
	assert_int_equal(fd_pwrite_all(fd, data, sizeof(data), 7 * MIB - 900),
			 0);
	assert_int_equal(fd_pwrite_all(fd, data, 1, 30 * MIB + 12345), 0);
	assert_int_equal(ftruncate(fd, 40 * MIB + 77), 0);
	close(fd);
	add_and_compare(&t, "f", "sparse");
	storetest_add(&t, "f", "sparse", &a);
	fd = store_open_object(t.s, &a.node.digest, &size);
	fstat(fd, &st);
	close(fd);
	assert_true(st.st_blocks * 512 < 512 * 1024);
	free(zeros);
	storetest_end(&t);
}

/* Not read and not hashed block by block: a test of 3 GiB in no time. */
static void test_huge_hole(void **state)
{
	struct image_added a;
	struct storetest t;
	struct stat st;
	uint64_t size;
	int fd;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 0, 1);
	assert_int_equal(truncate(storetest_path(&t, "f"), 3 * 1024 * MIB), 0);
	assert_int_equal(storetest_add(&t, "f", "hole", &a), 0);
	fd = store_open_object(t.s, &a.node.digest, &size);
	assert_int_equal(size, 3 * 1024 * MIB);
	fstat(fd, &st);
	close(fd);
	assert_true(st.st_blocks * 512 < 64 * 1024);
	storetest_end(&t);
}

/* ---- the same again ---------------------------------------------------- */

static void test_same_content_is_stored_once(void **state)
{
	struct image_added a, b, c;
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 3 * MIB, 1);
	assert_int_equal(storetest_add(&t, "f", "one", &a), 0);
	assert_int_equal(storetest_add(&t, "f", "two", &b), 0);
	assert_true(b.shared && b.node.id != a.node.id);
	assert_int_equal(storetest_count(&t, "objects"), 1);
	assert_int_equal(storetest_add(&t, "f", "two", &c), 0);
	assert_true(c.unchanged && c.node.id == b.node.id);
	assert_int_equal(c.node.revision, b.node.revision);
	assert_int_equal(storetest_count(&t, "incoming"), 0);

	/* The object goes with the last name. */
	assert_int_equal(storetest_remove(&t, "one", false), 0);
	assert_int_equal(storetest_count(&t, "objects"), 1);
	assert_int_equal(storetest_remove(&t, "two", false), 0);
	assert_int_equal(storetest_count(&t, "objects"), 0);
	assert_int_equal(storetest_count(&t, "manifests"), 0);
	storetest_end(&t);
}

/* A file of the same length that parts from the stored one at each block. */
static void test_like_another_up_to_a_block(void **state)
{
	const size_t n = 5 * MIB + 100;
	uint8_t *p = malloc(n);
	struct storetest t;
	char name[32];

	(void)state;
	storetest_begin(&t);
	storetest_fill(p, n, 1);
	memset(p + 2 * MIB, 0, MIB); /* a hole in the object */
	storetest_put(&t, "f", p, n);
	add_and_compare(&t, "f", "base");
	for (size_t i = 0; i < 6; i++) {
		p[i * MIB + 50] ^= 0x40;
		storetest_put(&t, "f", p, n);
		p[i * MIB + 50] ^= 0x40;
		snprintf(name, sizeof(name), "differs/%zu", i);
		add_and_compare(&t, "f", name);
		assert_int_equal(storetest_remove(&t, name, false), 0);
	}
	free(p);
	storetest_end(&t);
}

/* R1 at its root: damage of a stored object does not spread to a new one. */
static void test_like_another_that_is_damaged(void **state)
{
	const size_t n = 4 * MIB;
	uint8_t *p = malloc(n);
	struct image_added a;
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_fill(p, n, 1);
	storetest_put(&t, "f", p, n);
	assert_int_equal(storetest_add(&t, "f", "base", &a), 0);
	flip(&t, &a.node, "objects", 100);
	p[n - 1] ^= 1;
	storetest_put(&t, "f", p, n);
	add_and_compare(&t, "f", "new");
	free(p);
	storetest_end(&t);
}

static void remove_base(void)
{
	struct db *db;
	struct node n;

	assert_int_equal(origindb_open(hooked->store_dir, &db, NULL), 0);
	assert_int_equal(image_remove(hooked->s, db, "base", false, NOW, &n,
				      NULL),
			 0);
	db_close(db);
}

/* All blocks are there already; then they are not. */
static void test_like_another_that_goes_away(void **state)
{
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 3 * MIB, 1);
	assert_int_equal(storetest_add(&t, "f", "base", NULL), 0);
	arm(&t, "copied", remove_base);
	add_and_compare(&t, "f", "new");
	assert_null(hook_at);
	assert_false(storetest_live(&t, "base"));
	storetest_end(&t);
}

/* ---- versions ---------------------------------------------------------- */

static void test_new_version_replaces(void **state)
{
	struct image_added a, b;
	struct storetest t;
	struct node n;
	bool removed;
	char byte;
	uint64_t size;
	int fd;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", MIB + 5, 1);
	assert_int_equal(storetest_add(&t, "f", "w/x", &a), 0);
	storetest_make(&t, "f", MIB + 5, 2);
	assert_int_equal(storetest_add(&t, "f", "w/x", &b), 0);
	assert_true(b.replaced && b.node.id > a.node.id);
	assert_int_equal(node_find(t.db, "w/x", &n, &t.e), 0);
	assert_int_equal(n.id, b.node.id);
	assert_int_equal(node_get(t.db, a.node.id, &n, &removed, &t.e), 0);
	assert_true(removed);
	assert_string_equal(n.name, "w/x");
	/* Old and new change in one revision: never is there none, or two. */
	assert_int_equal(n.revision, b.node.revision);

	/* Servers in the middle of the old one can finish for a day. */
	assert_int_equal(storetest_count(&t, "objects"), 2);
	assert_int_equal(store_sweep(t.s, t.db, NOW + 3600, true, &t.e), 0);
	fd = store_open_object(t.s, &a.node.digest, &size);
	assert_true(fd >= 0);
	assert_int_equal(store_sweep(t.s, t.db, NOW + IMAGE_KEEP_DEFAULT_S,
				     true, &t.e),
			 0);
	assert_int_equal(storetest_count(&t, "objects"), 1);
	assert_int_equal(storetest_count(&t, "manifests"), 1);
	/* ... and who has it open, for as long as he likes. */
	assert_int_equal(fd_pread_all(fd, &byte, 1, MIB), 0);
	close(fd);
	storetest_end(&t);
}

/* What crashes have left in objects/, and what a file system puts there. */
static void test_sweep_takes_files_only(void **state)
{
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "store/objects/stray", 5, 1);
	storetest_make(&t, "store/incoming/add-1", 5, 1);
	assert_int_equal(mkdir(storetest_path(&t, "store/objects/lost+found"),
			       0700),
			 0);
	assert_int_equal(store_sweep(t.s, t.db, NOW, true, &t.e), 0);
	assert_int_equal(storetest_count(&t, "objects"), 1);
	assert_int_equal(storetest_count(&t, "incoming"), 0);
	storetest_end(&t);
}

static void test_remove_takes_replaced_versions_too(void **state)
{
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 5, 1);
	storetest_make(&t, "g", 5, 2);
	assert_int_equal(storetest_add(&t, "f", "x", NULL), 0);
	assert_int_equal(storetest_add(&t, "g", "x", NULL), 0);
	assert_int_equal(storetest_remove(&t, "x", false), 0);
	assert_int_equal(storetest_count(&t, "objects"), 0);
	storetest_end(&t);
}

/* ---- names ------------------------------------------------------------- */

static void test_clashes_are_refused(void **state)
{
	static const struct {
		const char *name, *says;
		int error;
	} bad[] = {
		{"win11/BASE.wim", "win11/base.wim", -EEXIST},
		{"Win11/other", "from win11,", -EEXIST},
		{"win11", "folder", -EEXIST},
		{"win11/base.wim/x", "is an image", -EEXIST},
		{"../x", "..", -EINVAL},
		{"/x", "", -EINVAL},
		{"a//b", "", -EINVAL},
		{"a\nb", "", -EINVAL},
		{"\xff", "", -EINVAL},
		{"", "", -EINVAL},
	};
	uint64_t revision;
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 5, 1);
	assert_int_equal(storetest_add(&t, "f", "win11/base.wim", NULL), 0);
	revision = node_revision(t.db);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(storetest_add(&t, "f", bad[i].name, NULL),
				 bad[i].error);
		assert_non_null(strstr(t.e.text, bad[i].says));
		assert_null(strchr(t.e.text, '\n'));
	}
	assert_int_equal(node_revision(t.db), revision);
	storetest_end(&t);
}

static void test_folders_come_and_go_with_images(void **state)
{
	struct storetest t;
	uint64_t before;
	struct node n;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 5, 1);
	assert_int_equal(storetest_add(&t, "f", "a/b/c/d", NULL), 0);
	assert_int_equal(storetest_add(&t, "f", "a/e", NULL), 0);
	assert_int_equal(node_find(t.db, "a/b", &n, &t.e), 0);
	assert_true(n.is_dir);
	before = n.id;
	assert_int_equal(storetest_remove(&t, "a/b", false), -EISDIR);
	assert_int_equal(storetest_remove(&t, "a/b/c/d", false), 0);
	assert_false(storetest_live(&t, "a/b"));
	assert_true(storetest_live(&t, "a"));
	assert_int_equal(storetest_remove(&t, "a/b/c/d", false), -ENOENT);
	/* A name may become a folder or an image again, with a new id. */
	assert_int_equal(storetest_add(&t, "f", "a/b", NULL), 0);
	assert_int_equal(storetest_remove(&t, "a/b", false), 0);
	assert_int_equal(storetest_add(&t, "f", "A/x", NULL), -EEXIST);
	assert_int_equal(storetest_add(&t, "f", "a/b/c", NULL), 0);
	assert_int_equal(node_find(t.db, "a/b", &n, &t.e), 0);
	assert_true(n.id > before);
	storetest_end(&t);
}

static void add_plan(struct storetest *t, const char *image, int64_t until,
		     const char *repeat)
{
	assert_int_equal(db_run(t->db, &t->e,
				"INSERT INTO plan(server,image,at_s,until_s,"
				"repeat,created_s) VALUES('line3',?,?,?,?,0)",
				"siis", image, (int64_t)NOW - 100, until,
				repeat),
			 0);
}

static void test_remove_asks_the_plan(void **state)
{
	static const struct {
		const char *image, *repeat;
		int64_t until;
		int result;
	} plan[] = {
		{"w/x", "", 0, -EBUSY},
		{"w/x", "", NOW + 5, -EBUSY},
		{"w/x", "", NOW - 5, 0},
		{"w/x", "FREQ=DAILY", NOW - 5, -EBUSY},
		{"w/", "", 0, -EBUSY},
		{"w/xy", "", 0, 0},
		{"x", "", 0, 0},
	};
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 5, 1);
	for (size_t i = 0; i < sizeof(plan) / sizeof(plan[0]); i++) {
		assert_int_equal(storetest_add(&t, "f", "w/x", NULL), 0);
		add_plan(&t, plan[i].image, plan[i].until, plan[i].repeat);
		assert_int_equal(storetest_remove(&t, "w/x", false),
				 plan[i].result);
		assert_int_equal(storetest_live(&t, "w/x"), !!plan[i].result);
		if (plan[i].result) {
			assert_non_null(strstr(t.e.text, "line3"));
			assert_int_equal(storetest_remove(&t, "w/x", true), 0);
		}
		assert_int_equal(db_run(t.db, &t.e, "DELETE FROM plan", ""), 0);
	}
	storetest_end(&t);
}

#define T(f) cmocka_unit_test_teardown(f, reset_hook)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_sizes_around_a_block),
		T(test_facts_of_the_file_are_kept),
		T(test_sparse_files_stay_sparse),
		T(test_huge_hole),
		T(test_same_content_is_stored_once),
		T(test_like_another_up_to_a_block),
		T(test_like_another_that_is_damaged),
		T(test_like_another_that_goes_away),
		T(test_new_version_replaces),
		T(test_sweep_takes_files_only),
		T(test_remove_takes_replaced_versions_too),
		T(test_clashes_are_refused),
		T(test_folders_come_and_go_with_images),
		T(test_remove_asks_the_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
