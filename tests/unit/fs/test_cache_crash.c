/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGKILL at every named step of storing, flushing, evicting and forgetting
 * (point.h), each time in a child that works through the same scene. Then the
 * cache is opened and has to be right (C1, C2), and useable.
 */
#include "cache_fixture.h"

#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SIZE (4 * BLOCK - 1000)

static char *dir;
static const char *kill_at;
static int kill_after; /* passes of the point before */
static int *passes;    /* shared with the child */

/* ---- the scene ----------------------------------------------------------- */

static int die(const char *name)
{
	if (strcmp(name, kill_at) == 0 &&
	    __atomic_fetch_add(passes, 1, __ATOMIC_SEQ_CST) == kill_after)
		kill(getpid(), SIGKILL);
	return 0;
}

static struct cache_config scene_config(void)
{
	/* Room for two and a half: the third costs the first its place. */
	return config_of(dir, capacity_for(2 * price(SIZE) + price(SIZE) / 2));
}

static void scene(void)
{
	struct cache_config cfg = scene_config();
	struct cache *c;
	struct version *v;

	set_point(die);
	c = must_open(&cfg);
	fill_id(c, 1, SIZE);
	cache_flush(c);
	v = must_get(c, 2, SIZE);
	version_reserve(v, 0, 4, RESERVE_READER, NULL, NULL);
	store(v, 0);
	store(v, 1);
	cache_flush(c);
	store(v, 2);
	version_forget_block(v, 0);
	version_unreserve(v, 0, 4);
	version_put(v);
	fill_id(c, 3, SIZE); /* 1 has to go */
	cache_flush(c);
	cache_evict(c, 2, NULL, false, NULL);
	fill_id(c, 2, SIZE);
	cache_close(c);
}

/* True if the child died at the point. */
static bool run_scene(const char *at, int after)
{
	int status;
	pid_t pid;

	kill_at = at;
	kill_after = after;
	*passes = 0;
	pid = fork();
	if (pid == 0) {
		scene();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return true;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	return false;
}

/* ---- afterwards ---------------------------------------------------------- */

/* C2: as many files as rows, and they are theirs. */
static void check_files(struct cache *c)
{
	char path[256];
	struct dirent *de;
	DIR *d;

	snprintf(path, sizeof(path), "%s/data", dir);
	d = opendir(path);
	assert_non_null(d);
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		assert_true(present(c, strtoull(de->d_name, NULL, 10)));
	}
	closedir(d);
}

static void check_after(void)
{
	struct cache_config cfg = scene_config();
	uint64_t used = SPACE_INDEX_BASE_BYTES;
	struct version_info *l;
	struct cache_stats s;
	struct cache *c;
	struct stat st;
	size_t n;

	set_point(NULL);
	c = must_open(&cfg);
	check_files(c);
	assert_int_equal(cache_list(c, &l, &n), 0);
	for (size_t i = 0; i < n; i++) {
		struct version *v = must_get(c, l[i].ident.id, SIZE);
		uint64_t bytes = space_row(4) + space_inode(4);

		for (uint64_t b = 0; b < 4; b++) {
			if (!version_has(v, b))
				continue;
			assert_true(right(v, b)); /* C1 */
			bytes += space_block(block_len(v, b));
		}
		used += bytes;
		/* C3: what has no bit takes no space. */
		assert_int_equal(fstat(version_fd(v), &st), 0);
		assert_true((uint64_t)st.st_blocks * 512 <= bytes);
		assert_int_equal(l[i].complete, version_complete(v));
		version_put(v);
	}
	free(l);
	cache_stats(c, &s);
	assert_int_equal(s.used_bytes, used);
	assert_int_equal(s.reserved_bytes, 0);

	/* And it works: everything can go and come again. */
	cache_reclaim(c, UINT64_MAX / 4, NULL);
	cache_stats(c, &s);
	assert_int_equal(s.used_bytes, SPACE_INDEX_BASE_BYTES);
	assert_int_equal(fill_id(c, 1, SIZE), 0);
	cache_close(c);
}

