/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data.c - bytes of images and manifests, from the file to the socket by
 * sendfile(2).
 *
 * An answer is fed to evhttp in batches, the next when one has left: a
 * terabyte queued at once would cost memory for its pieces. A batch is cut
 * into pieces because one sendfile call sends a whole piece, as long as the
 * peer drains it, and meanwhile the loop's other connections wait.
 *
 * Pieces that are not in memory are read by another thread first (warm.h),
 * while the loop goes on; the connection waits in SENDING.
 *
 * The buffer that hands pieces to evhttp has to be marked as one that drains
 * to a descriptor, else libevent reads or maps the file instead.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "common/units.h"
#include "origin/http/loop.h"
#include "origin/http/range.h"

#define PIECE_BYTES (2u << 20)
#define BATCH_BYTES (16u << 20)
/* Of a cold image the disk is given so much to do at a time. */
#define AHEAD_BYTES (16u << 20)

/* ---- pace -------------------------------------------------------------- */

static void apply_rate(struct conn *c)
{
	uint64_t bps = pacing_rate(c->loop->shared->pacing, &c->flow);
	/* 64 bits wide since Linux 4.20; ~0 is unlimited (net/core/sock.c). */
	unsigned long value = bps == RATE_UNLIMITED ? ~0UL : bps;

	if (bps == c->applied_bps)
		return;
	if (setsockopt(c->fd, SOL_SOCKET, SO_MAX_PACING_RATE, &value,
		       sizeof(value)))
		log_warn("http", "cannot pace a transfer: %s",
			 strerror(errno));
	c->applied_bps = bps;
}

/* Does it make a queue on its way? */
static void look_at_line(struct conn *c)
{
	struct tcp_info info;
	socklen_t n = sizeof(info);

	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 &&
	    n >= offsetof(struct tcp_info, tcpi_min_rtt) +
			    sizeof(info.tcpi_min_rtt))
		pacing_observe(c->loop->shared->pacing, &c->flow, info.tcpi_rtt,
			       info.tcpi_min_rtt);
}

void data_end(struct conn *c)
{
	pacing_leave(c->loop->shared->pacing, &c->flow);
	if (c->warming) {
		__atomic_store_n(&c->warming->job.cancelled, true,
				 __ATOMIC_RELAXED);
		c->warming->conn = NULL;
		c->warming = NULL;
	}
	object_put(c->object);
	c->object = NULL;
	c->left = 0;
	c->is_data = false;
}

/* ---- sending ----------------------------------------------------------- */

static void on_drained(struct evhttp_connection *http, void *arg);

/* How much of the next batch can be sent without waiting for the disk. */
static uint64_t hot_bytes(const struct conn *c)
{
	uint64_t batch = c->left < BATCH_BYTES ? c->left : BATCH_BYTES;
	uint64_t hot = 0;

	while (hot < batch) {
		uint64_t n = batch - hot;

		if (n > PIECE_BYTES)
			n = PIECE_BYTES;
		if (!warm_is_hot(c->object->fd, c->offset + hot, n))
			break;
		hot += n;
	}
	return hot;
}

/* Has the next piece read. -ENOMEM: it cannot. */
static int warm_piece(struct conn *c, uint64_t n)
{
	struct data_warming *w = calloc(1, sizeof(*w));
	uint64_t after = c->left - n;

	if (!w)
		return -ENOMEM;
	w->job.fd = c->object->fd;
	w->job.offset = c->offset;
	w->job.n_bytes = n;
	w->job.ahead_bytes = after < AHEAD_BYTES ? after : AHEAD_BYTES;
	w->job.done = loop_warmed;
	w->loop = c->loop;
	w->conn = c;
	w->object = c->object;
	w->object->refs++;
	c->warming = w;
	warm_submit(c->loop->shared->warm, &w->job, c->class_);
	return 0;
}

static int add_batch(struct conn *c, struct evbuffer *buf, uint64_t batch)
{
	c->left -= batch;
	while (batch > 0) {
		uint64_t n = batch < PIECE_BYTES ? batch : PIECE_BYTES;

		if (evbuffer_add_file_segment(buf, c->object->segment,
					      (ev_off_t)c->offset,
					      (ev_off_t)n))
			return -ENOMEM;
		c->offset += n;
		batch -= n;
	}
	return 0;
}

static void send_batch(struct conn *c, uint64_t batch)
{
	struct evbuffer *buf = c->loop->scratch;

	if (add_batch(c, buf, batch)) {
		/* The head has promised more: only the end is honest. */
		evbuffer_drain(buf, evbuffer_get_length(buf));
		conn_cut(c);
		return;
	}
	evhttp_send_reply_chunk_with_cb(c->req, buf, on_drained, c);
	if (c->left == 0)
		evhttp_send_reply_end(c->req);
}

static void feed(struct conn *c)
{
	uint64_t n = hot_bytes(c);

	if (n == 0) {
		n = c->left < PIECE_BYTES ? c->left : PIECE_BYTES;
		if (warm_piece(c, n) == 0)
			return;
	}
	send_batch(c, n);
}

