/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - one HTTP exchange of a small document (catalog, orders, reports),
 * blocking, for the agent's threads. Shares curl's settings with the fetcher
 * (curlset.h).
 *
 * Bounded: `max_bytes` of answer, `timeout_ms` in all, redirects to http(s)
 * only and at most 3. http_stop makes every call return -ECANCELED.
 */
#ifndef STAGEFS_FS_FETCH_HTTP_H
#define STAGEFS_FS_FETCH_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct http;

struct http_config {
	const char *server;  /* name of this server: X-Stagefs-Server */
	const char *ca_file; /* or NULL: the system's */
	uint32_t connect_ms; /* 0: 5000 */
};

struct http_call {
	const char *method; /* GET, PUT, POST */
	const char *url;
	const void *body;
	size_t body_n;
	const char *content_type;
	const char *etag; /* If-None-Match, or NULL */
	size_t max_bytes; /* of a body of 2xx; of others 1 KiB is kept */
	uint32_t timeout_ms;
};

struct http_answer {
	int status;	/* 200, 304, 404, ... */
	char *body;	/* malloc'd, end byte after it; NULL if none */
	size_t n;
	char etag[128]; /* "" if none */
};

int http_new(const struct http_config *cfg, struct http **ret);
/* After all calls have returned. */
void http_free(struct http *h);
void http_stop(struct http *h);

/*
 * 0 for any complete answer, whatever its status; -ECONNREFUSED, -EHOSTUNREACH,
 * -ECONNRESET (cut off), -ETIMEDOUT, -EPROTO (not HTTP, too long), -EACCES (TLS
 * certificate), -ECANCELED, -ENOMEM. Any number of threads may call at once.
 */
int http_do(struct http *h, const struct http_call *call,
	    struct http_answer *ret, struct err *e);
void http_answer_clear(struct http_answer *a);

#endif
