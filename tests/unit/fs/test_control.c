/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, both ends in one process: a real cache and catalog, and
 * a reader that is defined here (so the library's is not linked). Keeps C7
 * (what is bad on the disk is found past the page cache, and mended).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/envelope.h"
#include "common/fdio.h"
#include "common/log.h"
#include "fs/status/ask.h"
#include "fs/status/control.h"

#define STORE "11111111-2222-4333-8444-555555555555"
#define BLOCK (64u << 10)
#define BLOCKS 5
#define SIZE (BLOCK * BLOCKS - 1000)

static uint8_t content[SIZE];
static struct manifest *manifest;
static struct sign_secret key;

static struct {
	char dir[64], sock[96];
	int listen_fd;
	struct sources *sources;
	struct cache *cache;
	struct catalog *catalog;
	struct control *control;
} t;

/* ---- a reader ---------------------------------------------------------- */

static struct {
	int error;	    /* how a prefetch ends */
	bool hang;	    /* it does not, until it is cancelled */
	atomic_uint started, cancelled;
	const struct prefetch_owner *owner;
	void *ctx;
	struct version_ident ident;
	pthread_t thread;
	bool running;
	atomic_bool stop;
} fake;

static uint32_t length_of(uint64_t i)
{
	return manifest_block_length(SIZE, BLOCK, i);
}

static void store_missing(const struct version_ident *ident)
{
	struct version *v;

	assert_int_equal(cache_get(t.cache, ident, &v), 0);
	if (version_load_manifest(v)) {
		void *data;
		size_t n;
		struct manifest *m;

		manifest_encode(manifest, &data, &n);
		assert_int_equal(manifest_decode(data, n, NULL, &m, NULL), 0);
		free(data);
		assert_int_equal(version_set_manifest(v, m), 0);
	}
	for (uint64_t i = 0; i < BLOCKS; i++) {
		if (version_has(v, i))
			continue;
		assert_int_equal(version_reserve(v, i, 1, RESERVE_PREFETCH,
						 NULL, NULL), 0);
		assert_int_equal(version_store(v, i, content + i * BLOCK,
					       length_of(i)), 0);
	}
	assert_int_equal(cache_flush(t.cache), 0); /* then it is complete */
	version_put(v);
}

static void *prefetch_main(void *arg)
{
	(void)arg;
	fake.owner->progress(fake.ctx, BLOCK, SIZE);
	while (fake.hang && !atomic_load(&fake.stop))
		usleep(1000);
	if (!fake.hang && !fake.error)
		store_missing(&fake.ident);
	fake.owner->end(fake.ctx, fake.error ? BLOCK : SIZE, SIZE,
			fake.hang ? -ECANCELED : fake.error);
	return NULL;
}

int reader_prefetch(struct reader *r, const struct version_ident *ident,
		    uint64_t order, enum wire_class class_,
		    const struct prefetch_owner *owner, void *ctx,
		    struct prefetch **ret)
{
	(void)r;
	assert_int_equal(order, 0);
	assert_int_equal(class_, CLASS_PREFETCH);
	if (fake.running)
		pthread_join(fake.thread, NULL);
	fake.owner = owner;
	fake.ctx = ctx;
	fake.ident = *ident;
	atomic_store(&fake.stop, false);
	atomic_fetch_add(&fake.started, 1);
	fake.running = true;
	*ret = (struct prefetch *)&fake;
	return -pthread_create(&fake.thread, NULL, prefetch_main, NULL);
}

void reader_prefetch_cancel(struct reader *r, struct prefetch *p)
{
	(void)r;
	assert_ptr_equal(p, &fake);
	atomic_fetch_add(&fake.cancelled, 1);
	atomic_store(&fake.stop, true);
}

bool reader_active(struct reader *r, uint64_t id)
{
	(void)r;
	(void)id;
	return false;
}

void reader_stats(struct reader *r, struct reader_stats *ret)
{
	(void)r;
	*ret = (struct reader_stats){.parked = 7, .reads_stored = 3};
}

void fetch_stats(struct fetch *f, struct fetch_stats *ret)
{
	(void)f;
	*ret = (struct fetch_stats){.bytes = {[CLASS_DEMAND] = 99}};
}

/* ---- around a test ----------------------------------------------------- */

static struct version_ident ident(void)
{
	struct version_ident i = {.id = 3, .size_bytes = SIZE,
				  .block_bytes = BLOCK,
				  .name = "win11/base.wim"};

	i.digest = manifest->digest;
	return i;
}

static void fill_catalog(void)
{
	struct wire_entry e[2] = {
		{.id = 2, .parent = 1, .name = (char *)"win11", .is_dir = true},
		{.id = 3, .parent = 2, .name = (char *)"base.wim",
		 .size_bytes = SIZE, .block_bytes = BLOCK},
	};
	struct wire_catalog c = {.store = STORE, .revision = 4, .entry = e,
				 .n_entries = 2};
	struct catalog_change *ch;
	char *json, *text;
	size_t n;
	bool more;

	e[1].digest = manifest->digest;
	assert_int_equal(wire_catalog_encode(&c, &json, &n), 0);
	assert_int_equal(envelope_seal(&key, json, n, &text, &n), 0);
	assert_int_equal(catalog_apply(t.catalog, text, n, &more, &ch, &n,
				       NULL), 0);
	catalog_changes_free(ch, n);
	free(json);
	free(text);
}

static size_t counters(void *ctx, struct control_counter *out)
{
	(void)ctx;
	out[0] = (struct control_counter){"opens", "opens so far", 12};
	return 1;
}

static void listen_at(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	t.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
					      SOCK_NONBLOCK, 0);
	assert_int_equal(bind(t.listen_fd, (struct sockaddr *)&a, sizeof(a)),
			 0);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(listen(t.listen_fd, 64), 0);
}

