/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - one thread that serves connections: an event_base, an evhttp on the
 * shared listening sockets, and the connections it accepted.
 *
 *	accept -> IDLE -> READING -> WORKING -> IDLE ...
 *	                                |-> HELD (the desk has it)
 *	                                |-> WAITING (prefetch, no rate now)
 *	                                `-> SENDING
 *
 * All of a connection happens on its loop. Other threads hand in replies
 * (loop_reply) and ask for the end (loop_quit); nothing else crosses.
 *
 * The files: loop.c has the thread, conn.c the connections, request.c what is
 * asked and answered on them, data.c the answers with bytes of images.
 */
#ifndef STAGEFS_ORIGIN_HTTP_LOOP_H
#define STAGEFS_ORIGIN_HTTP_LOOP_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdbool.h>
#include <uthash.h>

#include "common/lock.h"
#include "origin/http/desk.h"
#include "origin/http/listen.h"
#include "origin/http/metrics.h"
#include "origin/http/objects.h"
#include "origin/http/pacing.h"
#include "origin/http/peers.h"
#include "origin/http/route.h"
#include "origin/http/warm.h"

/* Heads: ours are a few hundred bytes. */
#define LOOP_HEAD_MAX_BYTES (32u << 10)
/* What a peer may send ahead while its request is being answered. */
#define LOOP_AHEAD_MAX_BYTES (64u << 10)
/* So many above the limit are told that they are too many; the rest is cut. */
#define LOOP_REFUSED_MAX 256u
/* What all connections together may have sent and not been answered for. */
#define LOOP_INPUT_MAX_BYTES (512u << 20)

struct loop_shared {
	struct store *store;
	struct desk *desk;
	struct pacing *pacing;
	struct metrics *metrics;
	struct warm *warm;
	struct peers *peers;
	unsigned max_connections;
	unsigned request_max_s;
	unsigned n_loops;
	struct loop **loop;
};

enum conn_phase {
	CONN_IDLE,    /* between requests, or before the first */
	CONN_READING, /* bytes of a request came */
	CONN_WORKING, /* the request is complete, nothing is decided */
	CONN_HELD,    /* the desk works on it or holds it */
	CONN_WAITING, /* a prefetch for which there is no rate now */
	CONN_SENDING, /* an answer leaves */
};

struct conn {
	struct conn *prev, *next;
	UT_hash_handle by_http, by_token;
	struct loop *loop;
	struct bufferevent *bev;
	struct evhttp_connection *http; /* NULL until adopted */
	int fd;
	struct peer *peer;
	const char *refusal; /* why it is one too many; NULL: it is welcome */
	bool far_over_limit;

	enum conn_phase phase;
	uint64_t since_ns; /* of the phase; SENDING: last progress */
	uint64_t got_bytes; /* READING: so far */
	bool line_seen; /* of the request that comes */
	uint64_t body_max_bytes; /* that it may have */
	uint64_t charged_bytes; /* in metrics.input_bytes */

	/* The request in work. `req` is evhttp's again once it was answered
	 * in full. */
	struct evhttp_request *req;
	struct route_match match;
	unsigned method;
	uint64_t token; /* HELD */
	int status;

	/* A data answer. */
	bool is_data;
	uint64_t head_left; /* of its head, not sent yet */
	enum wire_class class_;
	struct object *object;
	uint64_t offset, left;
	struct pacing_flow flow;
	uint64_t applied_bps; /* as the kernel was told */
	struct data_warming *warming; /* its next piece is being read */
};

/* Made by a connection's loop, and ended by it, whatever became of the
 * connection. */
struct data_warming {
	struct warm_job job; /* first */
	struct loop *loop;
	/* The loop's alone: */
	struct conn *conn; /* NULL: it is gone */
	struct object *object; /* a reference */
};

struct loop {
	struct loop_shared *shared; /* set once */
	unsigned index;
	pthread_t thread;
	int wake_fd; /* eventfd */

	unsigned n_conns; /* atomic: other loops look at it */

	struct lock lock; /* the mailbox */
	struct desk_reply *mail, **mail_end;
	struct warm_job *warmed;
	bool quit;

	/* The thread's own. */
	struct event_base *base;
	struct evhttp *http;
	struct event *wake, *adopt, *pace, *sweep, *accept_again, *end;
	struct evconnlistener *listener[LISTEN_MAX];
	unsigned n_listeners;
	struct conn *conns, *fresh;
	struct conn *by_http, *by_token;
	uint64_t last_token;
	struct objects *objects;
	struct evbuffer *scratch;
	unsigned sweeps, ending_ticks;
	bool standing_back, ending;
};

int loop_start(struct loop_shared *shared, unsigned index,
	       const int *listen_fd, size_t n_listen_fds, struct loop **ret,
	       struct err *e);
/* Takes the reply. Any thread. */
void loop_reply(struct loop *l, struct desk_reply *r);
/* The job of a data_warming is done. Any thread. */
void loop_warmed(struct warm_job *job);
/* Finishes what is nearly done, then ends. Any thread. */
void loop_quit(struct loop *l);
void loop_join(struct loop *l);
/* After all are joined, for each looks at the others' counts, and after
 * warm_free. NULL is fine. */
void loop_free(struct loop *l);

/* A connection ended: there may be room for another. On its thread. */
void loop_lost_one(struct loop *l);

/* ---- conn.c: on the loop's thread -------------------------------------- */

/* evhttp's callback for a new connection. */
struct bufferevent *conn_make(struct event_base *base, void *loop);
/* Those made since the last call get their callbacks. */
void conn_adopt_all(struct loop *l);
/* Cuts what is too slow. Once a second. */
void conn_sweep(struct loop *l, uint64_t now_ns);
void conn_set_phase(struct conn *c, enum conn_phase phase);
/* While a request waits, notice that its client went away. */
void conn_watch(struct conn *c);
/* The next request may come. */
void conn_read_on(struct conn *c);
/* So much of what it sent is kept. */
void conn_charge(struct conn *c, uint64_t bytes);
/* Ends the connection in an orderly way, from anywhere. */
void conn_cut(struct conn *c);

/* ---- request.c --------------------------------------------------------- */

/* Sets the bound of the body by the request line, if that is there: true. */
bool request_look_ahead(struct conn *c, struct evbuffer *buf);
/* evhttp's callback for a complete request. */
void conn_request(struct evhttp_request *req, void *loop);
void conn_reply(struct loop *l, struct desk_reply *r);
/* An answer without a body of its own: one line of text. */
void conn_say(struct conn *c, int status, const char *line);
void conn_header(struct conn *c, const char *name, const char *value);
const char *conn_request_header(struct conn *c, const char *name);

/* ---- data.c ------------------------------------------------------------ */

void data_answer(struct conn *c);
/* WAITING and paced ones: PACE_TICKS_PER_S times a second. */
void data_pace(struct conn *c);
/* The request is over, however it ended. */
void data_end(struct conn *c);
/* Its piece was read, or is not wanted any more. Frees it. */
void data_warmed(struct data_warming *w);

#endif
