/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop.c - the request threads: a stop loses no request and waits for
 * those at work, an umount and an error end all threads, and a handler that
 * hangs is seen (DESIGN.md section 4). The kernel is a socket pair.
 */
#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/pulse.h"
#include "fs/kernel/loop.h"

#define THREADS 4

struct kernel_side {
	struct fuse_session *session;
	struct loop *loop;
	int ours, fd;
	int read_error; /* atomic: what the next read gives */
	unsigned taken; /* atomic: requests, but INIT */
	unsigned in_handler; /* atomic */
	bool hold;	     /* atomic: handlers wait */
	pthread_t runner;
	int result;
};

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct kernel_side *k = fuse_req_userdata(req);

	(void)ino, (void)fi;
	__atomic_add_fetch(&k->taken, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&k->in_handler, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&k->hold, __ATOMIC_ACQUIRE))
		nap();
	fuse_reply_err(req, ENOENT);
	__atomic_sub_fetch(&k->in_handler, 1, __ATOMIC_RELAXED);
}

static ssize_t io_read(int fd, void *buf, size_t n, void *userdata)
{
	struct kernel_side *k = userdata;
	int error = __atomic_load_n(&k->read_error, __ATOMIC_ACQUIRE);

	if (error) {
		errno = error;
		return -1;
	}
	return read(fd, buf, n);
}

/* Replies go nowhere. */
static ssize_t io_writev(int fd, struct iovec *iov, int n, void *userdata)
{
	ssize_t sum = 0;

	(void)fd, (void)userdata;
	for (int i = 0; i < n; i++)
		sum += (ssize_t)iov[i].iov_len;
	return sum;
}

static void ask(struct kernel_side *k, uint32_t opcode, uint64_t unique)
{
	struct {
		struct fuse_in_header in;
		union {
			struct fuse_init_in init;
			struct fuse_getattr_in getattr;
		} arg;
	} m = {.in = {.opcode = opcode, .unique = unique, .nodeid = 1}};

	m.in.len = sizeof(m.in) + (opcode == FUSE_INIT
					   ? sizeof(m.arg.init)
					   : sizeof(m.arg.getattr));
	if (opcode == FUSE_INIT) {
		m.arg.init.major = 7;
		m.arg.init.minor = 36;
	}
	assert_int_equal(send(k->ours, &m, m.in.len, 0), m.in.len);
}

