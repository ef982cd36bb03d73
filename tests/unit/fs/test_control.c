/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control socket answers, and to whom. Keeps C7 (what is bad on the
 * disk is found past the page cache, and mended).
 */
#include "tests/unit/fs/control_world.h"

/* ---- tests ------------------------------------------------------------- */

static void test_status(void **state)
{
	struct err e;
	json_t *lines = ask("status", NULL, &e), *o;

	(void)state;
	assert_string_equal(e.text, "");
	o = json_array_get(lines, 0);
	assert_string_equal(ask_text(o, "mount"), "/images");
	assert_string_equal(ask_text(o, "name"), "line3");
	assert_int_equal(ask_u64(json_object_get(o, "cache"), "capacity"),
			 100 << 20);
	assert_int_equal(ask_u64(json_object_get(o, "catalog"), "revision"),
			 4);
	assert_int_equal(ask_u64(json_object_get(o, "reads"), "parked"), 7);
	assert_int_equal(ask_u64(json_object_get(json_object_get(o, "fetched"),
						 "bytes"), "demand"), 99);
	o = json_array_get(json_object_get(o, "counters"), 0);
	assert_int_equal(ask_u64(o, "value"), 12);
	json_decref(lines);
}

static void test_list(void **state)
{
	struct version_ident i = ident();
	struct err e;
	json_t *lines = ask("list", NULL, &e), *o;

	(void)state;
	assert_int_equal(json_array_size(lines), 0);
	assert_string_equal(e.text, "");
	json_decref(lines);
	store_missing(&i);
	lines = ask("list", NULL, &e);
	assert_int_equal(json_array_size(lines), 1);
	o = having(lines, "image");
	assert_string_equal(ask_text(o, "name"), "win11/base.wim");
	assert_string_equal(ask_text(o, "state"), "complete");
	assert_int_equal(ask_u64(o, "stored"), SIZE);
	assert_true(ask_bool(o, "published"));
	json_decref(lines);
}

static void test_fetch(void **state)
{
	struct err e;
	json_t *lines;

	(void)state;
	lines = ask("fetch", named("win11/base.wim"), &e);
	assert_string_equal(e.text, "");
	assert_int_equal(json_integer_value(having(lines, "stored")), SIZE);
	json_decref(lines);
	fake.error = -ENOSPC;
	json_decref(ask("fetch", named("win11/base.wim"), &e));
	assert_non_null(strstr(e.text, "no room"));
	fake.error = -EIO;
	json_decref(ask("fetch", named("win11/base.wim"), &e));
	assert_non_null(strstr(e.text, "no source"));
	assert_int_equal(atomic_load(&fake.started), 3);
	json_decref(ask("fetch", named("win11/none"), &e));
	assert_non_null(strstr(e.text, "no such image"));
	json_decref(ask("fetch", named("win11"), &e));
	assert_non_null(strstr(e.text, "folder"));
	json_decref(ask("fetch", NULL, &e));
	assert_non_null(strstr(e.text, "name"));
	assert_int_equal(atomic_load(&fake.started), 3);
}

/* A fetch that is under way and does not end by itself. */
static int hanging_fetch(void)
{
	static const char request[] =
		"{\"verb\":\"fetch\",\"name\":\"win11/base.wim\"}\n";
	int fd = dial();

	fake.hang = true;
	assert_int_equal(write(fd, request, sizeof(request) - 1),
			 sizeof(request) - 1);
	while (!atomic_load(&fake.started))
		usleep(1000);
	return fd;
}

/* Ctrl-C on the client ends its fetch. */
static void test_client_goes(void **state)
{
	(void)state;
	close(hanging_fetch());
	while (!atomic_load(&fake.cancelled))
		usleep(1000);
}

/* An umount in the middle of a fetch: control_free returns. */
static void test_end_in_work(void **state)
{
	int fd = hanging_fetch();

	(void)state;
	control_free(t.control);
	t.control = NULL;
	assert_int_equal(atomic_load(&fake.cancelled), 1);
	close(fd);
}

static void test_evict(void **state)
{
	struct version_ident i = ident();
	struct version *v;
	struct err e;
	json_t *lines;

	(void)state;
	json_decref(ask("evict", named("win11/base.wim"), &e));
	assert_non_null(strstr(e.text, "not stored"));
	store_missing(&i);
	assert_int_equal(cache_find(t.cache, 3, &v), 0);
	version_open(v);
	json_decref(ask("evict", named("win11/base.wim"), &e));
	assert_non_null(strstr(e.text, "open"));
	version_close(v);
	version_put(v);
	assert_int_equal(cache_hold(t.cache, &i, clock_unix_s() + 1000), 0);
	json_decref(ask("evict", named("win11/base.wim"), &e));
	assert_non_null(strstr(e.text, "--force"));
	lines = ask("evict", json_pack("{s:s,s:b}", "name", "win11/base.wim",
				       "force", 1), &e);
	assert_string_equal(e.text, "");
	assert_true(json_integer_value(having(lines, "freed")) >=
		    (json_int_t)SIZE);
	json_decref(lines);
}

