/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_channel.c - INIT kept, replayed, its reply swallowed, and the replies
 * that libfuse does not know (DESIGN.md section 7).
 */
#include "channel_kernel.h"

#include "fs/kernel/opens.h"

static void later_worker_replays_and_swallows(void **state)
{
	struct kernel_side *k = *state;
	struct fuse_out_header out;
	struct channel c;

	first_worker_keeps_init(state);
	for (int i = 0; i < 3; i++) {
		next_worker(&c, k);
		kernel_sends(k, FUSE_GETATTR, 6);
		/* INIT comes before anything that the kernel has waiting. */
		assert_int_equal(take(&c, k, FUSE_INIT), 2);
		assert_int_equal(reply(&c, k, 2), 24);
		assert_false(kernel_got(k, &out));

		channel_resume(&c, k->fd);
		assert_true(kernel_got(k, &out));
		assert_int_equal(out.unique, 0);
		assert_int_equal(out.error, 7); /* FUSE_NOTIFY_RESEND */
		assert_int_equal(out.len, sizeof(out));
		assert_true(kernel_got(k, &out));
		assert_int_equal(out.error, 8); /* FUSE_NOTIFY_INC_EPOCH */

		assert_int_equal(take(&c, k, FUSE_GETATTR), 6);
		/* The same number again is no INIT any more. */
		assert_int_equal(reply(&c, k, 6), 24);
		assert_true(kernel_got(k, &out));
		assert_int_equal(out.unique, 6);
	}
}

static void repeated_requests_keep_their_number(void **state)
{
	struct kernel_side *k = *state;
	struct fuse_out_header out;
	struct channel c;

	first_worker_keeps_init(state);
	next_worker(&c, k);
	take(&c, k, FUSE_INIT);
	reply(&c, k, 2);
	kernel_sends(k, FUSE_READ, 10 | RESENT);
	assert_true(take(&c, k, FUSE_READ) == (10 | RESENT));
	reply(&c, k, 10 | RESENT);
	assert_true(kernel_got(k, &out));
	assert_true(out.unique == (10 | RESENT));
}

/* Killed between INIT kept and its reply: the kernel still waits for it. */
static void killed_before_the_reply(void **state)
{
	struct kernel_side *k = *state;
	struct fuse_out_header out;
	struct channel c;

	assert_int_equal(channel_init(&c, k->area, false), 0);
	kernel_sends(k, FUSE_INIT, 2);
	take(&c, k, FUSE_INIT);

	next_worker(&c, k);
	assert_int_equal(take(&c, k, FUSE_INIT), 2);
	assert_int_equal(reply(&c, k, 2), 24);
	assert_true(kernel_got(k, &out));
	assert_int_equal(out.unique, 2);
	assert_int_equal(k->area->init_answered, 1);
}

/* Killed between read(2) and the keeping of INIT: it lies in the area. */
static void killed_before_it_was_kept(void **state)
{
	struct kernel_side *k = *state;
	struct fuse_out_header out;
	struct channel c;

	assert_int_equal(channel_init(&c, k->area, false), 0);
	kernel_sends(k, FUSE_INIT, 2);
	take(&c, k, FUSE_INIT);
	k->area->init_bytes = 0;

	next_worker(&c, k);
	assert_true(c.replay);
	assert_true(c.repeats);
	assert_int_equal(take(&c, k, FUSE_INIT), 2);
	assert_int_equal(reply(&c, k, 2), 24);
	assert_true(kernel_got(k, &out));
	assert_int_equal(out.unique, 2);
}

/* ---- passthrough: bits that this libfuse may not know -------------------- */

/* INIT as a kernel with or without passthrough sends it. */
static void kernel_offers(struct kernel_side *k, uint32_t flags2)
{
	struct init_msg m = {.in = {.len = sizeof(m),
				    .opcode = FUSE_INIT,
				    .unique = 2},
			     .init = {.major = 7,
				      .minor = 40,
				      .flags = INIT_EXT | 1,
				      .flags2 = flags2}};

	assert_int_equal(send(k->ours, &m, sizeof(m), 0), sizeof(m));
}

