/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c - a request, from its first line to the end of its answer.
 *
 * The route's bound on a body is kept twice: before it is read, by what the
 * request line says (conn.c tells why), and once it is here, by the route as
 * evhttp has parsed it. The first saves memory; only the second is relied on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/log.h"
#include "origin/http/loop.h"

/* ---- before evhttp has seen it ----------------------------------------- */

/* A request line that is longer than this is of no route that takes more. */
#define LINE_MAX_BYTES 1024

/* Is it a descriptor? They alone are large. */
static bool is_descriptor(char *line)
{
	struct route_match m;
	struct evhttp_uri *uri;
	const char *path;
	bool yes;

	if (strncmp(line, "PUT ", 4) != 0)
		return false;
	line[4 + strcspn(line + 4, " ")] = '\0';
	uri = evhttp_uri_parse(line + 4);
	path = uri ? evhttp_uri_get_path(uri) : NULL;
	yes = path && !route_parse(path, NULL, &m, NULL) &&
	      m.route == ROUTE_DESCRIPTOR;
	if (uri)
		evhttp_uri_free(uri);
	return yes;
}

bool request_look_ahead(struct conn *c, struct evbuffer *buf)
{
	struct evbuffer_ptr end = evbuffer_search_eol(buf, NULL, NULL,
						      EVBUFFER_EOL_CRLF);
	char line[LINE_MAX_BYTES];

	if (end.pos < 0)
		return evbuffer_get_length(buf) >= sizeof(line);
	if ((size_t)end.pos >= sizeof(line))
		return true;
	evbuffer_copyout(buf, line, (size_t)end.pos);
	line[end.pos] = '\0';
	if (is_descriptor(line)) {
		c->body_max_bytes = STAGEFS_DESCRIPTOR_MAX_BYTES;
		evhttp_connection_set_max_body_size(
			c->http, STAGEFS_DESCRIPTOR_MAX_BYTES);
	}
	return true;
}

/* ---- requests ---------------------------------------------------------- */

static unsigned method_of(struct evhttp_request *req)
{
	switch (evhttp_request_get_command(req)) {
	case EVHTTP_REQ_GET:
		return METHOD_GET;
	case EVHTTP_REQ_HEAD:
		return METHOD_HEAD;
	case EVHTTP_REQ_PUT:
		return METHOD_PUT;
	case EVHTTP_REQ_POST:
		return METHOD_POST;
	default:
		return METHOD_OTHER;
	}
}

static const char *method_name(unsigned method)
{
	switch (method) {
	case METHOD_GET:
		return "GET";
	case METHOD_HEAD:
		return "HEAD";
	case METHOD_PUT:
		return "PUT";
	case METHOD_POST:
		return "POST";
	default:
		return "(other)";
	}
}

const char *conn_request_header(struct conn *c, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(c->req),
				  name);
}

void conn_header(struct conn *c, const char *name, const char *value)
{
	evhttp_add_header(evhttp_request_get_output_headers(c->req), name,
			  value);
}

static void log_request(struct conn *c, struct evhttp_request *req)
{
	char *address = NULL;
	uint16_t port = 0;

	if (!log_debug_on("http"))
		return;
	evhttp_connection_get_peer(c->http, &address, &port);
	log_debug("http", "%s:%u %s %s: %d", address ? address : "?", port,
		  method_name(c->method), evhttp_request_get_uri(req),
		  c->status);
}

/* The answer has left in full. */
static void on_complete(struct evhttp_request *req, void *arg)
{
	struct conn *c = arg;
	struct metrics *m = c->loop->shared->metrics;
	size_t ahead = evbuffer_get_length(bufferevent_get_input(c->bev));

	log_request(c, req);
	metrics_add(&m->requests[c->match.route], 1);
	if (c->status > 0 && c->status < METRICS_STATUS_MAX)
		metrics_add(&m->status[c->status], 1);
	data_end(c);
	c->req = NULL;
	c->match.route = ROUTE_OTHER; /* for pages that evhttp sends itself */
	c->got_bytes = ahead;
	conn_charge(c, ahead);
	conn_set_phase(c, ahead ? CONN_READING : CONN_IDLE);
	conn_read_on(c);
	if (ahead)
		c->line_seen = request_look_ahead(
			c, bufferevent_get_input(c->bev));
}

static void answer(struct conn *c, int status, const char *type,
		   struct text *body);

void conn_say(struct conn *c, int status, const char *line)
{
	answer(c, status, "text/plain; charset=utf-8",
	       text_printf("%s\n", line));
}

