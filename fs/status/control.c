/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - the control socket: connections and what they may ask.
 *
 * A thread per connection, because a fetch or a verification takes minutes
 * and waits most of the time; there are few. Anybody may connect, so a
 * connection that says nothing, or does not read its answer, is ended after
 * some seconds, and the number is bounded.
 *
 * Who asks is the kernel's word (SO_PEERCRED), not the client's.
 */
#include "fs/status/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jget.h"
#include "common/log.h"
#include "common/pulse.h"
#include "fs/locks.h"
#include "fs/status/serve.h"

#define SILENT_S 10 /* a client that neither sends nor reads */

struct control {
	struct control_config cfg; /* set once */
	char *mountpoint, *name;
	int stop_fd; /* readable: end */
	pthread_t thread;

	struct lock lock; /* protects what follows */
	struct client client[CONTROL_CLIENTS_MAX];
	bool stop;
};

const char *control_path(const char *mountpoint, char out[CONTROL_PATH_MAX])
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *mountpoint; mountpoint++)
		h = (h ^ (uint8_t)*mountpoint) * UINT64_C(0x100000001b3);
	snprintf(out, CONTROL_PATH_MAX, "/run/stagefs/%016llx.sock",
		 (unsigned long long)h);
	return out;
}

/* ---- one connection ---------------------------------------------------- */

static int send_all(int fd, const char *data, size_t n)
{
	while (n) {
		ssize_t r = send(fd, data, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		data += r;
		n -= (size_t)r;
	}
	return 0;
}

int client_send(struct client *c, json_t *o)
{
	CLEAN_FREE char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	size_t n;

	json_decref(o);
	if (!text)
		return -ENOMEM;
	n = strlen(text);
	text[n] = '\n'; /* in place of the end */
	return send_all(c->fd, text, n + 1);
}

int client_done(struct client *c, const struct err *e)
{
	json_t *o = json_pack("{s:b}", "done", 1);

	if (o && e)
		json_object_set_new(o, "error", json_string(e->text));
	return client_send(c, o);
}

bool client_gone(struct client *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	if (poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR))
		return true;
	LOCK_SCOPE(&c->control->lock);
	return c->control->stop;
}

/* One line, without its end. */
static int read_line(struct client *c, char line[CONTROL_LINE_MAX_BYTES],
		     struct err *e)
{
	size_t n = 0;
	char *end;

	while (n < CONTROL_LINE_MAX_BYTES) {
		ssize_t r = recv(c->fd, line + n, CONTROL_LINE_MAX_BYTES - n,
				 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return err_set(e, r ? errno : ECONNRESET,
				       "no whole request came");
		end = memchr(line + n, '\n', (size_t)r);
		n += (size_t)r;
		if (end) {
			*end = 0;
			return 0;
		}
	}
	return err_set(e, E2BIG, "a request is at most %u bytes long",
		       CONTROL_LINE_MAX_BYTES);
}

static const struct {
	const char *name;
	bool changes;
	int (*serve)(struct client *c, const json_t *request, struct err *e);
} verb[] = {
	{"status", false, serve_status}, {"list", false, serve_list},
	{"fetch", true, serve_fetch},	 {"evict", true, serve_evict},
	{"verify", true, serve_verify},	 {"upgrade", true, serve_upgrade},
	{"why", false, serve_why},
};

static int dispatch(struct client *c, const json_t *request, struct err *e)
{
	const char *name;
	int r = jget_text(request, "verb", 32, &name, e);

	if (r)
		return r;
	for (size_t i = 0; i < sizeof(verb) / sizeof(verb[0]); i++) {
		if (strcmp(verb[i].name, name) != 0)
			continue;
		if (verb[i].changes && c->uid != 0 && c->uid != geteuid())
			return err_set(e, EPERM, "%s is for root only", name);
		return verb[i].serve(c, request, e);
	}
	return err_set(e, EINVAL, "the mount does not know '%s': it runs "
		       "stagefs " STAGEFS_VERSION, name);
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	char line[CONTROL_LINE_MAX_BYTES];
	json_t *request = NULL;
	struct err e = {""};
	int r;

	pulse_name("control-client");
	r = read_line(c, line, &e);

	if (!r)
		r = jget_parse(line, strlen(line), &request, &e);
	if (!r)
		r = dispatch(c, request, &e);
	json_decref(request);
	/* Also to one that has gone: then it fails, and that is all. */
	client_done(c, r ? &e : NULL);
	LOCK_SCOPE(&c->control->lock);
	c->over = true;
	/* What waits at the other end ends now; the thread that accepts
	 * closes it. */
	shutdown(c->fd, SHUT_RDWR);
	return NULL;
}

/* ---- accepting --------------------------------------------------------- */

static void set_free(struct client *c)
{
	LOCK_SCOPE(&c->control->lock);
	c->used = c->over = false;
}

/* Not in use before it is closed: whoever ends all that are must not find a
 * number that may be another file by then. */
static void reap(struct client *c)
{
	int fd = c->fd;

	pthread_join(c->thread, NULL);
	set_free(c);
	close(fd);
}

/* A free place; those that are over are cleared up first. */
static struct client *place(struct control *k)
{
	struct client *found = NULL;

	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &k->client[i];
		bool over;

