/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.c - INIT kept and replayed; passthrough switched on.
 *
 * Where a worker may be killed, and what the next one finds:
 *
 *	before INIT was read	nothing kept: reads it itself
 *	read, not yet kept	it lies where it was read to: taken.c
 *	kept, reply not written	`init_answered` is 0: the reply to the replay
 *				goes to the kernel, which waits for it
 *	reply written, flag not	the same; the kernel says ENOENT (the number
 *				of a request is never used again): fine
 *	flag set		the reply is swallowed
 *
 * Rejected: to build the INIT reply here and tell libfuse by its private
 * struct what was agreed; the replay lets libfuse go through its own code.
 *
 * libfuse knows passthrough since 3.17 (FUSE_CAP_PASSTHROUGH, fuse_file_info.
 * backing_id). It needs two things, some bits in the reply to INIT and a number
 * in that to OPEN, and libfuse sends any bytes it is given; so both are set
 * here, with any libfuse, and there is one way to test. What else differs:
 *
 *	3.14	answers INIT with flags2 and max_stack_depth 0
 *	3.17	answers with FUSE_INIT_EXT and flags2 filled in, and sets the
 *		passthrough bits only for who asks by want_ext. Nobody does, and
 *		bits that are set twice are set: what it says is or-ed, not
 *		replaced. It would add want and want_ext up, so op_init, which
 *		knows `want` only, decides on its lower 32 bits as before; its
 *		io_uring, which would go past this channel, is one of them.
 *	both	reply to INIT with 64 bytes (24 to a kernel before 7.23, which
 *		is left as it is), take fuse_session_custom_io by a name that
 *		the header maps, and leave the buffer of
 *		fuse_session_receive_buf to free().
 */
#include "fs/kernel/channel.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "fs/kernel/opens.h"
#include "fs/kernel/point.h"
#include "fs/supervisor/wire.h"

/* Newer than the headers that Debian 12 has. */
#define NOTIFY_RESEND 7	   /* Linux 6.9 */
#define NOTIFY_INC_EPOCH 8 /* Linux 6.16 */
#define INIT2_PASSTHROUGH (1u << (37 - 32)) /* Linux 6.9 */
#define INIT2_HAS_RESEND (1u << (39 - 32))
#define OPEN_KEEP_CACHE (1u << 1)
#define OPEN_PASSTHROUGH (1u << 7) /* Linux 6.9; not with KEEP_CACHE */
/* 1: the cache's file system is an ordinary one. With 2 it could be an
 * overlay, but then nobody could put an overlay over the mount. */
#define STACK_DEPTH 1

#define INIT_REPLY_MAX_BYTES 256

/* Up to what we set; the kernel's is longer. */
struct init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth;
};
_Static_assert(offsetof(struct init_out, flags2) == 32 &&
		       offsetof(struct init_out, max_stack_depth) == 36,
	       "the kernel's interface");
#if FUSE_KERNEL_MINOR_VERSION >= 40 /* headers that know passthrough */
_Static_assert(offsetof(struct fuse_init_out, max_stack_depth) == 36 &&
		       FUSE_PASSTHROUGH == (uint64_t)INIT2_PASSTHROUGH << 32 &&
		       FUSE_HAS_RESEND == (uint64_t)INIT2_HAS_RESEND << 32 &&
		       FOPEN_PASSTHROUGH == OPEN_PASSTHROUGH &&
		       (int)FUSE_NOTIFY_RESEND == NOTIFY_RESEND &&
		       offsetof(struct fuse_open_out, backing_id) ==
			       offsetof(struct channel_open_out, backing_id),
	       "the kernel's interface");
#endif

static _Thread_local uint64_t last_unique;

static bool kernel_has(const struct session_area *s, uint32_t bit2)
{
	struct fuse_init_in in;

	if (s->init_bytes < sizeof(struct fuse_in_header) + sizeof(in))
		return false;
	memcpy(&in, s->init + sizeof(struct fuse_in_header), sizeof(in));
	return (in.flags & FUSE_INIT_EXT) && (in.flags2 & bit2);
}

static bool can_repeat(const struct session_area *s)
{
	return !getenv("STAGEFS_NO_RESEND") && kernel_has(s, INIT2_HAS_RESEND);
}

static void keep_init(struct channel *c, const void *msg, size_t n)
{
	struct session_area *s = c->session;

	/* Longer than any INIT yet: serve, but a successor has no replay. */
	if (n > sizeof(s->init))
		return;
	memcpy(s->init, msg, n);
	__atomic_store_n(&s->init_bytes, (uint32_t)n, __ATOMIC_RELEASE);
	c->repeats = can_repeat(s);
}

int channel_init(struct channel *c, struct session_area *session,
		 bool passthrough)
{
	const void *init;
	size_t bytes;
	int r;

	if (session->magic != SESSION_MAGIC ||
	    session->layout != SESSION_LAYOUT ||
	    session->init_bytes > SESSION_INIT_MAX_BYTES)
		return -EPROTO;
	*c = (struct channel){.session = session,
			      .passthrough = passthrough,
			      .repeats = can_repeat(session)};
	r = taken_init(&c->taken, session);
	if (r < 0)
		return r;
	init = taken_init_request(&c->taken, &bytes);
	if (init && !session->init_bytes)
		keep_init(c, init, bytes);
	c->replay = session->init_bytes > 0;
	return 0;
}