/* Hands the request to the desk. */
static void ask_desk(struct conn *c)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(c->req);
	struct loop *l = c->loop;
	struct desk_job *job = calloc(1, sizeof(*job));
	const char *none_match = conn_request_header(c, "If-None-Match");
	bool keep_body = route_max_body_bytes(c->match.route) > 0;
	char *address = NULL;
	uint16_t port;

	if (!job)
		goto busy;
	job->loop = l;
	job->match = c->match;
	job->token = ++l->last_token;
	evhttp_connection_get_peer(c->http, &address, &port);
	if (address)
		strncat(job->address, address, sizeof(job->address) - 1);
	if (none_match && !(job->none_match = strdup(none_match)))
		goto busy;
	if (keep_body) {
		job->body_n = evbuffer_get_length(in);
		job->body = malloc(job->body_n + 1);
		if (!job->body)
			goto busy;
		evbuffer_remove(in, job->body, job->body_n);
		job->body[job->body_n] = '\0';
	}
	c->token = job->token;
	if (desk_submit(l->shared->desk, job))
		goto busy;
	conn_set_phase(c, CONN_HELD);
	HASH_ADD(by_token, l->by_token, token, sizeof(c->token), c);
	conn_watch(c);
	return;
busy:
	desk_job_free(job);
	conn_header(c, "Retry-After", "5");
	conn_say(c, 503, "too much to do now: try again");
}

static void dispatch(struct conn *c)
{
	size_t body = evbuffer_get_length(
		evhttp_request_get_input_buffer(c->req));
	size_t max = route_max_body_bytes(c->match.route);

	if (!(route_methods(c->match.route) & c->method)) {
		conn_header(c, "Allow", route_allow(c->match.route));
		conn_say(c, 405, "this place does not take that method");
	} else if (max && body > max) {
		conn_say(c, 413, "the body is too large");
	} else if (c->match.route == ROUTE_DATA ||
		   c->match.route == ROUTE_MANIFEST) {
		data_answer(c);
	} else {
		ask_desk(c);
	}
}

void conn_request(struct evhttp_request *req, void *arg)
{
	struct evhttp_connection *http = evhttp_request_get_connection(req);
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	struct loop *l = arg;
	struct conn *c = NULL;
	struct err e;
	int r;

	HASH_FIND(by_http, l->by_http, &http, sizeof(http), c);
	if (!c) {
		/* No memory for ours when it came. */
		evhttp_send_error(req, 503, NULL);
		return;
	}
	c->req = req;
	c->method = method_of(req);
	c->status = 0;
	memset(&c->match, 0, sizeof(c->match));
	conn_set_phase(c, CONN_WORKING);
	conn_charge(c, evbuffer_get_length(bufferevent_get_input(c->bev)));
	evhttp_request_set_on_complete_cb(req, on_complete, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, LOOP_AHEAD_MAX_BYTES);
	if (c->refusal || l->ending) {
		metrics_add(&l->shared->metrics->refused, c->refusal != NULL);
		conn_header(c, "Connection", "close");
		conn_header(c, "Retry-After", "5");
		conn_say(c, 503, c->refusal ? c->refusal
					    : "the origin is stopping");
		return;
	}
	r = route_parse(path ? path : "",
			uri ? evhttp_uri_get_query(uri) : NULL, &c->match, &e);
	if (r)
		conn_say(c, r == -ENOENT ? 404 : 400, e.text);
	else
		dispatch(c);
}

/* ---- answers ----------------------------------------------------------- */

static void put_text(const void *data, size_t n, void *text)
{
	(void)data;
	(void)n;
	text_put(text);
}

/* Takes over `body`, which may be NULL. */
static void answer(struct conn *c, int status, const char *type,
		   struct text *body)
{
	struct evbuffer *buf = NULL;
	char length[24];

	c->status = status;
	if (status != 204 && status != 304) {
		snprintf(length, sizeof(length), "%zu", body ? body->n : 0);
		conn_header(c, "Content-Length", length);
		if (body && type)
			conn_header(c, "Content-Type", type);
	}
	/* evhttp would send a body to a HEAD too. */
	if (body && body->n && c->method != METHOD_HEAD && status != 304) {
		buf = c->loop->scratch;
		if (!evbuffer_add_reference(buf, body->data, body->n, put_text,
					    body))
			body = NULL;
	}
	text_put(body);
	conn_set_phase(c, CONN_SENDING);
	evhttp_send_reply(c->req, status, NULL, buf);
}

void conn_reply(struct loop *l, struct desk_reply *r)
{
	struct conn *c = NULL;

	HASH_FIND(by_token, l->by_token, &r->token, sizeof(r->token), c);
	/* It may be gone: a cancel and its reply cross. */
	if (c) {
		HASH_DELETE(by_token, l->by_token, c);
		conn_set_phase(c, CONN_WORKING);
		if (r->etag[0])
			conn_header(c, "ETag", r->etag);
		if (c->match.route == ROUTE_CATALOG)
			conn_header(c, "Cache-Control", "no-cache");
		else
			conn_header(c, "Cache-Control", "no-store");
		if (r->status == 503)
			conn_header(c, "Retry-After", "5");
		answer(c, r->status, r->type, r->body);
		r->body = NULL;
	}
	desk_reply_free(r);
}
