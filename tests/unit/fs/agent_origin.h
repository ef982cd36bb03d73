/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_origin.h - the origin of the agent's test: a scripted HTTP server with
 * real signatures. Image i (id i + 1) comes with revision i.
 */
#ifndef STAGEFS_TESTS_AGENT_ORIGIN_H
#define STAGEFS_TESTS_AGENT_ORIGIN_H

#include "tests/unit/fs/agent_fakes.h"


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
	bool hasty; /* holds no request for orders open */
	/* what it saw */
	unsigned polls, polls_from_0, catalogs, not_modified;
	struct wire_report report[64];
	unsigned n_reports;
	struct wire_descriptor desc; /* figures of the last one */
	unsigned descs, full_descs, last_images, last_gone;
	struct wire_image first; /* of the last one; no name */
} origin = {.lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP,
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
	while (!origin.quit && !origin.hasty && !new_order(after) &&
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

/* A connection that is going may still read it. */
#define ORIGIN_SET(field, value)                     \
	do {                                         \
		pthread_mutex_lock(&origin.lock);    \
		origin.field = (value);              \
		pthread_mutex_unlock(&origin.lock);  \
	} while (0)

/* The last report on this order with this state, or NULL. */
static const struct wire_report *reported(uint64_t number,
					  enum wire_report_state state)
{
	const struct wire_report *r = NULL;

	pthread_mutex_lock(&origin.lock); /* WAIT_FOR may have it already */
	for (unsigned i = 0; i < origin.n_reports; i++)
		if (origin.report[i].number == number &&
		    origin.report[i].state == state)
			r = &origin.report[i];
	pthread_mutex_unlock(&origin.lock);
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

#endif
