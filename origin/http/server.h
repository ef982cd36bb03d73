/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the HTTP server of one store: loops, desk, sockets.
 */
#ifndef STAGEFS_ORIGIN_HTTP_SERVER_H
#define STAGEFS_ORIGIN_HTTP_SERVER_H

#include "origin/http/metrics.h"
#include "origin/http/pacing.h"
#include "origin/store/store.h"

struct http_server;

struct http_config {
	struct store *store;
	struct pacing *pacing;
	const char *listen;  /* listen.h */
	unsigned n_threads;  /* 0: one per processor */
	unsigned max_connections; /* above: 503. 0: 4096 */
	unsigned max_per_address; /* the same. 0: half of max_connections */
};

/* All of it lives on until http_server_stop. */
int http_server_start(const struct http_config *c, struct http_server **ret,
		      struct err *e);
/* Orders or the catalog may have changed. Any thread. */
void http_server_wake(struct http_server *s);
/* Answers held requests, cuts transfers, frees. NULL is fine. */
void http_server_stop(struct http_server *s);

#endif
