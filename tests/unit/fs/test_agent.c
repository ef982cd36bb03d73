/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent against an origin in this process: a scripted HTTP server with
 * real signatures, and a cache and a reader that are a few variables (they
 * are defined here, so the library's own are not linked).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/envelope.h"
#include "common/log.h"
#include "common/wire.h"
#include "fs/agent/agent.h"
#include "tests/unit/fs/mini_httpd.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define STORE "11111111-2222-4333-8444-555555555555"
#define NAME "line3"
#define SIZE 5000000u

/* ---- a cache and a reader ---------------------------------------------- */

#define IMAGES 16

static struct {
	pthread_mutex_t lock;
	/* the cache: by id */
	struct version_info info[IMAGES];
	bool stored[IMAGES];
	int evict_error, reclaim_error;
	uint64_t evicts, reclaims, holds, held_before_prefetch;
	/* the reader: one prefetch at a time */
	struct {
		const struct prefetch_owner *owner;
		void *ctx;
		uint64_t id, order;
		bool cancelled;
	} pre;
	uint64_t prefetches, cancels;
	pthread_t canceller;
	bool have_canceller;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define FAKE_SCOPE pthread_mutex_lock(&fake.lock)
#define FAKE_END pthread_mutex_unlock(&fake.lock)

int cache_info(struct cache *c, uint64_t id, struct version_info *ret)
{
	int r = -ENOENT;

	(void)c;
	FAKE_SCOPE;
	if (id < IMAGES && fake.stored[id]) {
		*ret = fake.info[id];
		r = 0;
	}
	FAKE_END;
	return r;
}

int cache_list(struct cache *c, struct version_info **ret, size_t *ret_n)
{
	struct version_info *list = calloc(IMAGES, sizeof(*list));
	size_t n = 0;

	(void)c;
	FAKE_SCOPE;
	for (int i = 0; i < IMAGES; i++)
		if (fake.stored[i])
			list[n++] = fake.info[i];
	FAKE_END;
	*ret = list;
	*ret_n = n;
	return 0;
}

void cache_stats(struct cache *c, struct cache_stats *ret)
{
	(void)c;
	*ret = (struct cache_stats){.capacity_bytes = 10 << 20};
	FAKE_SCOPE;
	for (int i = 0; i < IMAGES; i++)
		if (fake.stored[i])
			ret->used_bytes += fake.info[i].stored_bytes;
	FAKE_END;
	ret->free_bytes = ret->capacity_bytes - ret->used_bytes;
}

static void store_it(const struct version_ident *ident, uint64_t bytes)
{
	FAKE_SCOPE;
	fake.stored[ident->id] = true;
	fake.info[ident->id].ident = *ident;
	fake.info[ident->id].stored_bytes = bytes;
	fake.info[ident->id].stored_seq = ident->id;
	fake.info[ident->id].complete = bytes == ident->size_bytes;
	FAKE_END;
}

int cache_hold(struct cache *c, const struct version_ident *ident,
	       int64_t until_s)
{
	(void)c;
	FAKE_SCOPE;
	fake.holds++;
	if (!fake.stored[ident->id]) {
		fake.stored[ident->id] = true;
		fake.info[ident->id].ident = *ident;
		fake.info[ident->id].stored_seq = ident->id;
	}
	fake.info[ident->id].held_until_s = until_s;
	FAKE_END;
	return 0;
}

int cache_evict(struct cache *c, uint64_t id, const struct digest *digest,
		bool force, uint64_t *ret_freed_bytes)
{
	int r;

	(void)c;
	assert_false(force);
	FAKE_SCOPE;
	fake.evicts++;
	r = fake.evict_error;
	if (!r && !fake.stored[id])
		r = -ENOENT;
	if (!r && !digest_equal(digest, &fake.info[id].ident.digest))
		r = -ESTALE;
	if (!r) {
		*ret_freed_bytes = fake.info[id].stored_bytes;
		fake.stored[id] = false;
	}
	FAKE_END;
	return r;
}

int cache_reclaim(struct cache *c, uint64_t bytes, uint64_t *ret_freed_bytes)
{
	(void)c;
	(void)bytes;
	FAKE_SCOPE;
	fake.reclaims++;
	FAKE_END;
	*ret_freed_bytes = 4096;
	return fake.reclaim_error;
}

int reader_prefetch(struct reader *r, const struct version_ident *ident,
		    uint64_t order, enum wire_class class_,
		    const struct prefetch_owner *owner, void *ctx,
		    struct prefetch **ret)
{
	(void)r;
	assert_int_equal(class_, CLASS_PREFETCH);
	FAKE_SCOPE;
	fake.prefetches++;
	if (fake.stored[ident->id] && fake.info[ident->id].held_until_s)
		fake.held_before_prefetch++;
	fake.pre.owner = owner;
	fake.pre.ctx = ctx;
	fake.pre.id = ident->id;
	fake.pre.order = order;
	fake.pre.cancelled = false;
	*ret = (struct prefetch *)&fake.pre;
	FAKE_END;
	return 0;
}

static void end_prefetch(uint64_t stored, int error)
{
	const struct prefetch_owner *owner;
	void *ctx;

	FAKE_SCOPE;
	owner = fake.pre.owner;
	ctx = fake.pre.ctx;
	fake.pre.owner = NULL;
	FAKE_END;
	if (owner)
		owner->end(ctx, stored, SIZE, error);
}

static void *end_cancelled(void *arg)
{
	(void)arg;
	end_prefetch(1000, -ECANCELED);
	return NULL;
}

/* The end comes from another thread, as the reader's does. */
void reader_prefetch_cancel(struct reader *r, struct prefetch *p)
{
	bool first;

	(void)r;
	assert_ptr_equal(p, &fake.pre);
	FAKE_SCOPE;
	first = !fake.pre.cancelled;
	fake.pre.cancelled = true;
	fake.cancels++;
	if (first && !fake.have_canceller) {
		fake.have_canceller = true;
		pthread_create(&fake.canceller, NULL, end_cancelled, NULL);
	}
	FAKE_END;
}

bool reader_active(struct reader *r, uint64_t id)
{
	bool active;

	(void)r;
	FAKE_SCOPE;
	active = fake.pre.owner && fake.pre.id == id;
	FAKE_END;
	return active;
}

void reader_stats(struct reader *r, struct reader_stats *ret)
{
	(void)r;
	memset(ret, 0, sizeof(*ret));
}

/* ---- an origin --------------------------------------------------------- */

static struct sign_secret key, wrong_key;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct mini m;
	uint16_t port;
	bool running, quit;
	/* what it serves */
	uint64_t revision;
	unsigned n_images; /* ids 2... */
	struct wire_order order[16];
	unsigned n_orders;
	const struct sign_secret *orders_key;
	const char *server;
	int status;	   /* of everything; 0: as usual */
	int catalog_status; /* of the catalog */
	bool want_full;
	/* what it saw */
	unsigned polls, polls_from_0, catalogs, not_modified;
	struct wire_report report[64];
	unsigned n_reports;
	struct wire_descriptor desc; /* figures of the last one */
	unsigned descs, full_descs, last_images, last_gone;
	struct wire_image first; /* of the last one; no name */
} origin = {.lock = PTHREAD_MUTEX_INITIALIZER,
	    .changed = PTHREAD_COND_INITIALIZER};

static struct digest digest_of(uint64_t id)
{
	struct digest d;

	memset(d.b, (int)id, sizeof(d.b));
	return d;
}

static void answer(struct mini_request *r, int status, const char *etag,
		   const char *body, size_t n)
{
	mini_printf(r->fd, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n", status,
		    n);
	if (etag)
		mini_printf(r->fd, "ETag: %s\r\n", etag);
	mini_write(r->fd, "\r\n", 2);
	mini_write(r->fd, body, n);
}

static void answer_signed(struct mini_request *r, char *json, size_t n,
			  const struct sign_secret *k)
{
	CLEAN_FREE char *own = json, *text = NULL;

	envelope_seal(k, own, n, &text, &n);
	answer(r, 200, NULL, text, n);
}

static void serve_catalog(struct mini_request *r)
{
	struct wire_catalog c = {.store = STORE};
	char etag[128];
	char *json;
	size_t n;

	sscanf(r->path, "/v1/catalog?since=%" SCNu64, &c.since);
	origin.catalogs++;
	c.revision = origin.revision;
	snprintf(etag, sizeof(etag), "\"" STORE "-%" PRIu64 "-%" PRIu64 "\"",
		 c.since, c.revision);
	if (mini_header(r, "If-None-Match") &&
	    strcmp(mini_header(r, "If-None-Match"), etag) == 0) {
		origin.not_modified++;
		mini_printf(r->fd, "HTTP/1.1 304 X\r\nETag: %s\r\n\r\n", etag);
		return;
	}
	c.entry = calloc(IMAGES, sizeof(*c.entry));
	/* image i came with revision i */
	for (uint64_t i = 1; i <= origin.n_images; i++) {
		char name[16];

		if (i <= c.since)
			continue;
		snprintf(name, sizeof(name), "image%d", (int)i);
		c.entry[c.n_entries++] = (struct wire_entry){
			.id = i + 1, .parent = 1, .name = strdup(name),
			.size_bytes = SIZE, .block_bytes = 1 << 20,
			.digest = digest_of(i + 1)};
	}
	wire_catalog_encode(&c, &json, &n);
	wire_catalog_free(&c);
	answer_signed(r, json, n, &key);
}

static bool new_order(uint64_t after)
{
	return origin.n_orders && origin.order[origin.n_orders - 1].number >
					  after;
}

static void serve_orders(struct mini_request *r)
{
	uint64_t after = 0, catalog = 0, until;
	struct wire_orders o = {.store = STORE};
	unsigned wait = 0;
	char *json;
	size_t n;

	assert_int_equal(sscanf(r->path, "/v1/servers/" NAME "/orders?after=%"
				SCNu64 "&catalog=%" SCNu64 "&wait=%u", &after,
				&catalog, &wait), 3);
	origin.polls++;
	origin.polls_from_0 += after == 0;
	until = clock_mono_ns() + wait * NS_PER_S;
	while (!origin.quit && !new_order(after) &&
	       catalog == origin.revision && clock_mono_ns() < until) {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += 20000000;
		ts.tv_sec += ts.tv_nsec / 1000000000;
		ts.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&origin.changed, &origin.lock, &ts);
	}
	snprintf(o.server, sizeof(o.server), "%s", origin.server);
	o.catalog_revision = origin.revision;
	o.order = calloc(16, sizeof(*o.order));
	for (unsigned i = 0; i < origin.n_orders; i++)
		if (origin.order[i].number > after)
			o.order[o.n_orders++] = origin.order[i];
	wire_orders_encode(&o, &json, &n);
	free(o.order);
	answer_signed(r, json, n, origin.orders_key);
}

