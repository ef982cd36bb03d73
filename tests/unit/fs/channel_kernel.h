/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel_kernel.h - a kernel for tests of the channel: a socket pair that
 * keeps messages apart, as /dev/fuse does, and an area that outlives workers.
 */
#ifndef STAGEFS_TESTS_CHANNEL_KERNEL_H
#define STAGEFS_TESTS_CHANNEL_KERNEL_H

#include <errno.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/kernel/channel.h"
#include "fs/supervisor/wire.h"

#define RESENT (UINT64_C(1) << 63)
#define INIT_EXT (1u << 30)
#define INIT2_PASSTHROUGH (1u << 5)
#define INIT2_HAS_RESEND (1u << 7)

struct kernel_side {
	struct session_area *area;
	int ours, fd; /* the kernel's end, the channel's end */
	bool old;     /* cannot repeat requests */
};

struct init_msg {
	struct fuse_in_header in;
	struct fuse_init_in init;
};

static inline int setup(void **state)
{
	struct kernel_side *k = calloc(1, sizeof(*k));
	int pair[2];

	k->area = calloc(1, sizeof(*k->area));
	k->area->magic = SESSION_MAGIC;
	k->area->layout = SESSION_LAYOUT;
	k->area->started = 1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	k->ours = pair[0];
	k->fd = pair[1];
	*state = k;
	return 0;
}

static inline int teardown(void **state)
{
	struct kernel_side *k = *state;

	close(k->ours);
	close(k->fd);
	free(k->area);
	free(k);
	return 0;
}

static inline void kernel_sends(struct kernel_side *k, uint32_t opcode,
				uint64_t unique)
{
	struct init_msg m = {
		.in = {.len = sizeof(m), .opcode = opcode, .unique = unique},
		.init = {.major = 7,
			 .minor = 40,
			 .flags = INIT_EXT,
			 .flags2 = k->old ? 0 : INIT2_HAS_RESEND}};

	assert_int_equal(send(k->ours, &m, sizeof(m), 0), sizeof(m));
}

/* What the kernel got: its header; false if nothing is there. */
static inline bool kernel_got(struct kernel_side *k,
			      struct fuse_out_header *out)
{
	char buf[256];
	ssize_t n = recv(k->ours, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < (ssize_t)sizeof(*out))
		return false;
	memcpy(out, buf, sizeof(*out));
	return true;
}

static inline uint64_t take(struct channel *c, struct kernel_side *k,
			    uint32_t opcode)
{
	struct init_msg m;
	ssize_t n = channel_read(c, k->fd, &m, sizeof(m));

	assert_int_equal(n, sizeof(m));
	assert_int_equal(m.in.opcode, opcode);
	return m.in.unique;
}

static inline ssize_t reply(struct channel *c, struct kernel_side *k,
			    uint64_t unique)
{
	struct fuse_out_header out = {.unique = unique, .len = 24};
	char body[8] = "12345678";
	struct iovec iov[2] = {{&out, sizeof(out)}, {body, sizeof(body)}};

	return channel_writev(c, k->fd, iov, 2);
}

static inline void next_worker(struct channel *c, struct kernel_side *k)
{
	k->area->started++;
	assert_int_equal(channel_init(c, k->area, false), 0);
}

static inline void first_worker_keeps_init(void **state)
{
	struct kernel_side *k = *state;
	struct fuse_out_header out;
	struct channel c;

	assert_int_equal(channel_init(&c, k->area, false), 0);
	kernel_sends(k, FUSE_INIT, 2);
	assert_int_equal(take(&c, k, FUSE_INIT), 2);
	assert_int_equal(k->area->init_bytes, sizeof(struct init_msg));
	assert_int_equal(k->area->init_answered, 0);
	assert_int_equal(reply(&c, k, 2), 24);
	assert_true(kernel_got(k, &out));
	assert_int_equal(out.unique, 2);
	assert_int_equal(k->area->init_answered, 1);

	/* The first one has nothing to ask for again. */
	channel_resume(&c, k->fd);
	assert_false(kernel_got(k, &out));

	kernel_sends(k, FUSE_LOOKUP, 4);
	assert_int_equal(take(&c, k, FUSE_LOOKUP), 4);
	assert_int_equal(reply(&c, k, 4), 24);
	assert_true(kernel_got(k, &out));
	assert_int_equal(out.unique, 4);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
