/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left when an add or a remove ends in the middle: by a crash at each
 * step, by a disk that is full at each step, by others that do the same at the
 * same time. Always: a name is there with all its bytes or not at all, and the
 * next add leaves exactly the objects that are needed.
 */
#include "storetest.h"

#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

static const char *die_at;

static void die(const char *step)
{
	if (strcmp(step, die_at) == 0)
		_exit(99);
}

/* In a process of its own, which ends at the step as if killed. */
static void run_until(struct storetest *t, const char *step,
		      void (*what)(struct storetest *t))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct storetest child = *t;

		die_at = step;
		store_step_hook = die;
		if (store_open(t->store_dir, &child.s, NULL) ||
		    origindb_open(t->store_dir, &child.db, NULL))
			_exit(1);
		what(&child);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 99);
}

static int check_whole(const struct node *n, void *ctx)
{
	struct storetest *t = ctx;
	struct image_check c;

	if (n->is_dir)
		return 0;
	assert_int_equal(image_check(t->s, n, NULL, NULL, &c, &t->e), 0);
	if (!image_check_ok(&c))
		fail_msg("%s: %s, %u bad", n->name, c.problem,
			 (unsigned)c.n_bad);
	return 0;
}

static void assert_whole(struct storetest *t, unsigned n_objects)
{
	assert_int_equal(node_each(t->db, check_whole, t, &t->e), 0);
	assert_int_equal(storetest_count(t, "objects"), n_objects);
	assert_int_equal(storetest_count(t, "manifests"), n_objects);
	assert_int_equal(storetest_count(t, "incoming"), 0);
}

static const char *const steps[] = {"incoming", "copied",   "synced",
				    "renamed",	"manifest", "rows",
				    "committed"};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static void add_f(struct storetest *t)
{
	storetest_add(t, "f", "w/x", NULL);
}

static void test_crash_of_a_first_add(void **state)
{
	struct storetest t;

	(void)state;
	for (size_t i = 0; i < N_STEPS; i++) {
		bool done = strcmp(steps[i], "committed") == 0;

		storetest_begin(&t);
		storetest_make(&t, "f", 2 * MIB + 9, 1);
		storetest_make(&t, "g", 9, 2);
		run_until(&t, steps[i], add_f);
		assert_int_equal(storetest_live(&t, "w/x"), done);
		assert_int_equal(storetest_live(&t, "w"), done);
		assert_int_equal(storetest_add(&t, "g", "g", NULL), 0);
		assert_whole(&t, done ? 2 : 1);
		/* The name is free, the content can be stored. */
		assert_int_equal(storetest_add(&t, "f", "w/x", NULL), 0);
		assert_whole(&t, 2);
		storetest_end(&t);
	}
}

static void test_crash_of_a_replacement(void **state)
{
	struct storetest t;
	struct node before, now;

	(void)state;
	for (size_t i = 0; i < N_STEPS; i++) {
		bool done = strcmp(steps[i], "committed") == 0;

		storetest_begin(&t);
		storetest_make(&t, "f", MIB, 1);
		assert_int_equal(storetest_add(&t, "f", "w/x", NULL), 0);
		assert_int_equal(node_find(t.db, "w/x", &before, &t.e), 0);
		storetest_make(&t, "f", MIB, 2);
		storetest_make(&t, "g", 9, 3);
		run_until(&t, steps[i], add_f);
		assert_int_equal(node_find(t.db, "w/x", &now, &t.e), 0);
		assert_int_equal(now.id != before.id, done);
		assert_int_equal(storetest_add(&t, "g", "g", NULL), 0);
		/* The replaced one is kept for a while. */
		assert_whole(&t, done ? 3 : 2);
		storetest_end(&t);
	}
}

static void remove_x(struct storetest *t)
{
	storetest_remove(t, "w/x", false);
}

static void test_crash_of_a_remove(void **state)
{
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", MIB, 1);
	storetest_make(&t, "g", 9, 2);
	assert_int_equal(storetest_add(&t, "f", "w/x", NULL), 0);
	run_until(&t, "unlinked", remove_x);
	assert_false(storetest_live(&t, "w/x"));
	assert_int_equal(storetest_count(&t, "manifests"), 1);
	assert_int_equal(storetest_add(&t, "g", "g", NULL), 0);
	assert_whole(&t, 1);
	storetest_end(&t);
}

