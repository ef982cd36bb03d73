/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.c - the thread that keeps the order channel open.
 *
 *	connect		sync the catalog (that also gives the key that orders
 *			must be signed with), then ask for all open orders
 *	poll		ask for orders above the last one, held open by the
 *			origin until there is one, or another catalog
 *
 * Whatever fails leads back to connect: `after` is kept in memory only, so
 * that after a reconnect the origin lists all open orders again and nothing
 * that was lost on the way stays lost. A broken connection may be mended below
 * us (curl repeats a request that got no answer), so all are asked for every
 * few minutes as well.
 *
 * An exchange that failed is the sources' business (they have the back-off). An
 * answer that came but was refused (forged, older, another store) is ours: it
 * is said once an hour, the last good state stays, and it is asked for again. A
 * refused catalog does not stop orders: what is stored can still be held,
 * deleted and reclaimed.
 */
#include "fs/agent/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/envelope.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/pulse.h"

#define ALL_AGAIN_S 300
#define REFUSAL_AGAIN_NS (3600 * NS_PER_S)

/* An answer that is there at once and has nothing new was not held open as it
 * should be: a proxy, or an origin gone wrong. */
#define HELD_NS NS_PER_S
#define PAUSE_MIN_NS (100 * NS_PER_MS)
#define PAUSE_MAX_NS (5 * NS_PER_S)

/* What the channel's thread keeps between two polls. */
struct channel {
	struct agent *a;
	bool connected;
	uint64_t after;
	uint64_t revision;	/* of the origin, as it was told last */
	uint64_t sync_again_ns; /* after a refusal */
	uint64_t when_ns;	/* no source may be asked before */
	uint64_t all_again_ns;	/* ask for all open orders */
	unsigned in_vain;	/* answers at once with nothing new, in a row */
};

uint64_t channel_pause_ns(unsigned in_vain)
{
	/* One may be: it crossed with a change. */
	if (in_vain < 2)
		return 0;
	return in_vain - 2 < 6 ? PAUSE_MIN_NS << (in_vain - 2) : PAUSE_MAX_NS;
}

static void note_answer(struct channel *ch, uint64_t asked_ns, bool news)
{
	if (news || clock_mono_ns() - asked_ns >= HELD_NS)
		ch->in_vain = 0;
	else if (ch->in_vain < 100)
		ch->in_vain++;
}

/* A certificate that is not trusted, or no HTTP at all: waiting mends neither,
 * so at mount it counts as an answer. */
static bool hopeless(int error)
{
	return error == -EACCES || error == -EPROTO;
}

/* Both outcomes are waited for at mount. */
static void note_sync(struct agent *a, int error, bool refused,
		      const struct err *why)
{
	LOCK_SCOPE(&a->lock);
	if (error == -EAGAIN) { /* every source has failed */
		a->refused = a->refused || hopeless(a->sync_error);
	} else if (error) {
		a->sync_error = error;
		a->sync_why = *why;
		a->refused = a->refused || refused;
	} else {
		a->synced = true;
		a->refused = false;
		a->stats.catalog_syncs++;
		a->stats.catalog_at_s = clock_unix_s();
		a->dirty_head = true;
		cond_wake_all(&a->report_wake);
	}
	cond_wake_all(&a->state_wake);
}

/* Said once an hour for each reason, counted always. */
static void note_refusal(struct agent *a, const char *what,
			 const struct err *why)
{
	lock_take(&a->lock);
	snprintf(a->stats.last_refusal, sizeof(a->stats.last_refusal), "%.*s",
		 (int)sizeof(a->stats.last_refusal) - 1, why->text);
	lock_give(&a->lock);
	if (said_is_news(&a->refusals, said_key(why->text), clock_mono_ns(),
			 REFUSAL_AGAIN_NS))
		log_warn("agent", "%s refused: %s", what, why->text);
}

/* ---- catalog ----------------------------------------------------------- */

/* 0; > 0: the answer was refused, with this errno. */
static int take_page(struct channel *ch, struct http_answer *ans, bool *more,
		     struct err *e)
{
	struct agent *a = ch->a;
	struct catalog_change *changes = NULL;
	size_t n = 0;
	int r;