static int setup(void **state)
{
	static const struct fuse_lowlevel_ops ops = {.getattr = on_getattr};
	static const struct fuse_custom_io io = {.read = io_read,
						 .writev = io_writev};
	struct kernel_side *k = calloc(1, sizeof(*k));
	char *argv[] = {(char[]){"test"}, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_buf buf = {0};
	int pair[2];

	*state = k;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	k->ours = pair[0];
	k->fd = pair[1];
	k->session = fuse_session_new(&args, &ops, sizeof(ops), k);
	fuse_opt_free_args(&args);
	fuse_session_custom_io(k->session, &io, k->fd);
	ask(k, FUSE_INIT, 1);
	if (fuse_session_receive_buf(k->session, &buf) <= 0)
		return -1;
	fuse_session_process_buf(k->session, &buf);
	free(buf.mem);
	return loop_new(k->session, THREADS, &k->loop);
}

static int teardown(void **state)
{
	struct kernel_side *k = *state;

	loop_free(k->loop);
	fuse_session_destroy(k->session); /* closes k->fd */
	close(k->ours);
	free(k);
	return 0;
}

static void *run(void *arg)
{
	struct kernel_side *k = arg;

	k->result = loop_run(k->loop);
	return NULL;
}

static void start(struct kernel_side *k)
{
	k->result = 1;
	assert_int_equal(pthread_create(&k->runner, NULL, run, k), 0);
}

static int end(struct kernel_side *k)
{
	pthread_join(k->runner, NULL);
	return k->result;
}

static unsigned left_in_queue(struct kernel_side *k)
{
	char buf[512];
	unsigned n = 0;

	while (recv(k->fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		n++;
	return n;
}

static void test_stop_while_all_read(void **state)
{
	struct kernel_side *k = *state;

	start(k);
	nap();
	loop_stop(k->loop);
	assert_int_equal(end(k), 0);
}

static void test_stop_before_run(void **state)
{
	struct kernel_side *k = *state;

	loop_stop(k->loop);
	ask(k, FUSE_GETATTR, 2);
	start(k);
	assert_int_equal(end(k), 0);
	assert_int_equal(k->taken + left_in_queue(k), 1);
}

/* What the loop took was handled, what it did not take is still there. */
static void test_stop_loses_nothing(void **state)
{
	struct kernel_side *k = *state;
	unsigned sent = 0, stopped_early = 0;

	for (int round = 0; round < 200; round++) {
		start(k);
		for (int i = 0; i < 40; i++) {
			ask(k, FUSE_GETATTR, ++sent + 1);
			while (i == 0 && __atomic_load_n(&k->taken,
							 __ATOMIC_ACQUIRE) <
						 sent)
				;
		}
		loop_stop(k->loop);
		assert_int_equal(end(k), 0);
		assert_int_equal(k->in_handler, 0);
		stopped_early += k->taken < sent;
		assert_int_equal(k->taken + left_in_queue(k), sent);
		sent = k->taken;
		loop_free(k->loop);
		assert_int_equal(loop_new(k->session, THREADS, &k->loop), 0);
	}
	assert_true(stopped_early > 0);
}

static void test_stop_waits_for_handlers(void **state)
{
	struct kernel_side *k = *state;

	k->hold = true;
	start(k);
	ask(k, FUSE_GETATTR, 2);
	while (!__atomic_load_n(&k->in_handler, __ATOMIC_ACQUIRE))
		nap();
	loop_stop(k->loop);
	for (int i = 0; i < 20; i++)
		nap();
	assert_int_equal(__atomic_load_n(&k->result, __ATOMIC_ACQUIRE), 1);
	__atomic_store_n(&k->hold, false, __ATOMIC_RELEASE);
	assert_int_equal(end(k), 0);
	assert_int_equal(k->in_handler, 0);
}

static void test_hanging_handler_is_seen(void **state)
{
	struct kernel_side *k = *state;
	struct pulse_stuck stuck;

	pulse_set_limit(20 * NS_PER_MS);
	start(k);
	k->hold = true;
	ask(k, FUSE_GETATTR, 2);
	while (!pulse_find_stuck(&stuck))
		nap();
	assert_string_equal(stuck.name, "fuse");
	assert_false(stuck.on_lock);
	/* Threads that read are not hung, however long it takes. */
	__atomic_store_n(&k->hold, false, __ATOMIC_RELEASE);
	while (pulse_find_stuck(&stuck))
		nap();
	for (int i = 0; i < 20; i++) {
		nap();
		assert_false(pulse_find_stuck(&stuck));
	}
	pulse_set_limit(UINT64_MAX / 2);
	loop_stop(k->loop);
	assert_int_equal(end(k), 0);
}

static void test_umount_ends_all(void **state)
{
	struct kernel_side *k = *state;

	k->read_error = ENODEV;
	start(k);
	assert_int_equal(end(k), 0);
	assert_true(fuse_session_exited(k->session));
}

/* One thread sees it, the others are reading. */
static void test_error_ends_all(void **state)
{
	struct kernel_side *k = *state;

	start(k);
	for (int i = 0; i < 5; i++)
		nap();
	__atomic_store_n(&k->read_error, EIO, __ATOMIC_RELEASE);
	ask(k, FUSE_GETATTR, 2);
	assert_int_equal(end(k), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_stop_while_all_read),
		T(test_stop_before_run),
		T(test_stop_loses_nothing),
		T(test_stop_waits_for_handlers),
		T(test_hanging_handler_is_seen),
		T(test_umount_ends_all),
		T(test_error_ends_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
