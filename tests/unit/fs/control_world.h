/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_world.h - the control socket, both ends in one process: a real cache
 * and catalog, and a reader that is defined here (so the library's is not
 * linked). Included once, by a test of it.
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
	atomic_uint started, cancelled, fills;
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

int reader_fill(struct reader *r, const struct version_ident *ident)
{
	(void)r;
	(void)ident;
	atomic_fetch_add(&fake.fills, 1);
	return 0;
}

void reader_wants(struct reader *r, uint64_t id, struct reader_wants *ret)
{
	(void)r;
	(void)id;
	*ret = (struct reader_wants){.parked = 3, .retry_ms = 1500};
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

static inline struct version_ident ident(void)
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
	atomic_store(&fake.fills, 0);
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
static inline json_t *having(json_t *lines, const char *name)
{
	for (size_t i = json_array_size(lines); i-- > 0;) {
		json_t *o = json_object_get(json_array_get(lines, i), name);

		if (o)
			return o;
	}
	fail_msg("no line with '%s'", name);
	return NULL;
}

static inline json_t *named(const char *name)
{
	return json_pack("{s:s}", "name", name);
}

/* Before any test: the image that there is, and the origin's key. */
static void make_content(void)
{
	struct digest *hash = calloc(BLOCKS, sizeof(*hash));
	uint8_t seed[SIGN_KEY_BYTES] = {1};

	log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	sign_from_seed(seed, &key);
	for (uint32_t i = 0; i < SIZE; i++)
		content[i] = (uint8_t)(i * 31 + i / 999);
	for (uint64_t i = 0; i < BLOCKS; i++)
		crypto_sha256(content + i * BLOCK, length_of(i), &hash[i]);
	manifest_build(SIZE, BLOCK, hash, &manifest);
}