/* ---- side by side ------------------------------------------------------ */

static const char *wait_at;

static void wait_for_byte(const char *step)
{
	char byte;

	if (strcmp(step, wait_at) == 0)
		assert_int_equal(read(0, &byte, 1), 1);
}

/* An add in a process of its own, which stops at the step until a byte comes
 * through *ret_go. */
static pid_t start_add(struct storetest *t, const char *step, int *ret_go)
{
	int go[2];
	pid_t pid;

	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		struct storetest child = *t;

		dup2(go[0], 0);
		close(go[1]);
		wait_at = step;
		store_step_hook = wait_for_byte;
		if (store_open(t->store_dir, &child.s, NULL) ||
		    origindb_open(t->store_dir, &child.db, NULL))
			_exit(1);
		_exit(storetest_add(&child, "f", "w/x", NULL) ? 2 : 0);
	}
	close(go[0]);
	*ret_go = go[1];
	return pid;
}

static void let_go(pid_t pid, int go)
{
	int status;

	assert_int_equal(write(go, "x", 1), 1);
	close(go);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* An add that has come to `step`, where it has a file in `folder`, is left
 * alone by the clean-up of another. */
static void left_alone(const char *step, const char *folder, bool wait)
{
	struct storetest t;
	unsigned n;
	pid_t pid;
	int go;

	storetest_begin(&t);
	storetest_make(&t, "f", 2 * MIB, 1);
	storetest_make(&t, "g", 9, 2);
	pid = start_add(&t, step, &go);
	while ((n = storetest_count(&t, folder)) == 0)
		usleep(1000);
	assert_int_equal(storetest_add(&t, "g", "g", NULL), 0);
	assert_int_equal(store_sweep(t.s, t.db, NOW, wait, &t.e), 0);
	assert_true(storetest_count(&t, folder) >= n);
	let_go(pid, go);
	assert_true(storetest_live(&t, "w/x"));
	assert_whole(&t, 2);
	storetest_end(&t);
}

static void test_parallel_copy_is_left_alone(void **state)
{
	(void)state;
	left_alone("synced", "incoming", true);
}

/* The object is in place, its row is not committed. */
static void test_parallel_publish_is_left_alone(void **state)
{
	(void)state;
	left_alone("manifest", "manifests", false);
}

/* Four processes add and remove the same few contents under names of theirs.
 * An object must never go while a name needs it. */
static int storm(struct storetest *t, unsigned me)
{
	uint64_t x = me * 7919 + 1;
	char file[16], name[32];

	for (unsigned i = 0; i < 60; i++) {
		int r;

		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		snprintf(file, sizeof(file), "f%u", (unsigned)(x >> 33) % 3);
		snprintf(name, sizeof(name), "d/%u-%u", me,
			 (unsigned)(x >> 40) % 2);
		r = (x >> 50) % 3 ? storetest_add(t, file, name, NULL)
				  : storetest_remove(t, name, false);
		if (r && r != -ENOENT) {
			fprintf(stderr, "%s: %s\n", name, t->e.text);
			return 1;
		}
	}
	return 0;
}

static void test_storm_of_adds_and_removes(void **state)
{
	enum { N = 4 };
	struct storetest t;
	pid_t pid[N];
	int status;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f0", 70000, 10);
	storetest_make(&t, "f1", 70000, 11);
	storetest_make(&t, "f2", 500, 12);
	for (unsigned i = 0; i < N; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			struct storetest child = t;

			if (store_open(t.store_dir, &child.s, NULL) ||
			    origindb_open(t.store_dir, &child.db, NULL))
				_exit(1);
			_exit(storm(&child, i));
		}
	}
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(node_each(t.db, check_whole, &t, &t.e), 0);
	assert_int_equal(storetest_count(&t, "incoming"), 0);
	storetest_end(&t);
}

/* ---- a full disk ------------------------------------------------------- */

