/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - order of start and end. The desk starts first and is stopped
 * first: its last replies still find loops to send them, and it is freed last,
 * since a loop may tell it of a request that is gone.
 */
#include "origin/http/server.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/log.h"
#include "origin/http/loop.h"

#define THREADS_MAX 64
#define CONNECTIONS_DEFAULT 4096
/* A request has to be complete this long after its first byte (conn.c). */
#define REQUEST_MAX_S 30
/* Besides connections: files, databases, timers. */
#define OTHER_FDS 1024

struct http_server {
	struct loop_shared shared;
	struct metrics metrics;
	int listen_fd[LISTEN_MAX];
	size_t n_listen_fds;
};

static void log_libevent(int severity, const char *text)
{
	if (severity >= EVENT_LOG_WARN)
		log_warn("libevent", "%s", text);
}

/* Every connection and every transfer's file is a descriptor. */
static void raise_fd_limit(unsigned connections)
{
	struct rlimit lim;
	rlim_t want = 2 * (rlim_t)connections + LOOP_REFUSED_MAX + OTHER_FDS;

	if (getrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur >= want)
		return;
	lim.rlim_cur = want < lim.rlim_max ? want : lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur < want)
		log_warn("http", "only %llu descriptors for %u connections: "
			 "raise LimitNOFILE",
			 (unsigned long long)lim.rlim_cur, connections);
}

static unsigned thread_count(unsigned wanted)
{
	long n = wanted ? (long)wanted : sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

static int start_desk(struct http_server *s, const struct http_config *c,
		      struct err *e)
{
	struct desk_config d = {.store = c->store,
				.pacing = c->pacing,
				.metrics = &s->metrics,
				.reply = loop_reply};

	return desk_start(&d, &s->shared.desk, e);
}

static int start_loops(struct http_server *s, unsigned n, struct err *e)
{
	int r = 0;

	s->shared.loop = calloc(n, sizeof(*s->shared.loop));
	if (!s->shared.loop)
		return err_set(e, ENOMEM, "out of memory");
	s->shared.n_loops = n;
	for (unsigned i = 0; i < n && !r; i++) {
		struct loop *l = NULL;

		r = loop_start(&s->shared, i, s->listen_fd, s->n_listen_fds,
			       &l, e);
		/* The first already runs, and looks for the others. */
		__atomic_store_n(&s->shared.loop[i], l, __ATOMIC_RELEASE);
	}
	return r;
}

int http_server_start(const struct http_config *c, struct http_server **ret,
		      struct err *e)
{
	struct http_server *s = calloc(1, sizeof(*s));
	const char *patience = getenv("STAGEFS_REQUEST_S"); /* for tests */
	char text[LISTEN_TEXT];
	unsigned per_address;
	int r;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->shared.store = c->store;
	s->shared.pacing = c->pacing;
	s->shared.metrics = &s->metrics;
	s->shared.max_connections =
		c->max_connections ? c->max_connections : CONNECTIONS_DEFAULT;
	per_address = c->max_per_address
			      ? c->max_per_address
			      : (s->shared.max_connections + 1) / 2;
	s->shared.request_max_s = patience ? (unsigned)atoi(patience)
					   : REQUEST_MAX_S;
	event_set_log_callback(log_libevent);
	raise_fd_limit(s->shared.max_connections);
	r = listen_open(c->listen, s->listen_fd, &s->n_listen_fds, e);
	if (!r && (r = peers_new(per_address, &s->shared.peers)))
		err_set(e, -r, "out of memory");
	if (!r)
		r = start_desk(s, c, e);
	if (!r && (r = warm_new(&s->shared.warm)))
		err_set(e, -r, "cannot start threads: %s", strerror(-r));
	if (!r)
		r = start_loops(s, thread_count(c->n_threads), e);
	if (r) {
		http_server_stop(s);
		return r;
	}
	for (size_t i = 0; i < s->n_listen_fds; i++)
		log_info("http", "listening on %s",
			 listen_text(s->listen_fd[i], text));
	*ret = s;
	return 0;
}

void http_server_wake(struct http_server *s)
{
	desk_wake(s->shared.desk);
}

void http_server_stop(struct http_server *s)
{
	if (!s)
		return;
	desk_stop(s->shared.desk);
	for (unsigned i = 0; i < s->shared.n_loops; i++)
		if (s->shared.loop[i])
			loop_quit(s->shared.loop[i]);
	for (unsigned i = 0; i < s->shared.n_loops; i++)
		if (s->shared.loop[i])
			loop_join(s->shared.loop[i]);
	warm_free(s->shared.warm);
	for (unsigned i = 0; i < s->shared.n_loops; i++)
		loop_free(s->shared.loop[i]);
	peers_free(s->shared.peers);
	desk_free(s->shared.desk);
	listen_close(s->listen_fd, s->n_listen_fds);
	free(s->shared.loop);
	free(s);
}
