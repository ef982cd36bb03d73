/* SPDX-License-Identifier: Apache-2.0 */
/* Sources that `image add` refuses, and damage that `image verify` finds. */
#include "imagetest.h"

#include <sys/socket.h>
#include <sys/un.h>

/* ---- sources that are refused ------------------------------------------ */

static void make_socket(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
}

static void test_only_regular_files(void **state)
{
	static const struct {
		const char *file, *says;
		int error;
	} bad[] = {
		{"dir", "folder", -EINVAL},    {"pipe", "pipe", -EINVAL},
		{"socket", "socket", -EINVAL}, {"null", "device", -EINVAL},
		{"missing", "No such", -ENOENT},
	};
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(mkdir(storetest_path(&t, "dir"), 0755), 0);
	assert_int_equal(mkfifo(storetest_path(&t, "pipe"), 0644), 0);
	assert_int_equal(symlink("/dev/null", storetest_path(&t, "null")), 0);
	make_socket(storetest_path(&t, "socket"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(storetest_add(&t, bad[i].file, "x", NULL),
				 bad[i].error);
		assert_non_null(strstr(t.e.text, bad[i].says));
	}
	assert_int_equal(storetest_count(&t, "incoming"), 0);
	/* Larger than 16 TiB: ext4 and tmpfs cannot have such files. */
	storetest_make(&t, "f", 1, 1);
	if (truncate(storetest_path(&t, "f"),
		     (off_t)STAGEFS_IMAGE_MAX_BYTES + 1) == 0)
		assert_int_equal(storetest_add(&t, "f", "x", NULL), -EFBIG);
	storetest_end(&t);
}

static void append(void)
{
	int fd = open(storetest_path(hooked, "f"), O_WRONLY | O_APPEND);

	assert_int_equal(fd_write_all(fd, "x", 1), 0);
	close(fd);
}

static void shorten(void)
{
	assert_int_equal(truncate(storetest_path(hooked, "f"), MIB + 1), 0);
}

/* Puts the mtime back; the ctime tells. */
static void rewrite_quietly(void)
{
	const char *path = storetest_path(hooked, "f");
	struct timespec times[2];
	struct stat st;
	int fd;

	assert_int_equal(stat(path, &st), 0);
	usleep(20000); /* the clock of file times is coarse */
	fd = open(path, O_WRONLY);
	assert_int_equal(fd_pwrite_all(fd, "x", 1, MIB), 0);
	close(fd);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_changing_file_is_refused(void **state)
{
	static const struct {
		const char *step;
		void (*change)(void);
	} change[] = {
		{"incoming", append},	      {"incoming", shorten},
		{"incoming", rewrite_quietly}, {"copied", append},
		{"copied", shorten},	      {"copied", rewrite_quietly},
	};
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	for (size_t i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
		storetest_make(&t, "f", 3 * MIB, 1);
		arm(&t, change[i].step, change[i].change);
		assert_int_equal(storetest_add(&t, "f", "x", NULL), -EAGAIN);
		assert_non_null(strstr(t.e.text, "changed"));
		assert_false(storetest_live(&t, "x"));
		assert_int_equal(storetest_count(&t, "incoming"), 0);
		assert_int_equal(storetest_count(&t, "objects"), 0);
	}
	storetest_end(&t);
}

static void test_interrupted_leaves_nothing(void **state)
{
	static const volatile sig_atomic_t stop = 1;
	struct image_added added;
	struct storetest t;
	struct image_add a = {.name = "x", .now_s = NOW, .stop = &stop};

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 3 * MIB, 1);
	a.file = storetest_path(&t, "f");
	assert_int_equal(image_add(t.s, t.db, &a, &added, &t.e), -EINTR);
	assert_int_equal(storetest_count(&t, "incoming"), 0);
	assert_false(storetest_live(&t, "x"));
	storetest_end(&t);
}

/* ---- verify ------------------------------------------------------------ */

static void check(struct storetest *t, const struct node *n,
		  struct image_check *ret)
{
	assert_int_equal(image_check(t->s, n, NULL, NULL, ret, &t->e), 0);
}

static void test_verify_names_the_bad_blocks(void **state)
{
	struct image_check c;
	struct image_added a;
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 5 * MIB + 1, 1);
	assert_int_equal(storetest_add(&t, "f", "x", &a), 0);
	check(&t, &a.node, &c);
	assert_true(image_check_ok(&c));
	assert_int_equal(c.n_blocks, 6);
	flip(&t, &a.node, "objects", 2 * MIB);
	flip(&t, &a.node, "objects", 5 * MIB);
	check(&t, &a.node, &c);
	assert_false(image_check_ok(&c));
	assert_int_equal(c.n_bad, 2);
	assert_int_equal(c.bad[0], 2);
	assert_int_equal(c.bad[1], 5);

	/* Taken away and added again: whole, with its old id. */
	assert_int_equal(image_withdraw(t.s, &a.node.digest, &t.e), 0);
	check(&t, &a.node, &c);
	assert_non_null(strstr(c.problem, "missing"));
	add_and_compare(&t, "f", "x");
	check(&t, &a.node, &c);
	assert_true(image_check_ok(&c));
	storetest_end(&t);
}

static void test_verify_finds_other_damage(void **state)
{
	char path[256], digest[DIGEST_TEXT];
	struct image_check c;
	struct image_added a;
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", MIB, 1);
	assert_int_equal(storetest_add(&t, "f", "x", &a), 0);
	flip(&t, &a.node, "manifests", 30);
	check(&t, &a.node, &c);
	assert_non_null(strstr(c.problem, "manifest is damaged"));
	flip(&t, &a.node, "manifests", 30);
	snprintf(path, sizeof(path), "%s/objects/%s", t.store_dir,
		 digest_text(&a.node.digest, digest));
	assert_int_equal(truncate(path, MIB - 1), 0);
	check(&t, &a.node, &c);
	assert_non_null(strstr(c.problem, "size"));
	storetest_end(&t);
}

#define T(f) cmocka_unit_test_teardown(f, reset_hook)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_only_regular_files),
		T(test_changing_file_is_refused),
		T(test_interrupted_leaves_nothing),
		T(test_verify_names_the_bad_blocks),
		T(test_verify_finds_other_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
