/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mini_httpd.h - a scripted HTTP server inside a test: a thread per
 * connection, plain sockets, and a handler that writes whatever it likes to
 * the socket, right or wrong. Port of its own on 127.0.0.1.
 */
#ifndef STAGEFS_TESTS_MINI_HTTPD_H
#define STAGEFS_TESTS_MINI_HTTPD_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MINI_CONNS 512

struct mini_request {
	int fd;
	unsigned number; /* of this server, from 0 */
	char method[8], path[512];
	char head[8192];
	char *body;
	size_t body_n;
};

struct mini {
	/* true: go on with this connection */
	bool (*handle)(void *ctx, struct mini_request *r);
	void *ctx;
	int fd;
	uint16_t port;
	char url[64];
	pthread_t thread;
	atomic_bool quit;
	atomic_uint requests, connections;

	pthread_mutex_t lock;
	pthread_t conn[MINI_CONNS];
	int conn_fd[MINI_CONNS]; /* -1: closed */
	unsigned n_conns;
};

struct mini_conn {
	struct mini *m;
	unsigned slot;
	int fd;
};

static inline bool mini_write(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n > 0) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);

		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

__attribute__((format(printf, 2, 3))) static inline bool
mini_printf(int fd, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return mini_write(fd, text, (size_t)n);
}

/* The value of a request header, or NULL; valid until the next call. */
static inline const char *mini_header(const struct mini_request *r,
				      const char *name)
{
	static __thread char value[1024];
	size_t n = strlen(name);

	for (const char *l = strstr(r->head, "\r\n"); l;
	     l = strstr(l + 2, "\r\n")) {
		if (strncasecmp(l + 2, name, n) || l[2 + n] != ':')
			continue;
		l += 3 + n;
		l += strspn(l, " ");
		snprintf(value, sizeof(value), "%.*s",
			 (int)strcspn(l, "\r"), l);
		return value;
	}
	return NULL;
}

/* Ends the connection with a reset instead of an orderly end. */
static inline void mini_reset(int fd)
{
	struct linger l = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static inline bool mini_read(int fd, struct mini_request *r)
{
	size_t n = 0, want;
	char *end;

	memset(r->head, 0, sizeof(r->head));
	while (!(end = strstr(r->head, "\r\n\r\n"))) {
		ssize_t got = recv(fd, r->head + n, sizeof(r->head) - 1 - n, 0);

		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	end += 4;
	if (sscanf(r->head, "%7s %511s", r->method, r->path) != 2)
		return false;
	n -= (size_t)(end - r->head);
	want = mini_header(r, "Content-Length")
		       ? strtoul(mini_header(r, "Content-Length"), NULL, 10)
		       : 0;
	r->body = malloc(want + 1);
	r->body_n = want;
	if (n > want)
		n = want;
	memcpy(r->body, end, n);
	while (n < want) {
		ssize_t got = recv(fd, r->body + n, want - n, 0);

		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	r->body[want] = '\0';
	end[-2] = '\0';
	return true;
}

static inline void *mini_serve(void *arg)
{
	struct mini_conn *c = arg;
	struct mini *m = c->m;
	struct mini_request *r = calloc(1, sizeof(*r));
	bool more = true;

	r->fd = c->fd;
	while (more && mini_read(c->fd, r)) {
		r->number = atomic_fetch_add(&m->requests, 1);
		more = m->handle(m->ctx, r);
		free(r->body);
		r->body = NULL;
	}
	free(r->body);
	free(r);
	pthread_mutex_lock(&m->lock);
	close(c->fd);
	m->conn_fd[c->slot] = -1;
	pthread_mutex_unlock(&m->lock);
	free(c);
	return NULL;
}

static inline void *mini_accept(void *arg)
{
	struct mini *m = arg;
	int one = 1;

	while (!atomic_load(&m->quit)) {
		int fd = accept(m->fd, NULL, NULL);
		struct mini_conn *c;

		if (fd < 0)
			continue;
		pthread_mutex_lock(&m->lock);
		if (atomic_load(&m->quit) || m->n_conns == MINI_CONNS) {
			pthread_mutex_unlock(&m->lock);
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		atomic_fetch_add(&m->connections, 1);
		c = malloc(sizeof(*c));
		*c = (struct mini_conn){.m = m, .slot = m->n_conns++, .fd = fd};
		m->conn_fd[c->slot] = fd;
		pthread_create(&m->conn[c->slot], NULL, mini_serve, c);
		pthread_mutex_unlock(&m->lock);
	}
	return NULL;
}

/* port 0: any. 0, or -1 if the port is taken. */
static inline int mini_start_at(struct mini *m, uint16_t port,
				bool (*handle)(void *, struct mini_request *),
				void *ctx)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int one = 1;

	memset(m, 0, sizeof(*m));
	m->handle = handle;
	m->ctx = ctx;
	pthread_mutex_init(&m->lock, NULL);
	m->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(m->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(m->fd, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(m->fd, 128)) {
		close(m->fd);
		return -1;
	}
	getsockname(m->fd, (struct sockaddr *)&a, &n);
	m->port = ntohs(a.sin_port);
	snprintf(m->url, sizeof(m->url), "http://127.0.0.1:%u", m->port);
	return pthread_create(&m->thread, NULL, mini_accept, m);
}

static inline void mini_start(struct mini *m,
			      bool (*handle)(void *, struct mini_request *),
			      void *ctx)
{
	if (mini_start_at(m, 0, handle, ctx))
		abort();
}

static inline void mini_stop(struct mini *m)
{
	pthread_mutex_lock(&m->lock);
	atomic_store(&m->quit, true);
	shutdown(m->fd, SHUT_RDWR);
	for (unsigned i = 0; i < m->n_conns; i++)
		if (m->conn_fd[i] >= 0)
			shutdown(m->conn_fd[i], SHUT_RDWR);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
	for (unsigned i = 0; i < m->n_conns; i++)
		pthread_join(m->conn[i], NULL);
	close(m->fd);
	pthread_mutex_destroy(&m->lock);
}

#endif