static int set_up(void **state)
{
	struct cache_config cache = {.capacity_bytes = 100 << 20,
				     .just_read_ms = 1};
	struct control_config cfg = {.mountpoint = "/images", .name = "line3",
				     .counters = counters};
	char dir[96];
	struct err e;

	(void)state;
	strcpy(t.dir, "/tmp/test_control.XXXXXX");
	if (!mkdtemp(t.dir) || chmod(t.dir, 0755))
		return -1;
	snprintf(dir, sizeof(dir), "%s/cache", t.dir);
	snprintf(t.sock, sizeof(t.sock), "%s/sock", t.dir);
	cache.dir = dir;
	assert_int_equal(sources_new("http://127.0.0.1:1", &t.sources, &e), 0);
	if (cache_open(&cache, &t.cache, &e))
		fail_msg("%s", e.text);
	assert_int_equal(catalog_open(cache_dirfd(t.cache), NULL, &t.catalog,
				      &e), 0);
	fill_catalog();
	listen_at(t.sock);
	fake.error = 0;
	fake.hang = false;
	atomic_store(&fake.started, 0);
	atomic_store(&fake.cancelled, 0);
	cfg.listen_fd = t.listen_fd;
	cfg.sources = t.sources;
	cfg.cache = t.cache;
	cfg.catalog = t.catalog;
	cfg.reader = (struct reader *)&fake;
	cfg.fetch = (struct fetch *)&fake;
	return control_new(&cfg, &t.control, &e);
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	control_free(t.control);
	if (fake.running)
		pthread_join(fake.thread, NULL);
	fake.running = false;
	catalog_close(t.catalog);
	cache_close(t.cache);
	sources_free(t.sources);
	close(t.listen_fd);
	snprintf(command, sizeof(command), "rm -rf %s", t.dir);
	return system(command);
}

