/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_taken.c - a kernel that cannot repeat requests: what a worker finds
 * that follows one killed at any step (fs/kernel/taken.c).
 */
#include "channel_kernel.h"

#include "fs/kernel/opens.h"
#include "fs/kernel/point.h"

static void old_kernel(void **state, struct channel *c)
{
	struct kernel_side *k = *state;

	k->old = true;
	first_worker_keeps_init(state);
	assert_int_equal(channel_init(c, k->area, false), 0);
	take(c, k, FUSE_INIT);
	reply(c, k, 2);
	assert_false(c->repeats);
}

/* The next worker, up to where its threads start. */
static void old_kernel_again(struct kernel_side *k, struct channel *c)
{
	struct fuse_out_header out;

	channel_done(c);
	next_worker(c, k);
	take(c, k, FUSE_INIT);
	reply(c, k, 2);
	channel_resume(c, k->fd);
	assert_true(kernel_got(k, &out)); /* of which it knows nothing */
	assert_int_equal(out.error, 8);
	assert_false(kernel_got(k, &out));
}

static void what_was_taken_comes_again(void **state)
{
	struct kernel_side *k = *state;
	bool seen[3] = {false};
	struct fuse_out_header out;
	struct channel c;

	old_kernel(state, &c);
	for (unsigned i = 0; i < 4; i++) {
		kernel_sends(k, FUSE_READ, 10 + 2 * i);
		take(&c, k, FUSE_READ);
	}
	reply(&c, k, 16); /* one of four has its answer */
	assert_true(kernel_got(k, &out));
	/* These want none. */
	kernel_sends(k, FUSE_FORGET, 30);
	take(&c, k, FUSE_FORGET);
	kernel_sends(k, FUSE_INTERRUPT, 11);
	take(&c, k, FUSE_INTERRUPT);

	for (int deaths = 0; deaths < 3; deaths++) {
		old_kernel_again(k, &c);
		kernel_sends(k, FUSE_GETATTR, 100 + 2 * (unsigned)deaths);
		memset(seen, 0, sizeof(seen));
		for (int i = 0; i < 3; i++)
			seen[(take(&c, k, FUSE_READ) - 10) / 2] = true;
		assert_true(seen[0] && seen[1] && seen[2]);
		/* Then what the kernel has. */
		take(&c, k, FUSE_GETATTR);
		reply(&c, k, 100 + 2 * (unsigned)deaths);
		assert_true(kernel_got(k, &out));
	}
	for (unsigned i = 0; i < 3; i++) {
		reply(&c, k, 10 + 2 * i);
		assert_true(kernel_got(k, &out));
	}
	old_kernel_again(k, &c);
	kernel_sends(k, FUSE_GETATTR, 200);
	take(&c, k, FUSE_GETATTR);
	channel_done(&c);
}

/* An OPEN whose answer is written by number, before the others come again. */
static void an_open_answered_on_the_way(void **state)
{
	const struct open_answer a = {.fh = 1};
	struct kernel_side *k = *state;
	struct fuse_out_header out;
	struct channel c;

	old_kernel(state, &c);
	kernel_sends(k, FUSE_OPEN, 10);
	take(&c, k, FUSE_OPEN);
	old_kernel_again(k, &c);
	assert_int_equal(channel_answer_open(&c, k->fd, 10, &a), 0);
	assert_true(kernel_got(k, &out));
	kernel_sends(k, FUSE_GETATTR, 12);
	take(&c, k, FUSE_GETATTR);
	channel_done(&c);
}

static void more_than_there_is_room_for(void **state)
{
	struct kernel_side *k = *state;
	struct fuse_out_header out;
	char buf[1024] = {0};
	struct channel c;
	const struct fuse_in_header in = {
		.len = sizeof(buf), .opcode = FUSE_SETXATTR, .unique = 10};

	/* A long one cannot be done again. */
	old_kernel(state, &c);
	memcpy(buf, &in, sizeof(in));
	assert_int_equal(send(k->ours, buf, sizeof(buf), 0), sizeof(buf));
	assert_int_equal(channel_read(&c, k->fd, buf, sizeof(buf)),
			 sizeof(buf));
	old_kernel_again(k, &c);
	kernel_sends(k, FUSE_GETATTR, 12);
	take(&c, k, FUSE_GETATTR);
	assert_true(kernel_got(k, &out));
	assert_true(out.unique == 10);
	assert_int_equal(out.error, -EIO);

	/* A full table: no request waits that would be lost. */
	for (unsigned i = 0; i < SESSION_TAKEN_MAX; i++)
		if (!k->area->taken[i].unique)
			k->area->taken[i].unique = 1000000;
	kernel_sends(k, FUSE_READ, 14);
	kernel_sends(k, FUSE_FORGET, 16);
	take(&c, k, FUSE_FORGET);
	assert_true(kernel_got(k, &out));
	assert_true(out.unique == 14);
	assert_int_equal(out.error, -ETIMEDOUT);
	channel_done(&c);
}

/* ---- killed at each step ---- */

static jmp_buf killed;
static const char *kill_at;

static void killer(const char *name)
{
	if (kill_at && strcmp(name, kill_at) == 0) {
		kill_at = NULL;
		longjmp(killed, 1);
	}
}

static void killed_while_taking(void **state)
{
	static const char *const step[] = {"taken.landed", "taken.filled",
					   "taken.kept", "taken.answered"};
	struct kernel_side *k = *state;
	struct fuse_out_header out;
	struct channel c;

	old_kernel(state, &c);
	kernel_test_point = killer;
	for (unsigned i = 0; i < sizeof(step) / sizeof(*step); i++) {
		uint64_t unique = 10 + 2 * i;

		kill_at = step[i];
		kernel_sends(k, FUSE_READ, unique);
		if (setjmp(killed) == 0) {
			take(&c, k, FUSE_READ);
			reply(&c, k, unique);
			fail_msg("%s was not passed", step[i]);
		}
		while (kernel_got(k, &out))
			;
		old_kernel_again(k, &c);
		/* Once, and not again. */
		assert_true(take(&c, k, FUSE_READ) == unique);
		reply(&c, k, unique);
		assert_true(kernel_got(k, &out));
		old_kernel_again(k, &c);
		kernel_sends(k, FUSE_GETATTR, 100 + 2 * i);
		take(&c, k, FUSE_GETATTR);
		reply(&c, k, 100 + 2 * i);
		assert_true(kernel_got(k, &out));
	}
	kernel_test_point = NULL;
	channel_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_was_taken_comes_again),
		T(an_open_answered_on_the_way),
		T(more_than_there_is_room_for),
		T(killed_while_taking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
