/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - the thread.
 *
 * libevent is used without its locks: a base belongs to one thread, and the
 * only way in from outside is the mailbox and an eventfd.
 *
 * Accepting: all loops poll the same sockets, and libevent would have the
 * first to wake accept all that wait. Parallel windows of one image would then
 * be one core's work. So a loop that has clearly more connections than another
 * stands back for a moment. (To do so after each one, and be even, costs the
 * timer's millisecond per connection: 500 a second instead of thousands.)
 */
#include "origin/http/loop.h"

#include <errno.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "origin/http/pace.h"
#include "origin/locks.h"

#define STAND_BACK_US 1000
/* Open files that nobody asked for are closed after one to two of these. */
#define AGE_SWEEPS 10
/* At the end: for answers that are nearly out. */
#define END_TICK_MS 50
#define END_TICKS 20

static const struct timeval pace_every = {0, 1000000 / PACE_TICKS_PER_S};
static const struct timeval sweep_every = {1, 0};
static const struct timeval end_every = {0, END_TICK_MS * 1000};

/* ---- accepting --------------------------------------------------------- */

static void listen_on(struct loop *l, bool on)
{
	for (unsigned i = 0; i < l->n_listeners; i++) {
		if (on)
			evconnlistener_enable(l->listener[i]);
		else
			evconnlistener_disable(l->listener[i]);
	}
}

static bool has_clearly_more(const struct loop *l)
{
	const struct loop_shared *s = l->shared;
	unsigned mine = __atomic_load_n(&l->n_conns, __ATOMIC_RELAXED);

	for (unsigned i = 0; i < s->n_loops; i++) {
		const struct loop *other =
			__atomic_load_n(&s->loop[i], __ATOMIC_ACQUIRE);
		unsigned theirs;

		if (!other)
			continue;
		theirs = __atomic_load_n(&other->n_conns, __ATOMIC_RELAXED);
		if (mine > theirs + theirs / 8 + 2)
			return true;
	}
	return false;
}

static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
	struct loop *l = arg;
	struct bufferevent *bev = conn_make(base, l);
	const struct timeval tv = {0, STAND_BACK_US};

	if (has_clearly_more(l)) {
		l->standing_back = true;
		listen_on(l, false);
		event_add(l->accept_again, &tv);
	}
	return bev;
}

void loop_lost_one(struct loop *l)
{
	/* Not to wait for the timer while connections come and go. */
	if (!l->standing_back || l->ending || has_clearly_more(l))
		return;
	l->standing_back = false;
	listen_on(l, true);
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)fd;
	(void)what;
	l->standing_back = false;
	if (!l->ending)
		listen_on(l, true);
}

/* No descriptors left, most likely: some come back as connections end. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct loop *l = arg;
	const struct timeval tv = {0, 200000};

	(void)listener;
	log_warn("http", "cannot accept connections: %s; trying again",
		 strerror(errno));
	listen_on(l, false);
	event_add(l->accept_again, &tv);
}

static void on_adopt(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	conn_adopt_all(arg);
}

/* ---- timers ------------------------------------------------------------ */

static void on_pace(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct conn *c, *next;

	(void)fd;
	(void)what;
	DL_FOREACH_SAFE(l->conns, c, next)
		data_pace(c);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)fd;
	(void)what;
	conn_sweep(l, clock_mono_ns());
	if (++l->sweeps % AGE_SWEEPS == 0)
		objects_age(l->objects);
}

/* Small answers are waited for, transfers are cut. */
static bool is_nearly_done(const struct conn *c)
{
	return c->phase == CONN_WORKING ||
	       (c->phase == CONN_SENDING && c->match.route != ROUTE_DATA);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct conn *c;

	(void)fd;
	(void)what;
	if (++l->ending_ticks < END_TICKS)
		DL_FOREACH(l->conns, c)
			if (is_nearly_done(c))
				return;
	event_base_loopbreak(l->base);
}

/* ---- from the other threads -------------------------------------------- */

