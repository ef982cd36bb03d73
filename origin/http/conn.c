/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.c - connections, over evhttp as it is in libevent 2.1.
 *
 * What evhttp does not do, and is done here:
 *
 * - It has no hook for a new connection but the one that makes its
 *   bufferevent, and none for the end of one that never asked for anything.
 *   So the bufferevent is made here, and before the loop looks at any socket
 *   again the connection is "adopted": evhttp gives itself as the argument of
 *   the bufferevent's callbacks, which yields the evhttp_connection, on which
 *   a close callback can be set.
 * - Its timeouts are those of the bufferevent, where the one for reading also
 *   runs while an answer is sent. None are set; a sweep once a second knows
 *   the phase of each connection and cuts it by shutdown(2), which evhttp
 *   sees as the end of the peer.
 * - It stops reading while a request waits for its answer, and so does not
 *   notice that the client is gone (libevent issue 608); while it sends, it
 *   reads without a bound. Reading is left on with a low watermark of memory.
 *
 * Who owns a request: evhttp until conn_request; we until the answer's last
 * part was handed over; then evhttp again. If the connection ends in our time,
 * evhttp has let go of the request (it has no connection any more) and the
 * close callback frees it; when the whole server is torn down it has not, and
 * frees it itself.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "origin/http/loop.h"

/* A request has to be complete this long after its first byte, plus a second
 * for so many bytes that came. */
#define REQUEST_MAX_S 30
#define BODY_MIN_BPS (256u << 10)
#define IDLE_MAX_S 120
/* The desk holds for 60 s at the most. */
#define HELD_MAX_S (STAGEFS_ORDERS_WAIT_MAX_S + 60)
/* A client may pause a transfer for minutes: its memory is full, its reader
 * waits, it is paced by somebody. */
#define STALL_MAX_S 900

/* ---- life -------------------------------------------------------------- */

void conn_set_phase(struct conn *c, enum conn_phase phase)
{
	c->phase = phase;
	c->since_ns = clock_mono_ns();
}

void conn_cut(struct conn *c)
{
	if (c->fd >= 0)
		shutdown(c->fd, SHUT_RDWR);
}

static void on_input(struct evbuffer *buf,
		     const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *c = arg;
	struct loop_shared *s = c->loop->shared;
	uint64_t total;

	if (info->n_added && c->phase == CONN_IDLE) {
		conn_set_phase(c, CONN_READING);
		c->got_bytes = 0;
	}
	c->got_bytes += info->n_added;
	total = __atomic_add_fetch(&s->input_bytes,
				   info->n_added - info->n_deleted,
				   __ATOMIC_RELAXED);
	if (info->n_added && total > LOOP_INPUT_MAX_BYTES &&
	    evbuffer_get_length(buf) > LOOP_AHEAD_MAX_BYTES) {
		metrics_add(&s->metrics->cut, 1);
		conn_cut(c);
	}
}

static void on_output(struct evbuffer *buf,
		      const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *c = arg;
	struct loop_shared *s = c->loop->shared;
	uint64_t n = info->n_deleted, head;

	(void)buf;
	if (n == 0)
		return;
	c->since_ns = clock_mono_ns();
	metrics_add(&s->metrics->bytes[c->match.route], n);
	if (!c->is_data)
		return;
	head = n < c->head_left ? n : c->head_left;
	c->head_left -= head;
	metrics_add(&s->metrics->data_bytes[c->class_], n - head);
	pacing_count(s->pacing, &c->flow, c->class_, n);
}

static void unlink_conn(struct conn *c)
{
	struct loop *l = c->loop;

	if (c->http) {
		HASH_DELETE(by_http, l->by_http, c);
		DL_DELETE(l->conns, c);
	} else {
		DL_DELETE(l->fresh, c);
	}
	if (c->phase == CONN_HELD)
		HASH_DELETE(by_token, l->by_token, c);
	__atomic_sub_fetch(&l->n_conns, 1, __ATOMIC_RELAXED);
	metrics_sub(&l->shared->metrics->connections, 1);
	loop_lost_one(l);
}

/* What was read and not taken is no longer counted. */
static void forget_input(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);

	__atomic_sub_fetch(&c->loop->shared->input_bytes,
			   evbuffer_get_length(in), __ATOMIC_RELAXED);
	evbuffer_remove_cb(in, on_input, c);
	evbuffer_remove_cb(bufferevent_get_output(c->bev), on_output, c);
}

static void cancel_at_desk(struct conn *c)
{
	struct desk_job *job = calloc(1, sizeof(*job));

	/* Without memory it stays with the desk until its time is up. */
	if (!job)
		return;
	job->cancel = true;
	job->loop = c->loop;
	job->token = c->token;
	if (desk_submit(c->loop->shared->desk, job))
		desk_job_free(job);
}

