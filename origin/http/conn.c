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
 * - It has one bound for all bodies and no hook before it reads one (the
 *   header callback is for clients; a hook for new requests comes with 2.2).
 *   But it reads out of a buffer that tells of each byte before evhttp looks:
 *   there the request line is read ahead, and the bound of its route set.
 *
 * Who owns a request: evhttp until conn_request; we until the answer's last
 * part was handed over; then evhttp again. If the connection ends in our time,
 * evhttp has let go of the request (it has no connection any more) and the
 * close callback frees it; when the whole server is torn down it has not, and
 * frees it itself.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
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

/* A request has a second more to be complete for so many bytes that came. */
#define BODY_MIN_BPS (256u << 10)
#define IDLE_MAX_S 120
/* One too many has so long to ask, and to be told. */
#define REFUSED_MAX_S 5
/* The desk holds for 60 s at the most. */
#define HELD_MAX_S (STAGEFS_ORDERS_WAIT_MAX_S + 60)
/* The body of a request that is not known to take more. */
#define BODY_MAX_BYTES STAGEFS_REPORT_MAX_BYTES
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

void conn_charge(struct conn *c, uint64_t bytes)
{
	__atomic_add_fetch(&c->loop->shared->metrics->input_bytes,
			   bytes - c->charged_bytes, __ATOMIC_RELAXED);
	c->charged_bytes = bytes;
}

/*
 * What a request has brought counts until it is complete, wherever libevent
 * keeps it. What comes above its bound is thrown away by evhttp, which answers
 * 413 and goes on reading so that the client gets to read that.
 */
static void on_input(struct evbuffer *buf,
		     const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *c = arg;
	struct metrics *m = c->loop->shared->metrics;
	uint64_t most, bytes;

	if (info->n_added == 0)
		return;
	if (c->phase == CONN_IDLE) {
		conn_set_phase(c, CONN_READING);
		c->got_bytes = 0;
	}
	c->got_bytes += info->n_added;
	if (c->phase == CONN_READING && !c->line_seen)
		c->line_seen = request_look_ahead(c, buf);
	most = c->body_max_bytes + LOOP_HEAD_MAX_BYTES + LOOP_AHEAD_MAX_BYTES;
	bytes = c->charged_bytes + info->n_added;
	conn_charge(c, bytes < most ? bytes : most);
	if (metrics_get(&m->input_bytes) > LOOP_INPUT_MAX_BYTES &&
	    c->charged_bytes > LOOP_AHEAD_MAX_BYTES) {
		metrics_add(&m->cut, 1);
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
	peers_leave(l->shared->peers, c->peer);
	__atomic_sub_fetch(&l->n_conns, 1, __ATOMIC_RELAXED);
	metrics_sub(&l->shared->metrics->connections, 1);
	loop_lost_one(l);
}

static void forget_input(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);

	conn_charge(c, 0);
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
	uint64_t n;

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
	n = __atomic_add_fetch(&m->connections, 1, __ATOMIC_RELAXED);
	if (n > l->shared->max_connections)
		c->refusal = "too many connections";
	c->far_over_limit = n > (uint64_t)l->shared->max_connections +
					LOOP_REFUSED_MAX;
	event_active(l->adopt, EV_READ, 0);
	return bev;
}

/* Its address is known only now. */
static void count_peer(struct conn *c)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	char host[INET6_ADDRSTRLEN];
	unsigned above;
	bool first;

	/* It may have hung up. */
	if (getpeername(c->fd, (struct sockaddr *)&ss, &len))
		return;
	c->peer = peers_join(c->loop->shared->peers, &ss, &above, &first);
	if (above > 0 && !c->refusal)
		c->refusal = "too many connections from your address";
	if (above > LOOP_REFUSED_MAX)
		c->far_over_limit = true;
	if (first && !getnameinfo((struct sockaddr *)&ss, len, host,
				  sizeof(host), NULL, 0, NI_NUMERICHOST))
		log_warn("http", "%s has as many connections as one address "
			 "may have: more are answered 503 (see "
			 "--max-per-address)", host);
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
	count_peer(c);
	/* Or small answers wait 40 ms for the ACK of their head. */
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	evhttp_connection_set_closecb(c->http, on_close, c);
	evbuffer_add_cb(bufferevent_get_input(c->bev), on_input, c);
	evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c);
	conn_read_on(c);
	bufferevent_decref(c->bev);
	if (c->far_over_limit)
		conn_cut(c);
}

void conn_adopt_all(struct loop *l)
{
	while (l->fresh)
		adopt(l->fresh);
}

void conn_read_on(struct conn *c)
{
	c->line_seen = false;
	c->body_max_bytes = BODY_MAX_BYTES;
	evhttp_connection_set_max_body_size(c->http, BODY_MAX_BYTES);
	bufferevent_setwatermark(c->bev, EV_READ, 0,
				 STAGEFS_DESCRIPTOR_MAX_BYTES +
					 2 * LOOP_HEAD_MAX_BYTES);
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

/* ---- patience ---------------------------------------------------------- */

static uint64_t patience_s(const struct conn *c)
{
	switch (c->phase) {
	case CONN_IDLE:
		return c->refusal ? REFUSED_MAX_S : IDLE_MAX_S;
	case CONN_READING:
		if (c->refusal)
			return REFUSED_MAX_S;
		return c->loop->shared->request_max_s +
		       c->got_bytes / BODY_MIN_BPS;
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