static void take_report(struct mini_request *r)
{
	struct wire_report w;
	struct err e;

	if (wire_report_decode(r->body, r->body_n, &w, &e))
		fail_msg("report: %s", e.text);
	if (origin.n_reports < 64)
		origin.report[origin.n_reports++] = w;
	/* a final one takes the order off the list */
	for (unsigned i = 0; i < origin.n_orders && w.state != REPORT_RUNNING;
	     i++)
		if (origin.order[i].number == w.number) {
			memmove(&origin.order[i], &origin.order[i + 1],
				(origin.n_orders - i - 1) *
					sizeof(origin.order[0]));
			origin.n_orders--;
		}
	answer(r, 204, NULL, "", 0);
}

static void take_descriptor(struct mini_request *r)
{
	struct wire_descriptor d;
	struct err e;

	if (wire_descriptor_decode(r->body, r->body_n, &d, &e))
		fail_msg("descriptor: %s", e.text);
	if (origin.want_full && d.base) {
		answer(r, 409, NULL, "full\n", 5);
	} else {
		origin.want_full = false;
		assert_true(d.base == 0 || d.base == origin.desc.seq);
		origin.descs++;
		origin.full_descs += d.base == 0;
		origin.last_images = (unsigned)d.n_images;
		origin.last_gone = (unsigned)d.n_gone;
		if (d.n_images)
			origin.first = d.image[0];
		origin.first.name = NULL;
		origin.desc = d;
		answer(r, 204, NULL, "", 0);
	}
	wire_descriptor_free(&d);
}

