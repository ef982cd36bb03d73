/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.c - one socket per address, shared by all loops. SO_REUSEPORT, one
 * socket per loop, was rejected: a second daemon of the same user could then
 * bind the same port without an error, and a loop that waits for a disk would
 * keep the connections that the kernel dealt to it.
 */
#include "origin/http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

#define BACKLOG 1024

static int bad(const char *text, struct err *e)
{
	return err_set(e, EINVAL,
		       "'%s' is no address to listen on: write HOST:PORT, as "
		       "0.0.0.0:8420 or [::]:8420", text);
}

/* Cuts HOST:PORT in two, in place; takes brackets off. */
static int split(char *text, const char *shown, char **ret_host,
		 char **ret_port, struct err *e)
{
	char *colon = strrchr(text, ':'), *end;
	size_t n;

	if (!colon || colon == text)
		return bad(shown, e);
	*colon = '\0';
	n = strlen(text);
	if (text[0] == '[') {
		if (text[n - 1] != ']' || n < 3)
			return bad(shown, e);
		text[n - 1] = '\0';
		text++;
	} else if (strchr(text, ':')) {
		return bad(shown, e); /* IPv6 wants brackets */
	}
	if (!colon[1] || strtoul(colon + 1, &end, 10) > 65535 || *end ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return bad(shown, e);
	*ret_host = text;
	*ret_port = colon + 1;
	return 0;
}

static int open_one(const struct addrinfo *a, int *ret)
{
	CLEAN_FD int fd = socket(a->ai_family,
				 SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				 a->ai_protocol);
	int on = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	/* So that 0.0.0.0 and [::] can both be named. */
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, BACKLOG))
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

static int open_all(const char *shown, const char *host, const char *port,
		    int *fds, size_t *n, struct err *e)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE};
	struct addrinfo *list, *a;
	int r;

	r = getaddrinfo(host, port, &hints, &list);
	if (r)
		return err_set(e, EADDRNOTAVAIL, "cannot listen on %s: %s",
			       shown, gai_strerror(r));
	r = 0;
	for (a = list; a && !r; a = a->ai_next) {
		if (*n == LISTEN_MAX)
			r = err_set(e, E2BIG,
				    "too many addresses to listen on: %d at "
				    "most", LISTEN_MAX);
		else
			r = open_one(a, &fds[*n]);
		if (r == -EADDRINUSE)
			err_set(e, EADDRINUSE,
				"cannot listen on %s: another program does: "
				"see `ss -ltnp`", shown);
		else if (r && r != -E2BIG)
			err_set(e, -r, "cannot listen on %s: %s", shown,
				strerror(-r));
		if (!r)
			(*n)++;
	}
	freeaddrinfo(list);
	return r;
}

int listen_open(const char *list, int *fds, size_t *ret_n, struct err *e)
{
	CLEAN_FREE char *copy = strdup(list);
	char *rest = copy, *one;
	size_t n = 0;
	int r = 0;

	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	while (!r && (one = strsep(&rest, ","))) {
		CLEAN_FREE char *shown = strdup(one);
		char *host = NULL, *port = NULL;

		if (!shown)
			r = err_set(e, ENOMEM, "out of memory");
		if (!r)
			r = split(one, shown, &host, &port, e);
		if (!r)
			r = open_all(shown, host, port, fds, &n, e);
	}
	if (r) {
		listen_close(fds, n);
		return r;
	}
	*ret_n = n;
	return 0;
}

void listen_close(int *fds, size_t n)
{
	while (n)
		close(fds[--n]);
}

const char *listen_text(int fd, char out[LISTEN_TEXT])
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char host[INET6_ADDRSTRLEN + 20], port[8];

	snprintf(out, LISTEN_TEXT, "?");
	if (getsockname(fd, (struct sockaddr *)&ss, &len) ||
	    getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return out;
	snprintf(out, LISTEN_TEXT,
		 ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return out;
}