/* What the kernel gets for an answer of libfuse, of this size. */
static void init_answered(struct channel *c, struct kernel_side *k,
			  const void *body, size_t n, void *ret)
{
	struct fuse_out_header out = {.unique = 2,
				      .len = (uint32_t)(sizeof(out) + n)};
	struct iovec iov[2] = {{&out, sizeof(out)},
			       {(void *)(uintptr_t)body, n}};
	uint8_t got[256];

	take(c, k, FUSE_INIT);
	assert_int_equal(channel_writev(c, k->fd, iov, 2), sizeof(out) + n);
	assert_int_equal(recv(k->ours, got, sizeof(got), MSG_DONTWAIT),
			 sizeof(out) + n);
	assert_memory_equal(got, &out, sizeof(out));
	memcpy(ret, got + sizeof(out), n);
}

/* As libfuse 3.14 answers: it knows nothing of flags2. */
static struct fuse_init_out init_reply(struct channel *c,
				       struct kernel_side *k)
{
	struct fuse_out_header out = {.unique = 2, .len = 16 + 64};
	struct fuse_init_out body = {.major = 7, .minor = 36, .flags = 9};
	struct iovec iov[2] = {{&out, sizeof(out)}, {&body, sizeof(body)}};
	struct {
		struct fuse_out_header out;
		struct fuse_init_out body;
	} got;

	assert_int_equal(sizeof(body), 64);
	take(c, k, FUSE_INIT);
	assert_int_equal(channel_writev(c, k->fd, iov, 2), 80);
	assert_int_equal(recv(k->ours, &got, sizeof(got), MSG_DONTWAIT), 80);
	assert_int_equal(got.out.len, 80);
	assert_int_equal(got.body.flags & 9, 9);
	assert_int_equal(got.body.minor, 36);
	return got.body;
}

static void passthrough_is_switched_on(void **state)
{
	struct kernel_side *k = *state;
	struct fuse_init_out got;
	uint32_t depth;
	struct channel c;

	assert_int_equal(channel_init(&c, k->area, true), 0);
	kernel_offers(k, INIT2_PASSTHROUGH | 1);
	got = init_reply(&c, k);
	memcpy(&depth, (char *)&got + 36, sizeof(depth));
	assert_int_equal(got.flags, INIT_EXT | 9);
	assert_int_equal(got.flags2, INIT2_PASSTHROUGH);
	assert_int_equal(depth, 1);
	assert_int_equal(k->area->passthrough, 1);
	/* The next worker goes on with it, whatever its own option says. */
	k->area->started++;
	assert_int_equal(channel_init(&c, k->area, false), 0);
	assert_int_equal(k->area->passthrough, 1);
}

/* As libfuse 3.17 and later answer: with flags2 of their own, perhaps with
 * the same bits already, and one day perhaps with more bytes. */
static void passthrough_with_a_newer_libfuse(void **state)
{
	const uint32_t theirs[] = {1u << 2, 1u << 2 | INIT2_PASSTHROUGH};
	const size_t bytes[] = {64, 80};
	struct kernel_side *k = *state;
	struct channel c;

	for (int i = 0; i < 4; i++) {
		uint8_t body[80], expected[80], got[80];
		struct fuse_init_out *out = (struct fuse_init_out *)body;
		uint32_t depth = i & 1;

		for (size_t b = 0; b < sizeof(body); b++)
			body[b] = (uint8_t)(b + 1);
		out->flags = INIT_EXT | 9;
		out->flags2 = theirs[i & 1];
		memcpy(body + 36, &depth, sizeof(depth));
		memcpy(expected, body, sizeof(body));
		out = (struct fuse_init_out *)expected;
		out->flags2 = 1u << 2 | INIT2_PASSTHROUGH;
		depth = 1;
		memcpy(expected + 36, &depth, sizeof(depth));

		memset(k->area, 0, sizeof(*k->area));
		k->area->magic = SESSION_MAGIC;
		k->area->layout = SESSION_LAYOUT;
		assert_int_equal(channel_init(&c, k->area, true), 0);
		kernel_offers(k, INIT2_PASSTHROUGH | 1u << 2);
		init_answered(&c, k, body, bytes[i / 2], got);
		assert_memory_equal(got, expected, bytes[i / 2]);
		assert_int_equal(k->area->passthrough, 1);
	}
}