static int dial(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", t.sock);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int collect(void *ctx, const json_t *line)
{
	return json_array_append_new(ctx, json_deep_copy(line));
}

/* The lines before the last; the error's text in `e`. */
static json_t *ask(const char *verb, json_t *args, struct err *e)
{
	json_t *lines = json_array();

	e->text[0] = 0;
	ask_socket(dial(), verb, args, collect, lines, e);
	return lines;
}

/* The last line that has this member; borrowed. */
static json_t *having(json_t *lines, const char *name)
{
	for (size_t i = json_array_size(lines); i-- > 0;) {
		json_t *o = json_object_get(json_array_get(lines, i), name);

		if (o)
			return o;
	}
	fail_msg("no line with '%s'", name);
	return NULL;
}

static json_t *named(const char *name)
{
	return json_pack("{s:s}", "name", name);
}

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

/* Ctrl-C on the client ends its fetch. */
static void test_client_goes(void **state)
{
	static const char request[] =
		"{\"verb\":\"fetch\",\"name\":\"win11/base.wim\"}\n";
	int fd = dial();

	(void)state;
	fake.hang = true;
	assert_int_equal(write(fd, request, sizeof(request) - 1),
			 sizeof(request) - 1);
	while (!atomic_load(&fake.started))
		usleep(1000);
	close(fd);
	while (!atomic_load(&fake.cancelled))
		usleep(1000);
}

/* An umount in the middle of a fetch: control_free returns. */
static void test_end_in_work(void **state)
{
	static const char request[] =
		"{\"verb\":\"fetch\",\"name\":\"win11/base.wim\"}\n";
	int fd = dial();

	(void)state;
	fake.hang = true;
	assert_int_equal(write(fd, request, sizeof(request) - 1),
			 sizeof(request) - 1);
	while (!atomic_load(&fake.started))
		usleep(1000);
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

static void test_find_mount(void **state)
{
	static const char info[] =
		"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
		"30 22 0:40 / /images rw,nosuid shared:1 - fuse.stagefs "
		"http://o:8420 rw\n"
		"31 22 0:41 / /data rw - fuse.sshfs x rw\n"
		"32 22 0:42 / /srv/my\\040images rw - fuse.stagefs x rw\n"
		"33 30 0:43 / /images/inner rw - fuse.stagefs x rw\n"
		"broken\n";
	static const struct {
		const char *dir, *want;
	} good[] = {
		{"/images", "/images"},	    {"/images/", "/images"},
		{"//images/.", "/images"},  {"/images/a/b", "/images"},
		{"/x/../images", "/images"}, {"/images/inner/z",
					      "/images/inner"},
		{"/srv/my images", "/srv/my images"},
	};
	static const char *const bad[] = {"/", "/data", "/image", "/images2",
					  "/srv", "", "relative"};
	char out[256];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(ask_find_mount(good[i].dir, info, out,
						sizeof(out), &e), 0);
		assert_string_equal(out, good[i].want);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ask_find_mount(bad[i], info, out,
						sizeof(out), &e), -ENOENT);
}

/* The supervisor computes the same. */
static void test_path(void **state)
{
	char out[CONTROL_PATH_MAX];

	(void)state;
	assert_string_equal(control_path("", out),
			    "/run/stagefs/cbf29ce484222325.sock");
	assert_string_equal(control_path("a", out),
			    "/run/stagefs/af63dc4c8601ec8c.sock");
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
		cmocka_unit_test(test_find_mount),
		cmocka_unit_test(test_path),
	};
	struct digest *hash = calloc(BLOCKS, sizeof(*hash));
	uint8_t seed[SIGN_KEY_BYTES] = {1};
	int r;

	log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	sign_from_seed(seed, &key);
	for (uint32_t i = 0; i < SIZE; i++)
		content[i] = (uint8_t)(i * 31 + i / 999);
	for (uint64_t i = 0; i < BLOCKS; i++)
		crypto_sha256(content + i * BLOCK, length_of(i), &hash[i]);
	manifest_build(SIZE, BLOCK, hash, &manifest);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	manifest_free(manifest);
	return r;
}