static bool handle(void *ctx, struct mini_request *r)
{
	bool more;

	(void)ctx;
	pthread_mutex_lock(&origin.lock);
	if (origin.status)
		answer(r, origin.status, NULL, "no\n", 3);
	else if (strncmp(r->path, "/v1/catalog", 11) == 0 &&
		 origin.catalog_status)
		answer(r, origin.catalog_status, NULL, "no\n", 3);
	else if (strncmp(r->path, "/v1/catalog", 11) == 0)
		serve_catalog(r);
	else if (strcmp(r->method, "PUT") == 0)
		take_descriptor(r);
	else if (strcmp(r->method, "POST") == 0)
		take_report(r);
	else
		serve_orders(r);
	pthread_cond_broadcast(&origin.changed);
	more = !origin.quit;
	pthread_mutex_unlock(&origin.lock);
	return more;
}

static void origin_start(void)
{
	origin.quit = false;
	while (mini_start_at(&origin.m, origin.port, handle, NULL))
		usleep(10000);
	origin.port = origin.m.port;
	origin.running = true;
}

static void origin_stop(void)
{
	if (!origin.running)
		return;
	pthread_mutex_lock(&origin.lock);
	origin.quit = true;
	pthread_cond_broadcast(&origin.changed);
	pthread_mutex_unlock(&origin.lock);
	mini_stop(&origin.m);
	origin.running = false;
}