		lock_take(&k->lock);
		over = c->used && c->over;
		lock_give(&k->lock);
		if (over)
			reap(c);
		if (!c->used)
			found = c;
	}
	return found;
}

static void refuse(int fd)
{
	static const char busy[] =
		"{\"done\":true,\"error\":\"too many are asking: try again "
		"in a moment\"}\n";

	send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void take_client(struct control *k)
{
	struct timeval tv = {.tv_sec = SILENT_S};
	struct ucred cred;
	socklen_t n = sizeof(cred);
	int fd = accept4(k->cfg.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct client *c;

	if (fd < 0)
		return;
	c = place(k);
	if (!c || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0) {
		refuse(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	lock_take(&k->lock);
	*c = (struct client){.control = k, .cfg = &k->cfg, .fd = fd,
			     .uid = cred.uid, .used = true};
	lock_give(&k->lock);
	if (pthread_create(&c->thread, NULL, client_main, c)) {
		set_free(c);
		refuse(fd);
	}
}

static void *control_main(void *arg)
{
	struct control *k = arg;
	struct pollfd p[2] = {{.fd = k->stop_fd, .events = POLLIN},
			      {.fd = k->cfg.listen_fd, .events = POLLIN}};

	pulse_name("control");
	for (;;) {
		pulse_expect();
		if (poll(p, 2, (int)(pulse_round_ns() / NS_PER_MS)) < 0 &&
		    errno != EINTR) {
			log_err("control", "poll: %s", strerror(errno));
			return NULL;
		}
		if (p[0].revents)
			return NULL;
		if (p[1].revents & (POLLERR | POLLNVAL)) {
			log_err("control", "the socket is broken: no "
				"`stagefs status` until the next mount");
			return NULL;
		}
		if (p[1].revents)
			take_client(k);
	}
}

/* ---- life -------------------------------------------------------------- */

int control_new(const struct control_config *cfg, struct control **ret,
		struct err *e)
{
	struct control *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return err_set(e, ENOMEM, "out of memory");
	lock_init(&k->lock, LOCK_STATUS);
	k->cfg = *cfg;
	k->cfg.mountpoint = k->mountpoint = strdup(cfg->mountpoint);
	k->cfg.name = k->name = strdup(cfg->name);
	k->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (!k->mountpoint || !k->name || k->stop_fd < 0)
		r = -ENOMEM;
	else
		r = -pthread_create(&k->thread, NULL, control_main, k);
	if (r) {
		if (k->stop_fd >= 0)
			close(k->stop_fd);
		free(k->mountpoint);
		free(k->name);
		lock_destroy(&k->lock);
		free(k);
		return err_set(e, -r, "control socket: %s", strerror(-r));
	}
	*ret = k;
	return 0;
}

void control_free(struct control *k)
{
	uint64_t one = 1;

	if (!k)
		return;
	lock_take(&k->lock);
	k->stop = true;
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (k->client[i].used && !k->client[i].over)
			shutdown(k->client[i].fd, SHUT_RDWR);
	lock_give(&k->lock);
	if (write(k->stop_fd, &one, sizeof(one)) < 0)
		log_err("control", "eventfd: %s", strerror(errno));
	pthread_join(k->thread, NULL);
	/* One that came in between sees `stop` or times out. */
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (k->client[i].used) {
			shutdown(k->client[i].fd, SHUT_RDWR);
			reap(&k->client[i]);
		}
	close(k->stop_fd);
	free(k->mountpoint);
	free(k->name);
	lock_destroy(&k->lock);
	free(k);
}