static void on_close(struct evhttp_connection *http, void *arg)
{
	struct conn *c = arg;

	(void)http;
	if (c->phase == CONN_HELD)
		cancel_at_desk(c);
	unlink_conn(c);
	data_end(c);
	forget_input(c);
	if (c->req && !evhttp_request_get_connection(c->req))
		evhttp_request_free(c->req);
	free(c);
}

struct bufferevent *conn_make(struct event_base *base, void *arg)
{
	struct loop *l = arg;
	struct metrics *m = l->shared->metrics;
	struct conn *c = calloc(1, sizeof(*c));
	struct bufferevent *bev;

	bev = c ? bufferevent_socket_new(base, -1, 0) : NULL;
	if (!bev) {
		free(c);
		return NULL; /* evhttp makes one of its own: not ours */
	}
	bufferevent_set_max_single_read(bev, 256 << 10);
	bufferevent_set_max_single_write(bev, 1 << 20);
	bufferevent_incref(bev); /* until adopted */
	c->loop = l;
	c->bev = bev;
	c->fd = -1;
	c->applied_bps = UINT64_MAX;
	conn_set_phase(c, CONN_IDLE);
	DL_APPEND(l->fresh, c);
	__atomic_add_fetch(&l->n_conns, 1, __ATOMIC_RELAXED);
	metrics_add(&m->accepted, 1);
	c->over_limit = __atomic_add_fetch(&m->connections, 1,
					   __ATOMIC_RELAXED) >
			l->shared->max_connections;
	event_active(l->adopt, EV_READ, 0);
	return bev;
}

static void adopt(struct conn *c)
{
	struct loop *l = c->loop;
	bufferevent_event_cb alive = NULL;
	void *http = NULL;
	int on = 1;

	bufferevent_getcb(c->bev, NULL, NULL, &alive, &http);
	if (!alive || !http) {
		/* evhttp could not take it and has freed it. */
		unlink_conn(c);
		bufferevent_decref(c->bev);
		free(c);
		return;
	}
	DL_DELETE(l->fresh, c);
	DL_APPEND(l->conns, c);
	c->http = http;
	HASH_ADD(by_http, l->by_http, http, sizeof(c->http), c);
	c->fd = bufferevent_getfd(c->bev);
	/* Or small answers wait 40 ms for the ACK of their head. */
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	evhttp_connection_set_closecb(c->http, on_close, c);
	evbuffer_add_cb(bufferevent_get_input(c->bev), on_input, c);
	evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0,
				 STAGEFS_DESCRIPTOR_MAX_BYTES +
					 2 * LOOP_HEAD_MAX_BYTES);
	bufferevent_decref(c->bev);
}

void conn_adopt_all(struct loop *l)
{
	while (l->fresh)
		adopt(l->fresh);
}

void conn_watch(struct conn *c)
{
	bufferevent_event_cb on_event;
	bufferevent_data_cb on_write;
	void *arg;

	/* Without a read callback: what comes now is the next request, which
	 * evhttp takes up when this one is answered. */
	bufferevent_getcb(c->bev, NULL, &on_write, &on_event, &arg);
	bufferevent_setcb(c->bev, NULL, on_write, on_event, arg);
	bufferevent_enable(c->bev, EV_READ);
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
	conn_set_phase(c, ahead ? CONN_READING : CONN_IDLE);
	bufferevent_setwatermark(c->bev, EV_READ, 0,
				 STAGEFS_DESCRIPTOR_MAX_BYTES +
					 2 * LOOP_HEAD_MAX_BYTES);
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
	evhttp_request_set_on_complete_cb(req, on_complete, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, LOOP_AHEAD_MAX_BYTES);
	if (c->over_limit || l->ending) {
		metrics_add(&l->shared->metrics->refused, c->over_limit);
		conn_header(c, "Connection", "close");
		conn_header(c, "Retry-After", "5");
		conn_say(c, 503, c->over_limit ? "too many connections"
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

/* ---- patience ---------------------------------------------------------- */

static uint64_t patience_s(const struct conn *c)
{
	switch (c->phase) {
	case CONN_IDLE:
		return IDLE_MAX_S;
	case CONN_READING:
		return REQUEST_MAX_S + c->got_bytes / BODY_MIN_BPS;
	case CONN_HELD:
		return HELD_MAX_S;
	default:
		return STALL_MAX_S;
	}
}

void conn_sweep(struct loop *l, uint64_t now_ns)
{
	struct conn *c;

	DL_FOREACH(l->conns, c) {
		if (now_ns < c->since_ns + patience_s(c) * NS_PER_S)
			continue;
		if (c->phase != CONN_IDLE)
			metrics_add(&l->shared->metrics->cut, 1);
		conn_cut(c);
		/* The end comes as an event; do not ask for it again. */
		c->since_ns = now_ns;
	}
}
