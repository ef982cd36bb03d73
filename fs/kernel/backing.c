/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backing.c - a round trip to the supervisor over a socket pair of its own
 * for each file, so that threads need not wait for each other and no answer
 * can be taken for another one.
 *
 * It is asked in OPEN, not when a version becomes complete: a registered file
 * is a file held open in the kernel, of which there would be one for each
 * stored image, in the way of every eviction; and the first open of an image
 * can afford 50 microseconds. What it cannot afford is a supervisor that does
 * not answer, so the wait is bounded, and one that has run out keeps others
 * from waiting as well: they are served through the worker meanwhile.
 */
#include "fs/kernel/backing.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/lock.h"
#include "common/log.h"
#include "fs/locks.h"
#include "fs/supervisor/wire.h"

struct backing {
	int link; /* set once */
	struct session_area *s;

	bool off;	   /* atomic: the kernel cannot */
	uint64_t pause_ns; /* atomic: not before */

	struct lock lock;
	uint32_t *closing; /* not told yet: the link was full */
	size_t n_closing, room_closing;
};

int backing_new(int link, struct session_area *s, struct backing **ret)
{
	struct backing *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->link = link;
	b->s = s;
	lock_init(&b->lock, LOCK_BACKING);
	*ret = b;
	return 0;
}

void backing_free(struct backing *b)
{
	if (!b)
		return;
	lock_destroy(&b->lock);
	free(b->closing);
	free(b);
}

/* ---- open ---------------------------------------------------------------- */

static int ask(struct backing *b, int fd, int answer_fd)
{
	char letter = MSG_BACKING_OPEN;
	struct iovec iov = {&letter, 1};
	int fds[2] = {fd, answer_fd};
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(fds))] = {0};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	if (sendmsg(b->link, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	return 0;
}

/* 0, or -ETIMEDOUT; then an answer will find nobody. */
static int await(int fd, struct backing_answer *ret)
{
	uint64_t now_ns = clock_mono_ns();
	uint64_t until_ns = now_ns + BACKING_WAIT_MS * NS_PER_MS;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	while (now_ns < until_ns) {
		int ms = (int)((until_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);

		if (poll(&p, 1, ms) > 0)
			break;
		now_ns = clock_mono_ns();
	}
	/* An answer is taken, or it fails: the supervisor has to know. */
	shutdown(fd, SHUT_RDWR);
	n = recv(fd, ret, sizeof(*ret), MSG_DONTWAIT);
	if (n == (ssize_t)sizeof(*ret))
		return 0;
	return now_ns < until_ns ? -ECONNRESET : -ETIMEDOUT;
}

static int round_trip(struct backing *b, int fd, uint32_t *ret_id)
{
	CLEAN_FD int ours = -1;
	CLEAN_FD int theirs = -1;
	struct backing_answer a;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	r = ask(b, fd, theirs);
	if (r < 0)
		return r;
	/* The end of the supervisor is the end of the wait. */
	close(TAKE_FD(theirs));
	r = await(ours, &a);
	if (r < 0)
		return r;
	if (a.id <= 0)
		return a.id ? a.id : -EPROTO;
	*ret_id = (uint32_t)a.id;
	return 0;
}

/* Would it say the same the next time? */
static bool for_good(int error)
{
	switch (-error) {
	case EPERM:	 /* not switched on, or root in a container */
	case ENOTTY:	 /* older than 6.9 */
	case EOPNOTSUPP: /* built without */
	case ELOOP:	 /* the cache is on a stacked file system */
		return true;
	default:
		return false;
	}
}

static void note_failure(struct backing *b, int error)
{
	if (for_good(error)) {
		if (!__atomic_exchange_n(&b->off, true, __ATOMIC_ACQ_REL))
			log_warn("kernel",
				 "no passthrough: %s: complete images are "
				 "read through the worker",
				 error == -ELOOP
					 ? "the cache lies on a stacked file "
					   "system (overlay)"
					 : strerror(-error));
		return;
	}
	if (error == -ETIMEDOUT)
		log_warn("kernel",
			 "the supervisor did not register a file in %d ms: "
			 "serving images without passthrough for %d s",
			 BACKING_WAIT_MS, BACKING_PAUSE_MS / 1000);
	else
		log_warn("kernel", "no passthrough for this open: %s",
			 strerror(-error));
	__atomic_store_n(&b->pause_ns,
			 clock_mono_ns() + BACKING_PAUSE_MS * NS_PER_MS,
			 __ATOMIC_RELEASE);
}

int backing_open(struct backing *b, int fd, uint32_t *ret_id)
{
	int r;

	if (__atomic_load_n(&b->off, __ATOMIC_ACQUIRE))
		return -EOPNOTSUPP;
	if (clock_mono_ns() < __atomic_load_n(&b->pause_ns, __ATOMIC_ACQUIRE))
		return -EAGAIN;
	r = round_trip(b, fd, ret_id);
	if (r < 0)
		note_failure(b, r);
	return r;
}

/* ---- close --------------------------------------------------------------- */

static int note_closing(struct backing *b, uint32_t id)
{
	LOCK_SCOPE(&b->lock);
	if (b->n_closing == b->room_closing) {
		size_t room = b->room_closing ? 2 * b->room_closing : 16;
		uint32_t *more = realloc(b->closing, room * sizeof(*more));

		if (!more)
			return -ENOMEM; /* the next worker finds it */
		b->closing = more;
		b->room_closing = room;
	}
	b->closing[b->n_closing++] = id;
	return 0;
}

/* As many as fit into one message; the order does not matter. */
static size_t take_closing(struct backing *b,
			   char text[SUPERVISOR_MESSAGE_MAX_BYTES],
			   uint32_t *taken)
{
	size_t at = 0, n = 0;

	text[at++] = MSG_BACKING_CLOSE;
	LOCK_SCOPE(&b->lock);
	while (b->n_closing && at + 16 < SUPERVISOR_MESSAGE_MAX_BYTES) {
		taken[n] = b->closing[--b->n_closing];
		at += (size_t)snprintf(text + at, 16, "%u ", taken[n++]);
	}
	text[at] = 0;
	return n;
}

static void tell_closing(struct backing *b)
{
	char text[SUPERVISOR_MESSAGE_MAX_BYTES];
	uint32_t taken[SUPERVISOR_MESSAGE_MAX_BYTES / 2];
	size_t n;

	while ((n = take_closing(b, text, taken)) > 0) {
		if (send(b->link, text, strlen(text),
			 MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			continue;
		/* Full: with the next one. */
		while (n)
			note_closing(b, taken[--n]);
		return;
	}
}

void backing_close(struct backing *b, uint32_t id)
{
	if (note_closing(b, id) == 0)
		tell_closing(b);
}

void backing_close_unused(struct backing *b,
			  bool (*used)(void *ctx, uint32_t id), void *ctx)
{
	for (uint32_t i = 0; i < SESSION_BACKINGS_MAX; i++) {
		uint32_t id = __atomic_load_n(&b->s->backing[i],
					      __ATOMIC_ACQUIRE);

		if (id && !used(ctx, id))
			note_closing(b, id);
	}
	tell_closing(b);
}
