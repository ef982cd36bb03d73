/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.c - the table of section 10 of the design, and a parser of a dozen
 * lines for each of its three shapes.
 */
#include "origin/http/route.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/names.h"

static const struct {
	const char *name, *allow;
	unsigned methods;
	size_t max_body_bytes;
} table[ROUTE_COUNT] = {
	[ROUTE_OTHER] = {"other", "", 0, 0},
	[ROUTE_CATALOG] = {"catalog", "GET, HEAD", METHOD_GET | METHOD_HEAD,
			   0},
	[ROUTE_MANIFEST] = {"manifest", "GET, HEAD", METHOD_GET | METHOD_HEAD,
			    0},
	[ROUTE_DATA] = {"data", "GET, HEAD", METHOD_GET | METHOD_HEAD, 0},
	[ROUTE_DESCRIPTOR] = {"descriptor", "PUT", METHOD_PUT,
			      STAGEFS_DESCRIPTOR_MAX_BYTES},
	[ROUTE_ORDERS] = {"orders", "GET", METHOD_GET, 0},
	[ROUTE_REPORT] = {"report", "POST", METHOD_POST,
			  STAGEFS_REPORT_MAX_BYTES},
	[ROUTE_HEALTH] = {"healthz", "GET, HEAD", METHOD_GET | METHOD_HEAD,
			  0},
	[ROUTE_METRICS] = {"metrics", "GET, HEAD", METHOD_GET | METHOD_HEAD,
			   0},
};

const char *route_name(enum route r)
{
	assert(r < ROUTE_COUNT);
	return table[r].name;
}

unsigned route_methods(enum route r)
{
	assert(r < ROUTE_COUNT);
	return table[r].methods;
}

const char *route_allow(enum route r)
{
	assert(r < ROUTE_COUNT);
	return table[r].allow;
}

size_t route_max_body_bytes(enum route r)
{
	assert(r < ROUTE_COUNT);
	return table[r].max_body_bytes;
}

/* ---- pieces ------------------------------------------------------------ */

/* What follows `prefix`, or NULL. */
static const char *after_prefix(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

static int parse_number(const char *s, size_t n, uint64_t *ret)
{
	uint64_t v = 0;

	if (n == 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		uint64_t digit = (uint64_t)(s[i] - '0');

		if (s[i] < '0' || s[i] > '9' || v > (UINT64_MAX - digit) / 10)
			return -EINVAL;
		v = v * 10 + digit;
	}
	*ret = v;
	return 0;
}

/* NAME=NUMBER of a query; `ret` stays as it is if there is none. */
static int query_number(const char *query, const char *name, uint64_t *ret,
			bool *ret_has, struct err *e)
{
	size_t name_n = strlen(name);

	for (const char *s = query; s && *s;) {
		size_t n = strcspn(s, "&");

		if (n > name_n && strncmp(s, name, name_n) == 0 &&
		    s[name_n] == '=') {
			if (parse_number(s + name_n + 1, n - name_n - 1, ret))
				return err_set(e, EINVAL,
					       "%s= takes a number", name);
			if (ret_has)
				*ret_has = true;
			return 0;
		}
		s += n;
		s += *s == '&';
	}
	return 0;
}

static int no_such_place(struct err *e)
{
	return err_set(e, ENOENT, "no such place");
}

/* ---- shapes ------------------------------------------------------------ */

static int parse_digest(const char *text, enum route route,
			struct route_match *m, struct err *e)
{
	if (digest_parse(text, &m->digest))
		return no_such_place(e);
	m->route = route;
	return 0;
}

static int parse_orders(const char *query, struct route_match *m,
			struct err *e)
{
	uint64_t wait = 0;
	int r;

	m->route = ROUTE_ORDERS;
	r = query_number(query, "after", &m->after, NULL, e);
	if (!r)
		r = query_number(query, "catalog", &m->revision,
				 &m->has_revision, e);
	if (!r)
		r = query_number(query, "wait", &wait, NULL, e);
	if (wait > STAGEFS_ORDERS_WAIT_MAX_S)
		wait = STAGEFS_ORDERS_WAIT_MAX_S;
	m->wait_s = (uint32_t)wait;
	return r;
}

/* NAME/descriptor, NAME/orders, NAME/orders/N */
static int parse_server(const char *rest, const char *query,
			struct route_match *m, struct err *e)
{
	size_t n = strcspn(rest, "/");
	const char *what = rest + n, *number;

	if (n == 0 || n >= sizeof(m->server))
		return no_such_place(e);
	memcpy(m->server, rest, n);
	m->server[n] = '\0';
	if (name_check_server(m->server, NULL))
		return no_such_place(e);
	if (strcmp(what, "/descriptor") == 0) {
		m->route = ROUTE_DESCRIPTOR;
		return 0;
	}
	if (strcmp(what, "/orders") == 0)
		return parse_orders(query, m, e);
	number = after_prefix(what, "/orders/");
	if (!number || parse_number(number, strlen(number), &m->number) ||
	    m->number == 0)
		return no_such_place(e);
	m->route = ROUTE_REPORT;
	return 0;
}

static int parse(const char *path, const char *query, struct route_match *m,
		 struct err *e)
{
	const char *rest;

	if ((rest = after_prefix(path, "/v1/data/")))
		return parse_digest(rest, ROUTE_DATA, m, e);
	if ((rest = after_prefix(path, "/v1/manifests/")))
		return parse_digest(rest, ROUTE_MANIFEST, m, e);
	if ((rest = after_prefix(path, "/v1/servers/")))
		return parse_server(rest, query, m, e);
	if (strcmp(path, "/v1/catalog") == 0) {
		m->route = ROUTE_CATALOG;
		return query_number(query, "since", &m->since, NULL, e);
	}
	if (strcmp(path, "/healthz") == 0)
		m->route = ROUTE_HEALTH;
	else if (strcmp(path, "/metrics") == 0)
		m->route = ROUTE_METRICS;
	else
		return no_such_place(e);
	return 0;
}

int route_parse(const char *path, const char *query, struct route_match *ret,
		struct err *e)
{
	struct route_match m = {.route = ROUTE_OTHER};
	int r;

	r = parse(path, query, &m, e);
	if (!r)
		*ret = m;
	return r;
}