void channel_done(struct channel *c)
{
	taken_done(&c->taken);
}

static bool header_of(const void *msg, size_t n, struct fuse_in_header *ret)
{
	if (n < sizeof(*ret))
		return false;
	memcpy(ret, msg, sizeof(*ret));
	return true;
}

static ssize_t replay(struct channel *c, void *buf, size_t n)
{
	struct session_area *s = c->session;
	struct fuse_in_header in;

	c->replay = false;
	if (n < s->init_bytes || !header_of(s->init, s->init_bytes, &in)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(buf, s->init, s->init_bytes);
	c->init_unique = in.unique;
	return s->init_bytes;
}

ssize_t channel_read(struct channel *c, int fd, void *buf, size_t n)
{
	struct fuse_in_header in;
	ssize_t got;

	if (c->replay)
		return replay(c, buf, n);
	got = taken_again(&c->taken, fd, buf, n);
	if (got == 0 && c->repeats) {
		taken_touch(buf, n);
		got = read(fd, buf, n);
	} else if (got == 0) {
		got = taken_read(&c->taken, fd, buf, n);
	}
	if (got <= 0 || !header_of(buf, (size_t)got, &in))
		return got;
	last_unique = in.unique;
	if (in.opcode == FUSE_INIT) {
		keep_init(c, buf, (size_t)got);
		c->init_unique = in.unique;
	}
	return got;
}

uint64_t channel_request(void)
{
	return last_unique;
}

static size_t total(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* ---- the reply to INIT --------------------------------------------------- */

/* In the reply, as libfuse made it. False: it is too short for that. */
static bool switch_on(void *reply, size_t n)
{
	struct init_out out;
	uint8_t *body = (uint8_t *)reply + sizeof(struct fuse_out_header);

	if (n < sizeof(struct fuse_out_header) + sizeof(out))
		return false;
	memcpy(&out, body, sizeof(out));
	out.flags |= FUSE_INIT_EXT;
	out.flags2 |= INIT2_PASSTHROUGH;
	out.max_stack_depth = STACK_DEPTH;
	memcpy(body, &out, sizeof(out));
	return true;
}

static ssize_t send_init(struct channel *c, int fd, struct iovec *iov, int n)
{
	uint8_t reply[INIT_REPLY_MAX_BYTES];
	size_t bytes = total(iov, n), at = 0;

	if (!c->passthrough || !kernel_has(c->session, INIT2_PASSTHROUGH) ||
	    bytes > sizeof(reply))
		return writev(fd, iov, n);
	for (int i = 0; i < n; at += iov[i++].iov_len)
		memcpy(reply + at, iov[i].iov_base, iov[i].iov_len);
	if (switch_on(reply, bytes))
		__atomic_store_n(&c->session->passthrough, 1,
				 __ATOMIC_RELEASE);
	return write(fd, reply, bytes);
}

static ssize_t answer_init(struct channel *c, int fd, struct iovec *iov, int n)
{
	ssize_t sent = (ssize_t)total(iov, n);

	c->init_unique = 0;
	if (!__atomic_load_n(&c->session->init_answered, __ATOMIC_ACQUIRE)) {
		sent = send_init(c, fd, iov, n);
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
	ssize_t sent;

	/* Only the INIT itself can be in work while this is set. */
	if (c->init_unique && out->unique == c->init_unique)
		return answer_init(c, fd, iov, n);
	sent = writev(fd, iov, n);
	if (!c->repeats) {
		kernel_point("taken.answered");
		taken_answered(&c->taken, out->unique);
	}
	return sent;
}

/* ---- the reply to OPEN --------------------------------------------------- */

struct channel_open_out channel_open_out(const struct open_answer *a)
{
	return (struct channel_open_out){
		.fh = a->fh,
		/* An id's content never changes: its pages stay good. */
		.flags = a->backing_id ? OPEN_PASSTHROUGH : OPEN_KEEP_CACHE,
		.backing_id = (int32_t)a->backing_id};
}

int channel_answer_open(struct channel *c, int fd, uint64_t unique,
			const struct open_answer *a)
{
	struct {
		struct fuse_out_header out;
		struct channel_open_out open;
	} reply = {.out = {.len = sizeof(reply), .unique = unique},
		   .open = channel_open_out(a)};

	int r = write(fd, &reply, sizeof(reply)) < 0 ? -errno : 0;

	taken_answered(&c->taken, unique);
	return r;
}

/* ---- after a restart ----------------------------------------------------- */

static int notify(int fd, int32_t code)
{
	const struct fuse_out_header out = {.len = sizeof(out), .error = code};

	return write(fd, &out, sizeof(out)) == sizeof(out) ? 0 : -errno;
}

void channel_resume(struct channel *c, int fd)
{
	if (c->session->started < 2)
		return;
	if (c->repeats) {
		taken_forget(&c->taken);
		if (notify(fd, NOTIFY_RESEND) < 0)
			log_err("kernel", "requests are lost: %s",
				strerror(errno));
	}
	/* Without it names are looked up again when their time runs out. */
	notify(fd, NOTIFY_INC_EPOCH);
}