/* The answer to a kernel before 7.23 has no room for it. */
static void passthrough_in_a_short_answer(void **state)
{
	struct kernel_side *k = *state;
	uint8_t body[24], got[24];
	struct channel c;

	memset(body, 7, sizeof(body));
	assert_int_equal(channel_init(&c, k->area, true), 0);
	kernel_offers(k, INIT2_PASSTHROUGH);
	init_answered(&c, k, body, sizeof(body), got);
	assert_memory_equal(got, body, sizeof(body));
	assert_int_equal(k->area->passthrough, 0);
}

static void passthrough_is_left_off(void **state)
{
	struct kernel_side *k = *state;
	struct fuse_init_out got;
	struct channel c;

	/* The option says off. */
	assert_int_equal(channel_init(&c, k->area, false), 0);
	kernel_offers(k, INIT2_PASSTHROUGH);
	got = init_reply(&c, k);
	assert_int_equal(got.flags, 9);
	assert_int_equal(got.flags2, 0);
	assert_int_equal(k->area->passthrough, 0);

	/* A kernel that has it not. */
	k->area->init_bytes = k->area->init_answered = 0;
	memset(k->area->landing[0].msg, 0, sizeof(struct fuse_in_header));
	assert_int_equal(channel_init(&c, k->area, true), 0);
	kernel_offers(k, 1);
	got = init_reply(&c, k);
	assert_int_equal(got.flags, 9);
	assert_int_equal(got.flags2, 0);
	assert_int_equal(k->area->passthrough, 0);
}

/* The 16 bytes of struct fuse_open_out; KEEP_CACHE is refused with it. */
static void answers_to_open(void **state)
{
	struct open_answer a = {.fh = 0x123456789abcdef0, .backing_id = 7};
	struct kernel_side *k = *state;
	struct {
		struct fuse_out_header out;
		struct fuse_open_out open;
	} got;
	struct channel c;

	assert_int_equal(channel_init(&c, k->area, false), 0);
	assert_int_equal(channel_answer_open(&c, k->fd, 10 | RESENT, &a), 0);
	assert_int_equal(recv(k->ours, &got, sizeof(got), MSG_DONTWAIT), 32);
	assert_int_equal(got.out.len, 32);
	assert_true(got.out.unique == (10 | RESENT));
	assert_int_equal(got.out.error, 0);
	assert_true(got.open.fh == a.fh);
	assert_int_equal(got.open.open_flags, 1 << 7);
	assert_int_equal(got.open.padding, 7);
	a.backing_id = 0;
	assert_int_equal(channel_answer_open(&c, k->fd, 12, &a), 0);
	assert_int_equal(recv(k->ours, &got, sizeof(got), MSG_DONTWAIT), 32);
	assert_int_equal(got.open.open_flags, FOPEN_KEEP_CACHE);
	assert_int_equal(got.open.padding, 0);
}

static void the_number_of_the_last_request(void **state)
{
	struct kernel_side *k = *state;
	struct channel c;

	first_worker_keeps_init(state);
	assert_int_equal(channel_init(&c, k->area, false), 0);
	take(&c, k, FUSE_INIT);
	kernel_sends(k, FUSE_OPEN, 20 | RESENT);
	take(&c, k, FUSE_OPEN);
	assert_true(channel_request() == (20 | RESENT));
}

static void a_strange_area_is_refused(void **state)
{
	struct kernel_side *k = *state;
	struct channel c;

	k->area->layout = SESSION_LAYOUT + 1;
	assert_int_equal(channel_init(&c, k->area, false), -EPROTO);
	k->area->layout = SESSION_LAYOUT;
	k->area->init_bytes = SESSION_INIT_MAX_BYTES + 1;
	assert_int_equal(channel_init(&c, k->area, false), -EPROTO);
	k->area->init_bytes = 0;
	k->area->magic = 0;
	assert_int_equal(channel_init(&c, k->area, false), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(first_worker_keeps_init),
		T(later_worker_replays_and_swallows),
		T(repeated_requests_keep_their_number),
		T(killed_before_the_reply),
		T(killed_before_it_was_kept),
		T(passthrough_is_switched_on),
		T(passthrough_with_a_newer_libfuse),
		T(passthrough_in_a_short_answer),
		T(passthrough_is_left_off),
		T(answers_to_open),
		T(the_number_of_the_last_request),
		T(a_strange_area_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
