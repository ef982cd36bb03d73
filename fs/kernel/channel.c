/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.c - INIT kept and replayed.
 *
 * Where a worker may be killed, and what the next one finds:
 *
 *	before INIT was read	nothing kept: reads it itself
 *	read, not yet kept	nothing kept; RESEND repeats it like any other
 *	kept, reply not written	`init_answered` is 0: the reply to the replay
 *				goes to the kernel, which waits for it
 *	reply written, flag not	the same; the kernel says ENOENT (the number
 *				of a request is never used again): fine
 *	flag set		the reply is swallowed
 *
 * Rejected: to build the INIT reply here and tell libfuse by its private
 * struct what was agreed; the replay lets libfuse go through its own code.
 */
#include "fs/kernel/channel.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/supervisor/wire.h"

/* Newer than the headers that Debian 12 has. */
#define NOTIFY_RESEND 7	   /* Linux 6.9 */
#define NOTIFY_INC_EPOCH 8 /* Linux 6.16 */
#define INIT2_HAS_RESEND (1u << (39 - 32))

int channel_init(struct channel *c, struct session_area *session)
{
	if (session->magic != SESSION_MAGIC ||
	    session->layout != SESSION_LAYOUT ||
	    session->init_bytes > SESSION_INIT_MAX_BYTES)
		return -EPROTO;
	*c = (struct channel){.session = session,
			      .replay = session->init_bytes > 0};
	return 0;
}

static bool is_init(const void *msg, size_t n)
{
	struct fuse_in_header in;

	if (n < sizeof(in))
		return false;
	memcpy(&in, msg, sizeof(in));
	return in.opcode == FUSE_INIT;
}

static void keep_init(struct session_area *s, const void *msg, size_t n)
{
	/* Longer than any INIT yet: serve, but a successor has no replay. */
	if (n > sizeof(s->init))
		return;
	memcpy(s->init, msg, n);
	__atomic_store_n(&s->init_bytes, (uint32_t)n, __ATOMIC_RELEASE);
}

static uint64_t unique_of(const void *msg)
{
	struct fuse_in_header in;

	memcpy(&in, msg, sizeof(in));
	return in.unique;
}

ssize_t channel_read(struct channel *c, int fd, void *buf, size_t n)
{
	struct session_area *s = c->session;
	ssize_t got;

	if (c->replay) {
		c->replay = false;
		if (n < s->init_bytes) {
			errno = EINVAL;
			return -1;
		}
		memcpy(buf, s->init, s->init_bytes);
		c->init_unique = unique_of(buf);
		return s->init_bytes;
	}
	got = read(fd, buf, n);
	if (got > 0 && is_init(buf, (size_t)got)) {
		keep_init(s, buf, (size_t)got);
		c->init_unique = unique_of(buf);
	}
	return got;
}

static size_t total(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* The reply to INIT; the place where bits that libfuse does not know will be
 * set (passthrough). */
static ssize_t answer_init(struct channel *c, int fd, struct iovec *iov, int n)
{
	ssize_t sent = (ssize_t)total(iov, n);

	c->init_unique = 0;
	if (!__atomic_load_n(&c->session->init_answered, __ATOMIC_ACQUIRE)) {
		sent = writev(fd, iov, n);
		if (sent < 0 && errno == ENOENT)
			sent = (ssize_t)total(iov, n);
		if (sent > 0)
			__atomic_store_n(&c->session->init_answered, 1,
					 __ATOMIC_RELEASE);
	}
	return sent;
}

ssize_t channel_writev(struct channel *c, int fd, struct iovec *iov, int n)
{
	const struct fuse_out_header *out = iov[0].iov_base;

	/* Only the INIT itself can be in work while this is set. */
	if (c->init_unique && out->unique == c->init_unique)
		return answer_init(c, fd, iov, n);
	return writev(fd, iov, n);
}

static int notify(int fd, int32_t code)
{
	const struct fuse_out_header out = {.len = sizeof(out), .error = code};

	return write(fd, &out, sizeof(out)) == sizeof(out) ? 0 : -errno;
}

bool channel_can_repeat(const struct channel *c)
{
	const struct session_area *s = c->session;
	struct fuse_init_in in;

	if (getenv("STAGEFS_NO_RESEND") ||
	    s->init_bytes < sizeof(struct fuse_in_header) + sizeof(in))
		return false;
	memcpy(&in, s->init + sizeof(struct fuse_in_header), sizeof(in));
	return (in.flags & FUSE_INIT_EXT) && (in.flags2 & INIT2_HAS_RESEND);
}

int channel_resume(struct channel *c, int fd)
{
	if (c->session->started < 2)
		return 0;
	if (getenv("STAGEFS_NO_RESEND"))
		return -EOPNOTSUPP;
	if (notify(fd, NOTIFY_RESEND) < 0)
		return -EOPNOTSUPP;
	/* Without it names are looked up again when their time runs out. */
	notify(fd, NOTIFY_INC_EPOCH);
	return 0;
}