	*more = false;
	if (ans->status == 304)
		return 0;
	if (ans->status != 200)
		return -err_set(e, EPROTO,
				"answered %d to a request for the catalog: "
				"is this a stagefs origin?", ans->status);
	r = catalog_apply(a->cfg.catalog, ans->body ? ans->body : "", ans->n,
			  more, &changes, &n, e);
	if (r)
		return -r;
	if (n && a->cfg.names_changed)
		a->cfg.names_changed(a->cfg.ctx, changes, n);
	catalog_changes_free(changes, n);
	return 0;
}

static int ask_page(struct channel *ch, struct http_answer *ret,
		    size_t *ret_source, struct err *e)
{
	struct catalog *cat = ch->a->cfg.catalog;
	uint64_t since = catalog_next(cat), revision = catalog_revision(cat);
	char path[64], etag[2 * UUID_TEXT + 48], store[UUID_TEXT];
	struct ask q = {
		.method = "GET",
		.path = path,
		.max_bytes = STAGEFS_CATALOG_PAGE_MAX_BYTES,
		.timeout_ms = ANSWER_MS,
	};
	int r;

	snprintf(path, sizeof(path), "/v1/catalog?since=%" PRIu64, since);
	if (catalog_knows(cat, since)) {
		catalog_store(cat, store);
		snprintf(etag, sizeof(etag), "\"%s-%" PRIu64 "-%" PRIu64 "\"",
			 store, since, revision);
		q.etag = etag;
	}
	r = agent_ask(ch->a, &q, ret, e);
	if (r)
		ch->when_ns = q.when_ns;
	*ret_source = q.source;
	return r;
}

/* 0; > 0: refused (errno), of *ret_source; -errno: the exchange failed. */
static int ask_pages(struct channel *ch, size_t *ret_source, struct err *e)
{
	bool more = true;
	int r = 0;

	while (more && !r) {
		struct http_answer ans;

		r = ask_page(ch, &ans, ret_source, e);
		if (r)
			break;
		r = take_page(ch, &ans, &more, e);
		http_answer_clear(&ans);
	}
	if (r == ESTALE)
		catalog_compare(ch->a->cfg.catalog);
	if (r > 0) {
		lock_take(&ch->a->lock);
		ch->a->stats.catalog_refused++;
		lock_give(&ch->a->lock);
		note_refusal(ch->a, "catalog", e);
	}
	return r;
}

/* The same, of all sources; said and noted. */
static int sync_catalog(struct channel *ch)
{
	struct agent *a = ch->a;
	struct err e = {""};
	size_t source;
	int r;

	do
		r = ask_pages(ch, &source, &e);
	while (r > 0 && agent_doubt(a, source));
	ch->sync_again_ns = 0;
	if (r > 0)
		ch->sync_again_ns = clock_mono_ns() +
				    REFUSED_RETRY_S * NS_PER_S;
	note_sync(a, r > 0 ? -r : r, r > 0, &e);
	return r;
}

/* ---- orders ------------------------------------------------------------ */

static int open_orders(struct agent *a, const struct http_answer *ans,
		       struct wire_orders *ret, struct err *e)
{
	const struct sign_public *pin = a->cfg.pin;
	char store[UUID_TEXT];
	struct sign_public key;
	const char *json;
	size_t n;
	int r;

	if (ans->status != 200)
		return err_set(e, EPROTO, "answered %d to a request for "
			       "orders", ans->status);
	if (!pin) {
		if (!catalog_key(a->cfg.catalog, &key))
			return err_set(e, EKEYREJECTED, "no key is known yet");
		pin = &key;
	}
	r = envelope_open(ans->body ? ans->body : "", ans->n, pin, NULL, &json,
			  &n, e);
	if (!r)
		r = wire_orders_decode(json, n, ret, e);
	if (r)
		return r;
	catalog_store(a->cfg.catalog, store);
	if (strcmp(ret->store, store) != 0)
		r = err_set(e, EXDEV, "orders of another store (%s)",
			    ret->store);
	else if (strcmp(ret->server, a->name) != 0)
		r = err_set(e, EPROTO, "orders for another server (%s)",
			    ret->server);
	if (r)
		wire_orders_free(ret);
	return r;
}

static uint32_t wait_time_s(const struct channel *ch)
{
	uint64_t now = clock_mono_ns(), left;

	if (!ch->sync_again_ns)
		return ch->a->cfg.wait_s;
	if (now >= ch->sync_again_ns)
		return 0;
	left = (ch->sync_again_ns - now) / NS_PER_S + 1;
	return left < ch->a->cfg.wait_s ? (uint32_t)left : ch->a->cfg.wait_s;
}