/* The store on a file system of 8 MiB, or false if we may not mount. */
static bool begin_small(struct storetest *t)
{
	char path[128];

	memset(t, 0, sizeof(*t));
	snprintf(t->dir, sizeof(t->dir), "/tmp/stagefs-test-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	snprintf(path, sizeof(path), "%s/small", t->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	if (mount("tmpfs", path, "tmpfs", 0, "size=8m")) {
		nftw(t->dir, storetest_unlink, 16, FTW_DEPTH | FTW_PHYS);
		return false;
	}
	snprintf(t->store_dir, sizeof(t->store_dir), "%s/small/st", t->dir);
	assert_int_equal(store_init(t->store_dir, &t->e), 0);
	storetest_open(t);
	return true;
}

static void end_small(struct storetest *t)
{
	char path[128];

	storetest_close(t);
	snprintf(path, sizeof(path), "%s/small", t->dir);
	assert_int_equal(umount(path), 0);
	nftw(t->dir, storetest_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

static void test_too_large_for_the_disk(void **state)
{
	struct storetest t;
	uint8_t *p;

	(void)state;
	if (!begin_small(&t))
		skip();
	/* Told before anything is copied. */
	storetest_make(&t, "f", 9 * MIB, 1);
	assert_int_equal(storetest_add(&t, "f", "x", NULL), -ENOSPC);
	assert_non_null(strstr(t.e.text, "full"));
	assert_non_null(strstr(t.e.text, "9M"));
	assert_whole(&t, 0);
	/* Sparse, it fits. */
	assert_int_equal(truncate(storetest_path(&t, "f"), 0), 0);
	assert_int_equal(truncate(storetest_path(&t, "f"), 90 * MIB), 0);
	assert_int_equal(storetest_add(&t, "f", "sparse", NULL), 0);
	assert_int_equal(storetest_remove(&t, "sparse", false), 0);

	/* Found out while copying: it was like another at first. */
	p = malloc(5 * MIB);
	storetest_fill(p, 5 * MIB, 1);
	storetest_put(&t, "f", p, 5 * MIB);
	assert_int_equal(storetest_add(&t, "f", "x", NULL), 0);
	p[5 * MIB - 1] ^= 1;
	storetest_put(&t, "f", p, 5 * MIB);
	free(p);
	assert_int_equal(storetest_add(&t, "f", "y", NULL), -ENOSPC);
	assert_false(storetest_live(&t, "y"));
	assert_whole(&t, 1);
	end_small(&t);
}

/* Fills the disk up to `left` bytes. */
static void put_ballast(struct storetest *t, uint64_t left)
{
	char path[128];
	struct statvfs fs;
	int fd;

	snprintf(path, sizeof(path), "%s/small/ballast", t->dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fstatvfs(fd, &fs), 0);
	assert_true(fs.f_bfree * fs.f_frsize > left);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)(fs.f_bfree *
							fs.f_frsize - left)),
			 0);
	close(fd);
}

static void drop_ballast(struct storetest *t)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/small/ballast", t->dir);
	assert_int_equal(unlink(path), 0);
}

/* Whatever step it is that finds no room any more. */
static void test_full_at_every_page(void **state)
{
	struct storetest t;
	unsigned failed = 0, done = 0;
	char name[32];

	(void)state;
	if (!begin_small(&t))
		skip();
	storetest_make(&t, "g", 9, 7);
	for (uint64_t left = 0; left < 80 * 4096; left += 4096) {
		int r;

		storetest_make(&t, "f", 150000, left + 1);
		snprintf(name, sizeof(name), "d%u/x", (unsigned)left);
		put_ballast(&t, left);
		r = storetest_add(&t, "f", name, NULL);
		drop_ballast(&t);
		assert_int_equal(storetest_live(&t, name), r == 0);
		if (r) {
			failed++;
			if (r != -ENOSPC)
				fail_msg("%d: %s", r, t.e.text);
			assert_non_null(strstr(t.e.text, "full"));
		} else {
			done++;
			assert_int_equal(storetest_remove(&t, name, false), 0);
		}
		assert_whole(&t, 0);
	}
	assert_true(failed > 10 && done > 10);
	end_small(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crash_of_a_first_add),
		cmocka_unit_test(test_crash_of_a_replacement),
		cmocka_unit_test(test_crash_of_a_remove),
		cmocka_unit_test(test_parallel_copy_is_left_alone),
		cmocka_unit_test(test_parallel_publish_is_left_alone),
		cmocka_unit_test(test_storm_of_adds_and_removes),
		cmocka_unit_test(test_too_large_for_the_disk),
		cmocka_unit_test(test_full_at_every_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