static void wake(struct loop *l)
{
	uint64_t one = 1;

	/* Fails only if it is not read 2^64 times, and then it is awake. */
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void loop_reply(struct loop *l, struct desk_reply *r)
{
	r->next = NULL;
	lock_take(&l->lock);
	*l->mail_end = r;
	l->mail_end = &r->next;
	lock_give(&l->lock);
	wake(l);
}

void loop_warmed(struct warm_job *job)
{
	struct loop *l = ((struct data_warming *)job)->loop;

	lock_take(&l->lock);
	job->next = l->warmed;
	l->warmed = job;
	lock_give(&l->lock);
	wake(l);
}

void loop_quit(struct loop *l)
{
	lock_take(&l->lock);
	l->quit = true;
	lock_give(&l->lock);
	wake(l);
}

static struct desk_reply *take_mail(struct loop *l,
				    struct warm_job **ret_warmed,
				    bool *ret_quit)
{
	struct desk_reply *mail;

	LOCK_SCOPE(&l->lock);
	mail = l->mail;
	l->mail = NULL;
	l->mail_end = &l->mail;
	*ret_warmed = l->warmed;
	l->warmed = NULL;
	*ret_quit = l->quit;
	return mail;
}

static void take_warmed(struct warm_job *jobs)
{
	while (jobs) {
		struct data_warming *w = (struct data_warming *)jobs;

		jobs = jobs->next;
		data_warmed(w);
	}
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct desk_reply *r, *next;
	struct warm_job *warmed;
	uint64_t count;
	bool quit;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	for (r = take_mail(l, &warmed, &quit); r; r = next) {
		next = r->next;
		conn_reply(l, r);
	}
	take_warmed(warmed);
	if (quit && !l->ending) {
		l->ending = true;
		listen_on(l, false);
		event_add(l->end, &end_every);
	}
}

/* ---- making and ending ------------------------------------------------- */

static int make_events(struct loop *l)
{
	struct event_base *b = l->base;

	l->wake = event_new(b, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
	l->adopt = event_new(b, -1, 0, on_adopt, l);
	l->accept_again = evtimer_new(b, on_accept_again, l);
	l->pace = event_new(b, -1, EV_PERSIST, on_pace, l);
	l->sweep = event_new(b, -1, EV_PERSIST, on_sweep, l);
	l->end = event_new(b, -1, EV_PERSIST, on_end, l);
	if (!l->wake || !l->adopt || !l->accept_again || !l->pace ||
	    !l->sweep || !l->end)
		return -ENOMEM;
	if (event_add(l->wake, NULL) || event_add(l->pace, &pace_every) ||
	    event_add(l->sweep, &sweep_every))
		return -ENOMEM;
	return 0;
}

static int make_http(struct loop *l)
{
	l->http = evhttp_new(l->base);
	if (!l->http)
		return -ENOMEM;
	evhttp_set_max_headers_size(l->http, LOOP_HEAD_MAX_BYTES);
	/* So that a client that sends too much still reads why. */
	evhttp_set_flags(l->http, EVHTTP_SERVER_LINGERING_CLOSE);
	evhttp_set_default_content_type(l->http, NULL);
	/* All, or it answers 501 by itself; the routes know better. */
	evhttp_set_allowed_methods(l->http, 0xffff);
	evhttp_set_bevcb(l->http, on_accept, l);
	evhttp_set_gencb(l->http, conn_request, l);
	return 0;
}

static int add_listener(struct loop *l, int listen_fd)
{
	const unsigned flags = LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_CLOSE_ON_FREE;
	struct evconnlistener *listener;
	int fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	listener = evconnlistener_new(l->base, NULL, NULL, flags, 0, fd);
	if (!listener) {
		close(fd);
		return -ENOMEM;
	}
	if (!evhttp_bind_listener(l->http, listener)) {
		evconnlistener_free(listener);
		return -ENOMEM;
	}
	evconnlistener_set_error_cb(listener, on_accept_error);
	l->listener[l->n_listeners++] = listener;
	return 0;
}

static void free_event(struct event *ev)
{
	if (ev)
		event_free(ev);
}

void loop_free(struct loop *l)
{
	struct desk_reply *r, *next;

	if (!l)
		return;
	conn_adopt_all(l);
	if (l->http)
		evhttp_free(l->http);
	for (r = l->mail; r; r = next) {
		next = r->next;
		desk_reply_free(r);
	}
	take_warmed(l->warmed); /* their connections are gone */
	free_event(l->wake);
	free_event(l->adopt);
	free_event(l->accept_again);
	free_event(l->pace);
	free_event(l->sweep);
	free_event(l->end);
	if (l->scratch)
		evbuffer_free(l->scratch);
	if (l->base) {
		/* Bufferevents end in a callback. */
		event_base_loop(l->base, EVLOOP_NONBLOCK);
		event_base_free(l->base);
	}
	objects_free(l->objects);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	lock_destroy(&l->lock);
	free(l);
}

static int loop_make(struct loop *l, const int *listen_fd, size_t n)
{
	int r;

	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake_fd < 0)
		return -errno;
	l->base = event_base_new();
	l->scratch = evbuffer_new();
	if (!l->base || !l->scratch)
		return -ENOMEM;
	/* Else libevent reads files that are added instead of sending them. */
	evbuffer_set_flags(l->scratch, EVBUFFER_FLAG_DRAINS_TO_FD);
	r = objects_new(l->shared->store, &l->objects);
	if (!r)
		r = make_events(l);
	if (!r)
		r = make_http(l);
	for (size_t i = 0; i < n && !r; i++)
		r = add_listener(l, listen_fd[i]);
	return r;
}

static void *loop_main(void *arg)
{
	struct loop *l = arg;
	char name[16];

	snprintf(name, sizeof(name), "http-%u", l->index);
	pthread_setname_np(pthread_self(), name);
	event_base_dispatch(l->base);
	return NULL;
}

int loop_start(struct loop_shared *shared, unsigned index,
	       const int *listen_fd, size_t n_listen_fds, struct loop **ret,
	       struct err *e)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->shared = shared;
	l->index = index;
	l->mail_end = &l->mail;
	lock_init(&l->lock, LOCK_MAILBOX);
	r = loop_make(l, listen_fd, n_listen_fds);
	if (!r)
		r = -pthread_create(&l->thread, NULL, loop_main, l);
	if (r) {
		loop_free(l);
		return err_set(e, -r, "cannot start serving: %s", strerror(-r));
	}
	*ret = l;
	return 0;
}

void loop_join(struct loop *l)
{
	pthread_join(l->thread, NULL);
}