static void on_drained(struct evhttp_connection *http, void *arg)
{
	(void)http;
	feed(arg);
}

/* What was read may be gone again already, or be an error: it is sent all the
 * same, or a busy machine would read one piece for ever. */
void data_warmed(struct data_warming *w)
{
	struct conn *c = w->conn;
	uint64_t n = w->job.n_bytes;

	object_put(w->object);
	free(w);
	if (!c)
		return;
	c->warming = NULL;
	send_batch(c, n);
}

static void send_data(struct conn *c)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	apply_rate(c);
	conn_set_phase(c, CONN_SENDING);
	evhttp_send_reply_start(c->req, c->status, NULL);
	c->head_left = evbuffer_get_length(out);
	c->is_data = c->match.route == ROUTE_DATA;
	if (c->left > 0)
		feed(c);
	else
		evhttp_send_reply_end(c->req);
}

/* Joins the others that are paced; a prefetch may have to wait. */
static void begin(struct conn *c)
{
	const char *server = conn_request_header(c, WIRE_HEADER_SERVER);
	int r;

	if (!server || name_check_server(server, NULL))
		server = "";
	r = pacing_join(c->loop->shared->pacing, &c->flow, c->class_, server);
	if (r == -EAGAIN) {
		if (c->phase != CONN_WAITING) {
			conn_set_phase(c, CONN_WAITING);
			conn_watch(c);
		}
		return;
	}
	if (r)
		log_warn("http", "no memory to pace a transfer: not paced");
	send_data(c);
}

void data_pace(struct conn *c)
{
	if (c->phase == CONN_WAITING) {
		/* The wait is ours, not the client's. */
		c->since_ns = clock_mono_ns();
		begin(c);
	} else if (c->phase == CONN_SENDING && c->flow.joined) {
		look_at_line(c);
		apply_rate(c);
	}
}

/* ---- what to send ------------------------------------------------------ */

static void size_headers(struct conn *c, const struct range *range,
			 uint64_t size)
{
	char text[96];

	snprintf(text, sizeof(text), "%" PRIu64, range->length);
	conn_header(c, "Content-Length", text);
	if (range->kind != RANGE_PART)
		return;
	snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
		 range->first, range->first + range->length - 1, size);
	conn_header(c, "Content-Range", text);
}

static void not_satisfiable(struct conn *c, uint64_t size)
{
	char text[48];

	snprintf(text, sizeof(text), "bytes */%" PRIu64, size);
	conn_header(c, "Content-Range", text);
	conn_say(c, 416, "the range lies behind the end");
}

static enum wire_class class_of(struct conn *c)
{
	const char *name = conn_request_header(c, WIRE_HEADER_CLASS);
	enum wire_class class_ = CLASS_DEMAND;

	if (name)
		wire_class_parse(name, &class_);
	return class_;
}

static void answer_object(struct conn *c, const char *etag)
{
	uint64_t size = c->object->size_bytes;
	struct range range = {RANGE_NONE, 0, size};

	conn_header(c, "Accept-Ranges", "bytes");
	if (c->method == METHOD_GET &&
	    range_if_range(conn_request_header(c, "If-Range"), etag))
		range = range_parse(conn_request_header(c, "Range"), size);
	if (range.kind == RANGE_UNSATISFIABLE) {
		not_satisfiable(c, size);
		return;
	}
	conn_header(c, "ETag", etag);
	conn_header(c, "Cache-Control", "public, max-age=31536000, immutable");
	/* Before the range, says RFC 9110 13.2.2; a 304 has no body, so only
	 * a range behind the end could tell the difference. */
	if (range_none_match(conn_request_header(c, "If-None-Match"), etag)) {
		conn_say(c, 304, "");
		return;
	}
	conn_header(c, "Content-Type", "application/octet-stream");
	size_headers(c, &range, size);
	c->status = range.kind == RANGE_PART ? 206 : 200;
	c->offset = range.first;
	c->left = c->method == METHOD_HEAD ? 0 : range.length;
	if (c->match.route == ROUTE_DATA && c->left > 0)
		begin(c);
	else
		send_data(c);
}

void data_answer(struct conn *c)
{
	struct loop_shared *s = c->loop->shared;
	char etag[DIGEST_TEXT + 2], text[DIGEST_TEXT];
	int r;

	c->class_ = class_of(c);
	if (c->match.route == ROUTE_DATA)
		metrics_add(&s->metrics->data_requests[c->class_], 1);
	r = objects_get(c->loop->objects, &c->match.digest,
			c->match.route == ROUTE_MANIFEST, &c->object);
	if (r == -ENOENT) {
		conn_say(c, 404, "nothing with this digest is published");
		return;
	}
	if (r) {
		log_warn("http", "cannot open %s: %s",
			 digest_text(&c->match.digest, text), strerror(-r));
		conn_header(c, "Retry-After", "5");
		conn_say(c, 503, "the origin cannot read this now");
		return;
	}
	snprintf(etag, sizeof(etag), "\"%s\"",
		 digest_text(&c->match.digest, text));
	answer_object(c, etag);
}