/* One question for orders. As sync_catalog. */
static int poll_orders(struct channel *ch)
{
	struct agent *a = ch->a;
	uint32_t wait_s = wait_time_s(ch);
	uint64_t asked_ns = clock_mono_ns();
	struct wire_orders orders;
	struct http_answer ans;
	struct err e = {""};
	char path[192];
	struct ask q = {
		.method = "GET",
		.path = path,
		.max_bytes = 2 * STAGEFS_ORDERS_MAX_BYTES,
		.timeout_ms = wait_s * 1000 + ANSWER_MS,
	};
	int r;

	if (clock_mono_ns() >= ch->all_again_ns)
		ch->after = 0;
	if (ch->after == 0)
		ch->all_again_ns = clock_mono_ns() + ALL_AGAIN_S * NS_PER_S;
	snprintf(path, sizeof(path), "/v1/servers/%s/orders?after=%" PRIu64
		 "&catalog=%" PRIu64 "&wait=%u", a->name, ch->after,
		 ch->revision, wait_s);
	r = agent_ask(a, &q, &ans, &e);
	if (r) {
		ch->when_ns = q.when_ns;
		return r;
	}
	r = open_orders(a, &ans, &orders, &e);
	http_answer_clear(&ans);
	if (r) {
		lock_take(&a->lock);
		a->stats.orders_refused++;
		lock_give(&a->lock);
		note_refusal(a, "orders", &e);
		return agent_doubt(a, q.source) ? -EPROTO : 1;
	}
	note_answer(ch, asked_ns,
		    orders.catalog_revision != ch->revision ||
			    (orders.n_orders &&
			     orders.order[orders.n_orders - 1].number >
				     ch->after));
	/* First the catalog: an order may be for what is new in it. */
	if (orders.catalog_revision != ch->revision ||
	    (ch->sync_again_ns && clock_mono_ns() >= ch->sync_again_ns)) {
		ch->revision = orders.catalog_revision;
		r = sync_catalog(ch);
	}
	if (orders.n_orders)
		ch->after = orders.order[orders.n_orders - 1].number;
	orders_take(a, &orders);
	wire_orders_free(&orders);
	return r < 0 ? r : 0;
}

static void set_connected(struct channel *ch, bool connected)
{
	struct agent *a = ch->a;

	if (ch->connected == connected)
		return;
	ch->connected = connected;
	ch->after = 0;
	LOCK_SCOPE(&a->lock);
	a->connected = connected;
	if (connected) {
		a->need_full = true;
		cond_wake_all(&a->report_wake);
	}
}

static int connect_origin(struct channel *ch)
{
	int r = sync_catalog(ch);
	struct sign_public key;

	if (r < 0)
		return r;
	/* Without a key there is nothing that orders could be checked with. */
	if (r > 0 && !ch->a->cfg.pin && !catalog_key(ch->a->cfg.catalog, &key))
		return r;
	ch->revision = catalog_revision(ch->a->cfg.catalog);
	set_connected(ch, true);
	return 0;
}

void *channel_main(void *agent)
{
	struct channel ch = {.a = agent};
	struct agent *a = agent;

	pulse_name("agent");
	/* While nobody asked, the origin may have gone back and come by. */
	catalog_compare(a->cfg.catalog);
	while (!agent_stopping(a)) {
		int r = 0;

		pulse_expect_ns(AGENT_ROUND_NS);
		if (!ch.connected)
			r = connect_origin(&ch);
		if (!r)
			r = poll_orders(&ch);
		if (r == 0 && ch.in_vain)
			agent_sleep_until(a, &a->channel_wake,
					  clock_mono_ns() +
						  channel_pause_ns(ch.in_vain));
		if (r == 0)
			continue;
		set_connected(&ch, false);
		if (r == -EAGAIN)
			agent_sleep_until(a, &a->channel_wake, ch.when_ns);
		else if (r > 0)
			agent_sleep_until(a, &a->channel_wake,
					  clock_mono_ns() +
						  REFUSED_RETRY_S * NS_PER_S);
	}
	set_connected(&ch, false);
	return NULL;
}