static void flip(uint64_t offset)
{
	char path[128];
	uint8_t b;
	int fd;

	assert_int_equal(cache_flush(t.cache), 0);
	snprintf(path, sizeof(path), "%s/cache/data/3", t.dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, (off_t)offset), 1);
	b ^= 1;
	assert_int_equal(pwrite(fd, &b, 1, (off_t)offset), 1);
	close(fd);
}

static void test_verify(void **state)
{
	struct version_ident i = ident();
	uint8_t back[SIZE];
	struct version *v;
	struct err e;
	json_t *lines, *o;

	(void)state;
	store_missing(&i);
	lines = ask("verify", NULL, &e);
	assert_string_equal(e.text, "");
	o = having(lines, "verified");
	assert_int_equal(ask_u64(o, "blocks"), BLOCKS);
	assert_int_equal(ask_u64(o, "bad"), 0);
	json_decref(lines);

	flip(BLOCK + 5);
	flip(SIZE - 1);
	lines = ask("verify", named("win11/base.wim"), &e);
	assert_string_equal(e.text, "");
	o = having(lines, "verified");
	assert_int_equal(ask_u64(o, "bad"), 2);
	assert_true(ask_bool(o, "repaired"));
	json_decref(lines);
	assert_int_equal(cache_find(t.cache, 3, &v), 0);
	assert_true(version_complete(v));
	assert_int_equal(version_read(v, back, SIZE, 0), 0);
	assert_memory_equal(back, content, SIZE);

	/* the origin is away: said, and no bad byte counts as stored */
	flip(0);
	fake.error = -EIO;
	lines = ask("verify", NULL, &e);
	assert_non_null(strstr(e.text, "could not be fetched"));
	assert_false(ask_bool(having(lines, "verified"), "repaired"));
	json_decref(lines);
	/* Both times a fill was begun, which does not need us. */
	assert_int_equal(atomic_load(&fake.fills), 2);
	assert_false(version_has(v, 0));
	assert_true(version_has(v, 1));
	version_put(v);
	json_decref(ask("verify", named("nothing"), &e));
	assert_non_null(strstr(e.text, "not stored"));
}

static void test_bad_requests(void **state)
{
	static const char *const bad[] = {
		"\n", "{\n", "[]\n", "nonsense\n", "{}\n", "{\"verb\":1}\n",
		"{\"verb\":\"status\"} x\n", "{\"verb\":\"reboot\"}\n",
		"{\"verb\":\"evict\",\"name\":7}\n",
		"{\"verb\":\"evict\",\"name\":\"a\",\"force\":1}\n",
		"{\"verb\":\"evict\",\"verb\":\"list\"}\n"};
	char answer[4096], big[CONTROL_LINE_MAX_BYTES];
	ssize_t n;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fd = dial();
		assert_true(write(fd, bad[i], strlen(bad[i])) > 0);
		n = recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL);
		assert_true(n > 0);
		answer[n] = 0;
		if (!strstr(answer, "\"error\":"))
			fail_msg("%s gave %s", bad[i], answer);
		close(fd);
	}
	fd = dial();
	memset(big, 'x', sizeof(big));
	assert_int_equal(write(fd, big, sizeof(big)), sizeof(big));
	n = recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL);
	assert_true(n > 0);
	answer[n] = 0;
	assert_non_null(strstr(answer, "at most"));
	close(fd);
}

/* Those who say nothing take places; one that comes then is told. */
static void test_too_many(void **state)
{
	int fd[CONTROL_CLIENTS_MAX];
	struct err e;
	json_t *lines;

	(void)state;
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		fd[i] = dial();
	json_decref(ask("status", NULL, &e));
	assert_non_null(strstr(e.text, "too many"));
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		close(fd[i]);
	do { /* their threads end */
		lines = ask("status", NULL, &e);
		json_decref(lines);
	} while (*e.text);
}

/* Another user may look, and change nothing. */
static void test_other_user(void **state)
{
	static const char *const verb[] = {"fetch", "evict", "verify"};
	struct err e;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0) {
		bool ok = setgid(65534) == 0 && setuid(65534) == 0;

		json_decref(ask("status", NULL, &e));
		ok = ok && !*e.text;
		for (int i = 0; i < 3; i++) {
			json_decref(ask(verb[i], named("win11/base.wim"), &e));
			ok = ok && strstr(e.text, "root");
		}
		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(atomic_load(&fake.started), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_status),	     T(test_list),
		T(test_fetch),	     T(test_client_goes),
		T(test_end_in_work), T(test_evict),
		T(test_verify),	     T(test_bad_requests),
		T(test_too_many),    T(test_other_user),
	};
	int r;

	make_content();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	manifest_free(manifest);
	return r;
}
