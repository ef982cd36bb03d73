/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answers.c - from the database to a reply.
 *
 * A page of the catalog costs a query, a JSON text and a signature, and after
 * a change every server asks for the same one: the last few are kept, by what
 * was asked for and the revision it was made at.
 *
 * What failed here is told to the peer in general words and logged in full:
 * paths and SQL are nobody's business outside.
 */
#include "origin/http/answers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/envelope.h"
#include "common/log.h"
#include "origin/db/origindb.h"
#include "origin/http/range.h"
#include "origin/servers/servers.h"

#define PAGES 16

#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_SEALED "application/vnd.stagefs.signed"
#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"

struct page {
	uint64_t since, at_revision; /* key */
	uint64_t revision;	     /* it leads to */
	uint64_t used;
	struct text *text;
};

struct answers {
	struct desk_config c;
	struct db *db;
	struct page page[PAGES];
	uint64_t clock; /* of uses of pages */
	bool failing;	/* the database; logged once */
};

int answers_new(const struct desk_config *c, struct answers **ret,
		struct err *e)
{
	struct answers *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return err_set(e, ENOMEM, "out of memory");
	a->c = *c;
	r = origindb_open(c->store->dir, &a->db, e);
	if (r) {
		free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void answers_free(struct answers *a)
{
	if (!a)
		return;
	for (int i = 0; i < PAGES; i++)
		text_put(a->page[i].text);
	db_close(a->db);
	free(a);
}

struct db *answers_db(struct answers *a)
{
	return a->db;
}

/* ---- replies ----------------------------------------------------------- */

/* Takes over `body`. */
static struct desk_reply *reply(int status, const char *type,
				struct text *body)
{
	struct desk_reply *r = calloc(1, sizeof(*r));

	if (!r) {
		text_put(body);
		return NULL;
	}
	r->status = status;
	r->type = type;
	r->body = body;
	return r;
}

static struct desk_reply *say(int status, const char *line)
{
	struct text *t = text_printf("%s\n", line);

	return t ? reply(status, TYPE_TEXT, t) : NULL;
}

/* The origin's own trouble. */
static struct desk_reply *trouble(struct answers *a, const struct desk_job *j,
				  const struct err *e)
{
	if (!a->failing)
		log_err("http", "cannot answer %s: %s; answering 503 until "
			"that is over", route_name(j->match.route), e->text);
	a->failing = true;
	return say(503, "the origin cannot answer now: see its log");
}

static void trouble_over(struct answers *a)
{
	if (a->failing)
		log_info("http", "the database answers again");
	a->failing = false;
}

/* ---- catalog ----------------------------------------------------------- */

static int seal(struct answers *a, char *json, size_t n, struct text **ret)
{
	size_t sealed_n;
	char *sealed;
	int r;

	r = envelope_seal(&a->c.store->key, json, n, &sealed, &sealed_n);
	free(json);
	if (r)
		return r;
	*ret = text_new(sealed, sealed_n);
	return *ret ? 0 : -ENOMEM;
}

static int make_page(struct answers *a, struct page *p, struct err *e)
{
	struct wire_catalog c;
	struct text *t = NULL;
	size_t n;
	char *json;
	int r;

	r = catalog_page(a->c.store, a->db, p->since, &c, e);
	if (r)
		return r;
	r = wire_catalog_encode(&c, &json, &n);
	if (!r)
		r = seal(a, json, n, &t);
	p->revision = c.revision;
	wire_catalog_free(&c);
	if (r)
		return err_set(e, -r, "catalog: %s", strerror(-r));
	p->text = t;
	return 0;
}

static int find_page(struct answers *a, uint64_t since, struct page **ret,
		     struct err *e)
{
	uint64_t now = node_revision(a->db);
	struct page *p, *oldest = &a->page[0], fresh;
	int r;

	for (p = a->page; p < a->page + PAGES; p++) {
		if (p->text && p->since == since && p->at_revision == now)
			goto found;
		if (p->used < oldest->used)
			oldest = p;
	}
	fresh = (struct page){.since = since, .at_revision = now};
	r = make_page(a, &fresh, e);
	if (r)
		return r;
	p = oldest;
	text_put(p->text);
	*p = fresh;
found:
	p->used = ++a->clock;
	*ret = p;
	return 0;
}

static struct desk_reply *catalog(struct answers *a, const struct desk_job *j)
{
	struct desk_reply *r;
	struct page *p = NULL;
	struct err e;

	if (find_page(a, j->match.since, &p, &e))
		return trouble(a, j, &e);
	trouble_over(a);
	r = reply(200, TYPE_SEALED, text_ref(p->text));
	if (!r)
		return NULL;
	snprintf(r->etag, sizeof(r->etag), "\"%s-%llu-%llu\"",
		 a->c.store->uuid, (unsigned long long)p->since,
		 (unsigned long long)p->revision);
	if (range_none_match(j->none_match, r->etag)) {
		r->status = 304;
		text_put(r->body);
		r->body = NULL;
	}
	return r;
}

/* ---- orders ------------------------------------------------------------ */

int answers_look(struct answers *a, struct answers_state *ret)
{
	int64_t last;
	int r;

	r = db_get_int(a->db, NULL, &last,
		       "SELECT coalesce(max(number),0) FROM orders", "");
	if (r)
		return r;
	ret->last_order = (uint64_t)last;
	ret->revision = node_revision(a->db);
	return 0;
}

void answers_seen(struct answers *a, const struct desk_job *job)
{
	servers_seen(a->db, job->match.server, clock_unix_s());
}

static int sealed_orders(struct answers *a, const struct wire_orders *o,
			 struct text **ret)
{
	size_t n;
	char *json;
	int r;

	r = wire_orders_encode(o, &json, &n);
	return r ? r : seal(a, json, n, ret);
}

bool answers_orders(struct answers *a, const struct desk_job *job, bool now,
		    struct desk_reply **ret_reply)
{
	const struct route_match *m = &job->match;
	struct text *text = NULL;
	struct wire_orders o = {0};
	bool news;
	struct err e;
	int r;

	memcpy(o.store, a->c.store->uuid, UUID_TEXT);
	memcpy(o.server, m->server, sizeof(o.server));
	o.catalog_revision = node_revision(a->db);
	r = orders_open(a->db, m->server, m->after, &o, &e);
	if (r) {
		*ret_reply = trouble(a, job, &e);
		return true;
	}
	trouble_over(a);
	news = o.n_orders > 0 ||
	       (m->has_revision && m->revision != o.catalog_revision);
	if (!news && !now) {
		wire_orders_free(&o);
		return false;
	}
	if (sealed_orders(a, &o, &text))
		*ret_reply = NULL;
	else
		*ret_reply = reply(200, TYPE_SEALED, text);
	/* Noted before they leave. One that is lost on the way is delivered
	 * again, so this is only what the log says. */
	if (*ret_reply && orders_sent(a->db, &o, clock_unix_s()))
		log_warn("http", "cannot note that orders were sent to %s",
			 m->server);
	wire_orders_free(&o);
	return true;
}

/* ---- what servers say -------------------------------------------------- */

static struct desk_reply *descriptor(struct answers *a,
				     const struct desk_job *j)
{
	struct wire_descriptor d;
	struct err e;
	int r;

	r = wire_descriptor_decode(j->body, j->body_n, &d, &e);
	if (r)
		return say(400, e.text);
	if (strcmp(d.name, j->match.server) != 0) {
		wire_descriptor_free(&d);
		return say(400, "descriptor of another server");
	}
	r = servers_put(a->db, a->c.store->uuid, &d, j->address,
			clock_unix_s(), &e);
	wire_descriptor_free(&d);
	switch (r) {
	case 0:
		trouble_over(a);
		return reply(204, NULL, NULL);
	case -ESTALE:
		return say(409, e.text);
	case -EXDEV:
		return say(403, e.text);
	case -E2BIG:
		return say(507, e.text);
	default:
		return trouble(a, j, &e);
	}
}

static struct desk_reply *report(struct answers *a, const struct desk_job *j)
{
	struct wire_report rep;
	struct err e;
	int r;

	r = wire_report_decode(j->body, j->body_n, &rep, &e);
	if (r)
		return say(400, e.text);
	if (rep.number != j->match.number)
		return say(400, "report of another order");
	r = orders_report(a->db, j->match.server, &rep, clock_unix_s(), &e);
	if (r == -ENOENT)
		return say(404, "no such order");
	if (r)
		return trouble(a, j, &e);
	trouble_over(a);
	return reply(204, NULL, NULL);
}

/* ---- what people ask --------------------------------------------------- */

static struct desk_reply *health(struct answers *a, const struct desk_job *j)
{
	struct answers_state s;

	if (answers_look(a, &s)) {
		struct err e;

		err_set(&e, EIO, "the database cannot be read");
		return trouble(a, j, &e);
	}
	return say(200, "ok");
}

static struct desk_reply *metrics(struct answers *a, const struct desk_job *j)
{
	struct pacing_stats p;
	char *data = NULL;
	size_t n = 0;
	struct text *t;
	struct err e;
	FILE *f;
	int r;

	f = open_memstream(&data, &n);
	if (!f)
		return NULL;
	pacing_get(a->c.pacing, &p);
	r = metrics_write(a->c.metrics, &p, a->db, clock_unix_s(), f, &e);
	if (fclose(f) || r) {
		free(data);
		return r ? trouble(a, j, &e) : NULL;
	}
	t = text_new(data, n);
	return t ? reply(200, TYPE_METRICS, t) : NULL;
}

struct desk_reply *answers_make(struct answers *a, const struct desk_job *job)
{
	switch (job->match.route) {
	case ROUTE_CATALOG:
		return catalog(a, job);
	case ROUTE_DESCRIPTOR:
		return descriptor(a, job);
	case ROUTE_REPORT:
		return report(a, job);
	case ROUTE_HEALTH:
		return health(a, job);
	case ROUTE_METRICS:
		return metrics(a, job);
	default:
		return say(500, "no answer for this");
	}
}
