/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent against an origin in this process: orders, redelivery, what the
 * failures say, descriptors, refusals, an origin that goes and comes.
 */
#include "fs/agent/state.h"
#include "tests/unit/fs/agent_origin.h"

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
	ORIGIN_SET(orders_key, &key);
	origin.server = NAME;
	origin.status = origin.catalog_status = 0;
	origin.want_full = origin.hasty = false;
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
	assert_int_equal(origin.desc.bad_blocks, 5);
	assert_int_equal(origin.desc.repaired_blocks, 4);
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
	/* a descriptor may be made between the change and its telling */
	WAIT_FOR(atomic_load(&t.names) == 5);
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
	ORIGIN_SET(polls_from_0, 0);
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
			       "no room: it needs 4.8M more, free are 10M"));
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
	ORIGIN_SET(want_full, true);
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
	ORIGIN_SET(orders_key, &wrong_key);
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
	ORIGIN_SET(orders_key, &key);
	ORIGIN_SET(server, "line4");
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
/* An origin that answers at once, again and again, is not asked without pause;
 * what is new is fetched all the same, and then it is asked at once. */
static void test_hasty_origin(void **state)
{
	uint64_t began = clock_mono_ns();
	unsigned first, polls;
	double s;

	(void)state;
	ORIGIN_SET(hasty, true);
	WAIT_FOR(origin.polls >= 5);
	pthread_mutex_lock(&origin.lock);
	first = origin.polls;
	pthread_mutex_unlock(&origin.lock);
	usleep(1500 * 1000);
	pthread_mutex_lock(&origin.lock);
	polls = origin.polls - first;
	pthread_mutex_unlock(&origin.lock);
	s = (double)(clock_mono_ns() - began) / 1e9;
	/* 5 took 0.7 s of pauses, then one in 0.8, 1.6, 3.2, 5 seconds. */
	assert_in_range(polls, 0, (unsigned)(s + 2));
	prefetch(7, 3, 2000000000);
	WAIT_FOR(fake.prefetches == 1);

	assert_int_equal(channel_pause_ns(0), 0);
	assert_int_equal(channel_pause_ns(1), 0);
	assert_int_equal(channel_pause_ns(2), 100 * NS_PER_MS);
	assert_int_equal(channel_pause_ns(3), 200 * NS_PER_MS);
	for (unsigned i = 2; i < 200; i++)
		assert_true(channel_pause_ns(i) <= channel_pause_ns(i + 1) &&
			    channel_pause_ns(i) <= 5 * NS_PER_S);
}

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
	ORIGIN_SET(status, 404);
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
	ORIGIN_SET(status, 503);
	pthread_cond_broadcast(&origin.changed);
	pthread_mutex_unlock(&origin.lock);
	do {
		usleep(2000);
		agent_stats(t.a, &s);
	} while (s.connected);
	pthread_mutex_lock(&origin.lock);
	ORIGIN_SET(status, 0);
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
		T(test_hasty_origin),
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