static void order(struct wire_order o)
{
	pthread_mutex_lock(&origin.lock);
	if (!o.name)
		o.name = (char *)"";
	origin.order[origin.n_orders++] = o;
	pthread_cond_broadcast(&origin.changed);
	pthread_mutex_unlock(&origin.lock);
}

static void prefetch(uint64_t number, uint64_t id, int64_t hold)
{
	order((struct wire_order){.number = number, .kind = ORDER_PREFETCH,
				  .id = id, .digest = digest_of(id),
				  .name = (char *)"image", .size_bytes = SIZE,
				  .hold_until_s = hold});
}

/* The last report on this order with this state, or NULL. */
static const struct wire_report *reported(uint64_t number,
					  enum wire_report_state state)
{
	const struct wire_report *r = NULL;

	for (unsigned i = 0; i < origin.n_reports; i++)
		if (origin.report[i].number == number &&
		    origin.report[i].state == state)
			r = &origin.report[i];
	return r;
}

/* Until it is true; far longer than it can take. */
#define WAIT_FOR(what)                                                     \
	do {                                                               \
		uint64_t end_ = clock_mono_ns() + 20 * NS_PER_S;           \
		bool ok_ = false;                                          \
		while (!ok_ && clock_mono_ns() < end_) {                   \
			pthread_mutex_lock(&origin.lock);                  \
			pthread_mutex_lock(&fake.lock);                    \
			ok_ = (what);                                      \
			pthread_mutex_unlock(&fake.lock);                  \
			pthread_mutex_unlock(&origin.lock);                \
			if (!ok_)                                          \
				usleep(2000);                              \
		}                                                          \
		if (!ok_)                                                  \
			fail_msg("never came: %s", #what);                 \
	} while (0)

/* ---- around a test ----------------------------------------------------- */

static struct {
	char dir[64];
	int dirfd;
	struct sources *sources;
	struct http *http;
	struct catalog *catalog;
	struct agent *a;
	atomic_uint names;
	uint32_t wait_s;
} t;

static void names_changed(void *ctx, const struct catalog_change *ch, size_t n)
{
	(void)ctx;
	assert_non_null(ch[0].name);
	atomic_fetch_add(&t.names, (unsigned)n);
}

static void agent_start(const char *url)
{
	struct http_config http = {.server = NAME};
	struct agent_config cfg = {
		.name = NAME,
		.names_changed = names_changed,
		.wait_s = 2,
		.report_ms = 10,
		.cache = (struct cache *)&fake,
		.reader = (struct reader *)&fake,
	};
	struct err e;

	assert_int_equal(sources_new(url, &t.sources, &e), 0);
	assert_int_equal(http_new(&http, &t.http), 0);
	assert_int_equal(catalog_open(t.dirfd, NULL, &t.catalog, &e), 0);
	cfg.sources = t.sources;
	cfg.http = t.http;
	cfg.catalog = t.catalog;
	assert_int_equal(agent_new(&cfg, &t.a, &e), 0);
}

static void agent_stop(void)
{
	agent_free(t.a);
	t.a = NULL;
	http_free(t.http);
	t.http = NULL;
	sources_free(t.sources);
	t.sources = NULL;
	catalog_close(t.catalog);
	t.catalog = NULL;
}

static int set_up(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	memset(fake.stored, 0, sizeof(fake.stored));
	memset(fake.info, 0, sizeof(fake.info));
	memset(&fake.pre, 0, sizeof(fake.pre));
	fake.evict_error = fake.reclaim_error = 0;
	fake.evicts = fake.reclaims = fake.holds = fake.prefetches = 0;
	fake.cancels = fake.held_before_prefetch = 0;
	origin.revision = origin.n_images = 3; /* ids 2, 3, 4 */
	origin.n_orders = origin.n_reports = 0;
	origin.orders_key = &key;
	origin.server = NAME;
	origin.status = origin.catalog_status = 0;
	origin.want_full = false;
	origin.polls = origin.polls_from_0 = origin.catalogs = 0;
	origin.not_modified = origin.descs = origin.full_descs = 0;
	strcpy(t.dir, "/tmp/test_agent.XXXXXX");
	if (!mkdtemp(t.dir))
		return -1;
	t.dirfd = open(t.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	origin_start();
	agent_start(origin.m.url);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const name[] = {"catalog", "catalog.new",
					   "catalog.bad", "key.pub"};

	(void)state;
	agent_stop();
	origin_stop();
	if (fake.have_canceller)
		pthread_join(fake.canceller, NULL);
	fake.have_canceller = false;
	for (size_t i = 0; i < 4; i++)
		unlinkat(t.dirfd, name[i], 0);
	close(t.dirfd);
	return rmdir(t.dir);
}

static struct version_ident ident(uint64_t id)
{
	return (struct version_ident){.id = id, .digest = digest_of(id),
				      .size_bytes = SIZE,
				      .block_bytes = 1 << 20, .name = "x"};
}

/* ---- tests ------------------------------------------------------------- */

static void test_connect(void **state)
{
	struct agent_stats s;
	struct err e;

	(void)state;
	assert_int_equal(agent_wait_catalog(t.a, 20000, &e), 0);
	assert_int_equal(catalog_count(t.catalog), 3);
	assert_int_equal(atomic_load(&t.names), 3);
	WAIT_FOR(origin.full_descs == 1);
	assert_string_equal(origin.desc.name, NAME);
	assert_string_equal(origin.desc.store, STORE);
	assert_int_equal(origin.desc.catalog_revision, 3);
	assert_int_equal(origin.desc.capacity_bytes, 10 << 20);
	agent_stats(t.a, &s);
	assert_true(s.connected);
	assert_int_equal(s.catalog_syncs, 1);
}

static void test_new_catalog(void **state)
{
	(void)state;
	WAIT_FOR(origin.polls == 1);
	pthread_mutex_lock(&origin.lock);
	origin.revision = origin.n_images = 5;
	pthread_cond_broadcast(&origin.changed);
	pthread_mutex_unlock(&origin.lock);
	WAIT_FOR(origin.descs && origin.desc.catalog_revision == 5);
	assert_int_equal(catalog_count(t.catalog), 5);
	assert_int_equal(atomic_load(&t.names), 5);
	/* at the next start it is asked for with an ETag */
	agent_stop();
	agent_start(origin.m.url);
	WAIT_FOR(origin.not_modified == 1);
	assert_int_equal(agent_wait_catalog(t.a, 20000, NULL), 0);
}

static void test_prefetch(void **state)
{
	struct agent_order *list;
	struct version_ident i = ident(3);
	size_t n;

	(void)state;
	prefetch(7, 3, 2000000000);
	WAIT_FOR(fake.prefetches == 1 && fake.pre.owner);
	assert_int_equal(fake.pre.id, 3);
	assert_int_equal(fake.pre.order, 7);
	assert_int_equal(fake.held_before_prefetch, 1);
	WAIT_FOR(reported(7, REPORT_RUNNING));
	assert_int_equal(agent_orders(t.a, &list, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(list[0].state, REPORT_RUNNING);
	free(list);
	store_it(&i, 1000);
	fake.pre.owner->progress(fake.pre.ctx, 1000, SIZE);
	agent_changed(t.a, 3);
	WAIT_FOR(origin.first.id == 3 &&
		 origin.first.state == IMAGE_FETCHING &&
		 origin.first.stored_bytes == 1000);
	WAIT_FOR(reported(7, REPORT_RUNNING) &&
		 reported(7, REPORT_RUNNING)->stored_bytes == 1000);
	assert_null(reported(7, REPORT_DONE));
	store_it(&i, SIZE);
	end_prefetch(SIZE, 0);
	WAIT_FOR(reported(7, REPORT_DONE));
	assert_int_equal(reported(7, REPORT_DONE)->stored_bytes, SIZE);
	/* without a callback of the cache: found by looking again */
	WAIT_FOR(origin.first.state == IMAGE_COMPLETE);

	/* Complete already: nothing is fetched. */
	prefetch(8, 3, 0);
	WAIT_FOR(reported(8, REPORT_DONE));
	assert_int_equal(fake.prefetches, 1);
}

static void origin_stop_until_noticed(void)
{
	struct agent_stats s;

	origin_stop();
	do {
		usleep(2000);
		agent_stats(t.a, &s);
	} while (s.connected);
}

/* What was ordered twice is done once and reported twice. */
static void test_harmless_twice(void **state)
{
	(void)state;
	prefetch(7, 3, 0);
	WAIT_FOR(fake.prefetches == 1 && fake.pre.owner);
	/* The line breaks; the order comes again while it is in work. */
	origin_stop_until_noticed();
	pthread_mutex_lock(&origin.lock);
	origin.polls_from_0 = 0;
	pthread_mutex_unlock(&origin.lock);
	origin_start();
	WAIT_FOR(origin.polls_from_0 > 0 && origin.polls > 1);
	assert_int_equal(fake.prefetches, 1);
	end_prefetch(SIZE, 0);
	WAIT_FOR(reported(7, REPORT_DONE));
	/* The origin lost the report. */
	origin_stop_until_noticed();
	origin.n_reports = origin.n_orders = 0;
	prefetch(7, 3, 0);
	origin_start();
	WAIT_FOR(reported(7, REPORT_DONE));
	assert_int_equal(fake.prefetches, 1);
	assert_true(origin.full_descs >= 2); /* one per connection */
}

static void test_prefetch_fails(void **state)
{
	(void)state;
	prefetch(1, 14, 0);
	WAIT_FOR(reported(1, REPORT_FAILED));
	assert_non_null(strstr(reported(1, REPORT_FAILED)->message,
			       "not in the catalog"));
	order((struct wire_order){.number = 2, .kind = ORDER_PREFETCH, .id = 3,
				  .digest = digest_of(9),
				  .name = (char *)"x", .size_bytes = SIZE});
	WAIT_FOR(reported(2, REPORT_FAILED));
	assert_non_null(strstr(reported(2, REPORT_FAILED)->message,
			       "another version"));
	assert_int_equal(fake.prefetches, 0);
	prefetch(3, 3, 0);
	WAIT_FOR(fake.prefetches == 1 && fake.pre.owner);
	end_prefetch(1000, -ENOSPC);
	WAIT_FOR(reported(3, REPORT_FAILED));
	assert_non_null(strstr(reported(3, REPORT_FAILED)->message,
			       "no room: it needs 4.8M, free are 10M"));
	assert_int_equal(reported(3, REPORT_FAILED)->stored_bytes, 1000);
	prefetch(4, 3, 0);
	WAIT_FOR(fake.prefetches == 2 && fake.pre.owner);
	end_prefetch(0, -EIO);
	WAIT_FOR(reported(4, REPORT_FAILED));
	assert_non_null(strstr(reported(4, REPORT_FAILED)->message,
			       "no source"));
}

static void test_cancel(void **state)
{
	(void)state;
	prefetch(7, 3, 0);
	WAIT_FOR(fake.prefetches == 1 && fake.pre.owner);
	order((struct wire_order){.number = 8, .kind = ORDER_CANCEL,
				  .cancels = 7});
	WAIT_FOR(reported(7, REPORT_FAILED) && reported(8, REPORT_DONE));
	assert_string_equal(reported(7, REPORT_FAILED)->message, "cancelled");
	assert_int_equal(fake.cancels, 1);
	/* of something unknown: fine */
	order((struct wire_order){.number = 9, .kind = ORDER_CANCEL,
				  .cancels = 5});
	WAIT_FOR(reported(9, REPORT_DONE));
}

static void test_delete(void **state)
{
	struct version_ident i = ident(3);
	struct wire_order o = {.kind = ORDER_DELETE, .id = 3,
			       .digest = digest_of(3), .name = (char *)"x"};

	(void)state;
	store_it(&i, SIZE);
	agent_changed(t.a, 3);
	WAIT_FOR(origin.first.id == 3);
	fake.evict_error = -EBUSY;
	o.number = 1;
	order(o);
	WAIT_FOR(reported(1, REPORT_FAILED));
	assert_non_null(strstr(reported(1, REPORT_FAILED)->message, "open"));
	FAKE_SCOPE;
	fake.evict_error = -EPERM;
	FAKE_END;
	o.number = 2;
	order(o);
	WAIT_FOR(reported(2, REPORT_FAILED));
	assert_non_null(strstr(reported(2, REPORT_FAILED)->message, "hold"));
	FAKE_SCOPE;
	fake.evict_error = 0;
	FAKE_END;
	o.number = 3;
	o.digest = digest_of(9);
	order(o);
	WAIT_FOR(reported(3, REPORT_FAILED));
	o.digest = digest_of(3);
	o.number = 4;
	order(o);
	WAIT_FOR(reported(4, REPORT_DONE));
	assert_int_equal(reported(4, REPORT_DONE)->stored_bytes, SIZE);
	agent_changed(t.a, 3);
	WAIT_FOR(origin.last_gone == 1 && origin.desc.used_bytes == 0);
	o.number = 5; /* not there any more: done */
	order(o);
	WAIT_FOR(reported(5, REPORT_DONE));
}

static void test_others(void **state)
{
	struct wire_order o = {.number = 1, .kind = ORDER_RECLAIM,
			       .bytes = 1 << 30};

	(void)state;
	order(o);
	WAIT_FOR(reported(1, REPORT_DONE));
	assert_int_equal(reported(1, REPORT_DONE)->stored_bytes, 4096);
	FAKE_SCOPE;
	fake.reclaim_error = -ENOSPC;
	FAKE_END;
	o.number = 2;
	order(o);
	WAIT_FOR(reported(2, REPORT_FAILED));
	assert_non_null(strstr(reported(2, REPORT_FAILED)->message,
			       "1G were asked for"));
	assert_int_equal(reported(2, REPORT_FAILED)->stored_bytes, 4096);
	o = (struct wire_order){.number = 3, .kind = ORDER_HOLD, .id = 3,
				.digest = digest_of(3), .name = (char *)"x",
				.hold_until_s = 99};
	order(o);
	WAIT_FOR(reported(3, REPORT_DONE));
	assert_int_equal(fake.info[3].held_until_s, 99);
	o.number = 4;
	o.kind = ORDER_RELEASE;
	o.hold_until_s = 0;
	order(o);
	WAIT_FOR(reported(4, REPORT_DONE));
	assert_int_equal(fake.info[3].held_until_s, 0);
	o.number = 5;
	o.id = 14;
	o.kind = ORDER_HOLD;
	o.hold_until_s = 99;
	o.digest = digest_of(14);
	order(o);
	WAIT_FOR(reported(5, REPORT_FAILED));
}

static void test_descriptor(void **state)
{
	struct version_ident i = ident(3), k = ident(4);

	(void)state;
	WAIT_FOR(origin.full_descs == 1);
	store_it(&i, 1000);
	agent_changed(t.a, 3);
	WAIT_FOR(origin.descs == 2);
	assert_int_equal(origin.full_descs, 1);
	assert_int_equal(origin.last_images, 1);
	assert_int_equal(origin.first.state, IMAGE_PARTIAL);
	/* the origin lost it: 409, then a full one */
	pthread_mutex_lock(&origin.lock);
	origin.want_full = true;
	pthread_mutex_unlock(&origin.lock);
	store_it(&k, SIZE);
	agent_changed(t.a, 4);
	WAIT_FOR(origin.full_descs == 2);
	assert_int_equal(origin.last_images, 2);
	/* a callback without a change is not told */
	agent_changed(t.a, 4);
	store_it(&i, 2000);
	agent_changed(t.a, 3);
	WAIT_FOR(origin.descs == 4);
	assert_int_equal(origin.last_images, 1);
	assert_int_equal(origin.first.id, 3);
	/* opened: told with the next change, and when it is closed again,
	 * which no callback tells */
	FAKE_SCOPE;
	fake.info[4].opens = 1;
	FAKE_END;
	agent_changed(t.a, 4);
	WAIT_FOR(origin.first.id == 4 && origin.first.open);
	FAKE_SCOPE;
	fake.info[4].opens = 0;
	FAKE_END;
	WAIT_FOR(origin.first.id == 4 && !origin.first.open);
}

/* Nothing that is not signed by the catalog's key, or for another. */
static void test_refused_orders(void **state)
{
	struct agent_stats s;

	(void)state;
	WAIT_FOR(origin.polls == 1);
	pthread_mutex_lock(&origin.lock);
	origin.orders_key = &wrong_key;
	pthread_mutex_unlock(&origin.lock);
	prefetch(7, 3, 0);
	do {
		usleep(2000);
		agent_stats(t.a, &s);
	} while (!s.orders_refused);
	assert_int_equal(fake.prefetches, 0);
	assert_int_equal(s.orders, 0);
	assert_true(*s.last_refusal);
	agent_stop();
	pthread_mutex_lock(&origin.lock);
	origin.orders_key = &key;
	origin.server = "line4";
	pthread_mutex_unlock(&origin.lock);
	agent_start(origin.m.url);
	do {
		usleep(2000);
		agent_stats(t.a, &s);
	} while (!s.orders_refused);
	assert_int_equal(s.orders, 0);
	assert_non_null(strstr(s.last_refusal, "line4"));
}

/* An origin that went back in time: the catalog stays, orders go on. */
static void test_older_catalog(void **state)
{
	struct agent_stats s;

	(void)state;
	WAIT_FOR(origin.polls == 1);
	pthread_mutex_lock(&origin.lock);
	origin.revision = origin.n_images = 2;
	pthread_cond_broadcast(&origin.changed);
	pthread_mutex_unlock(&origin.lock);
	do {
		usleep(2000);
		agent_stats(t.a, &s);
	} while (!s.catalog_refused);
	assert_non_null(strstr(s.last_refusal, "older"));
	assert_int_equal(catalog_revision(t.catalog), 3);
	prefetch(7, 4, 0);
	WAIT_FOR(fake.prefetches == 1 && fake.pre.owner);
	end_prefetch(SIZE, 0);
	WAIT_FOR(reported(7, REPORT_DONE));
}

static void test_not_an_origin(void **state)
{
	struct err e;

	(void)state;
	agent_stop();
	unlinkat(t.dirfd, "catalog", 0);
	unlinkat(t.dirfd, "key.pub", 0);
	origin.status = 404;
	agent_start(origin.m.url);
	assert_int_equal(agent_wait_catalog(t.a, 60000, &e), -EPROTO);
	assert_non_null(strstr(e.text, "is this a stagefs origin"));
	agent_stop();
	origin_stop();
	agent_start(origin.m.url);
	assert_int_equal(agent_wait_catalog(t.a, 50, &e), -ETIMEDOUT);
	assert_true(*e.text);
}

/* 503: it is there, but cannot: asked again, nothing is refused. */
static void test_origin_in_trouble(void **state)
{
	struct agent_stats s;

	(void)state;
	WAIT_FOR(origin.full_descs == 1);
	pthread_mutex_lock(&origin.lock);
	origin.status = 503;
	pthread_cond_broadcast(&origin.changed);
	pthread_mutex_unlock(&origin.lock);
	do {
		usleep(2000);
		agent_stats(t.a, &s);
	} while (s.connected);
	pthread_mutex_lock(&origin.lock);
	origin.status = 0;
	pthread_mutex_unlock(&origin.lock);
	WAIT_FOR(origin.full_descs == 2);
	agent_stats(t.a, &s);
	assert_int_equal(s.orders_refused + s.catalog_refused, 0);
}

/* Stopped in the middle: nothing is reported as failed, it comes again. */
static void test_stop_in_work(void **state)
{
	(void)state;
	prefetch(7, 3, 0);
	WAIT_FOR(fake.prefetches == 1 && fake.pre.owner);
	agent_stop();
	assert_int_equal(fake.cancels, 1);
	assert_null(fake.pre.owner);
	assert_null(reported(7, REPORT_FAILED));
	agent_start(origin.m.url);
	WAIT_FOR(fake.prefetches == 2 && fake.pre.owner);
	end_prefetch(SIZE, 0);
	WAIT_FOR(reported(7, REPORT_DONE));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_connect),       T(test_new_catalog),
		T(test_prefetch),      T(test_harmless_twice),
		T(test_prefetch_fails), T(test_cancel),
		T(test_delete),	       T(test_others),
		T(test_descriptor),    T(test_refused_orders),
		T(test_older_catalog), T(test_not_an_origin),
		T(test_origin_in_trouble), T(test_stop_in_work),
	};
	uint8_t seed[SIGN_KEY_BYTES] = {1};

	log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	sign_from_seed(seed, &key);
	seed[0] = 2;
	sign_from_seed(seed, &wrong_key);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