static void killed_at_every_step(void **state)
{
	static const char *const points[] = {
		"row.add",	 "row.added",	 "file.create",
		"file.created",	 "store.write",	 "store.written",
		"flush.sync",	 "flush.synced", "flush.commit",
		"flush.committed", "evict.mark", "evict.marked",
		"file.remove",	 "file.removed", "evict.unrow",
		"evict.unrowed", "forget.commit", "forget.punch",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		int n = 0;
		bool died;

		do {
			dir = scratch_dir();
			died = run_scene(points[i], n);
			check_after();
			scratch_remove(dir);
		} while (died && ++n < 4);
		if (n == 0)
			fail_msg("%s: the scene never gets there", points[i]);
	}
}

/* What cache_flush said yes to is there after the kill (C1), the rest of the
 * bytes is not believed. */
static void flushed_stays(void **state)
{
	struct cache_config cfg;
	struct version *v;
	struct cache *c;
	int status;
	pid_t pid;

	(void)state;
	dir = scratch_dir();
	cfg = scene_config();
	pid = fork();
	if (pid == 0) {
		c = must_open(&cfg);
		v = must_get(c, 9, SIZE);
		version_reserve(v, 0, 4, RESERVE_READER, NULL, NULL);
		store(v, 1);
		store(v, 3);
		if (cache_flush(c) != 0)
			_exit(1);
		store(v, 2);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	c = must_open(&cfg);
	v = must_get(c, 9, SIZE);
	assert_true(version_has(v, 1) && version_has(v, 3));
	assert_false(version_has(v, 0) || version_has(v, 2));
	assert_true(right(v, 1) && right(v, 3));
	version_put(v);
	cache_close(c);
	scratch_remove(dir);
}

/* Killed while it puts things in order: the next start does it again. */
static void killed_at_start(void **state)
{
	static const char *const points[] = {"file.stat", "evict.unrow",
					     "evict.unrowed"};

	(void)state;
	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct cache_config cfg;
		int status;
		pid_t pid;

		dir = scratch_dir();
		assert_true(run_scene("file.remove", 0));
		cfg = scene_config();
		*passes = 0;
		kill_at = points[i];
		kill_after = 0;
		pid = fork();
		if (pid == 0) {
			set_point(die);
			must_open(&cfg);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		check_after();
		scratch_remove(dir);
	}
}

/* ---- start-up ------------------------------------------------------------ */

static unsigned n_opens, n_stats;

static int count(const char *name)
{
	n_opens += strcmp(name, "file.open") == 0;
	n_stats += strcmp(name, "file.stat") == 0;
	return 0;
}

/* C2: 5,000 images are one stat each, and no file is opened, let alone
 * hashed. */
static void start_is_linear(void **state)
{
	const uint64_t n = 5000;
	struct cache_config cfg;
	struct version_ident ident;
	struct cache_stats s;
	struct cache *c;

	(void)state;
	dir = scratch_dir();
	cfg = config_of(dir, 1024 * MIB);
	c = must_open(&cfg);
	for (uint64_t id = 1; id <= n; id++) {
		struct version *v = must_get(c, id, 100 * MIB);

		assert_int_equal(version_reserve(v, id % 1600, 1,
						 RESERVE_READER, NULL, NULL),
				 0);
		if (id % 50 == 0)
			assert_int_equal(store(v, id % 1600), 0);
		version_unreserve(v, 0, 1600);
		version_put(v);
	}
	cache_close(c);
	n_opens = n_stats = 0;
	set_point(count);
	c = must_open(&cfg);
	set_point(NULL);
	assert_int_equal(n_opens, 0);
	assert_int_equal(n_stats, n);
	cache_stats(c, &s);
	assert_int_equal(s.versions, n);
	ident = ident_of(50, 100 * MIB);
	{
		struct version *v;

		assert_int_equal(cache_get(c, &ident, &v), 0);
		assert_true(version_has(v, 50) && right(v, 50));
		version_put(v);
	}
	cache_close(c);
	scratch_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_at_every_step),
		cmocka_unit_test(flushed_stays),
		cmocka_unit_test(killed_at_start),
		cmocka_unit_test(start_is_linear),
	};

	passes = mmap(NULL, sizeof(*passes), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests_name("cache crash", tests, NULL, NULL);
}
