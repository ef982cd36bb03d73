/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_backing.c - files registered over the link: answers, a supervisor that
 * is late, full or gone, and that nothing stays registered of which nobody
 * knows. The supervisor is a thread.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/kernel/backing.h"
#include "fs/supervisor/wire.h"

static struct {
	struct backing *b;
	struct session_area *area;
	int link[2];
	pthread_t thread;
	bool running;

	/* The supervisor's */
	_Atomic int answer; /* > 0: the first id, < 0: -errno */
	_Atomic unsigned late_ms;
	bool gone;	     /* ends instead of answering */
	unsigned registered; /* answered and taken */
	unsigned taken_back;
	char closed[4096];
	struct stat last_file;
} t;

static void nap(unsigned ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000,
				     .tv_nsec = ms % 1000 * 1000000},
		  NULL);
}

static void answer(int file, int fd)
{
	struct backing_answer a = {.id = t.answer};

	fstat(file, &t.last_file);
	close(file);
	nap(t.late_ms);
	if (t.answer > 0)
		t.answer++;
	if (send(fd, &a, sizeof(a), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		t.taken_back++;
	else
		t.registered += a.id > 0;
	close(fd);
}

static void *supervisor(void *arg)
{
	(void)arg;
	for (;;) {
		_Alignas(struct cmsghdr) char control[CMSG_SPACE(8)];
		char text[SUPERVISOR_MESSAGE_MAX_BYTES + 1];
		struct iovec iov = {text, sizeof(text) - 1};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(t.link[1], &msg, MSG_CMSG_CLOEXEC);
		struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
		int fds[2];

		if (n <= 0)
			return NULL;
		text[n] = 0;
		if (text[0] == MSG_BACKING_CLOSE) {
			strcat(t.closed, text + 1);
			continue;
		}
		if (!c)
			abort();
		memcpy(fds, CMSG_DATA(c), sizeof(fds));
		if (!t.gone) {
			answer(fds[0], fds[1]);
			continue;
		}
		close(fds[0]);
		close(fds[1]);
	}
}

static void run_supervisor(void)
{
	pthread_create(&t.thread, NULL, supervisor, NULL);
	t.running = true;
}

/* What it has counted is to be looked at after this. */
static void end_supervisor(void)
{
	if (!t.running)
		return;
	shutdown(t.link[0], SHUT_WR);
	pthread_join(t.thread, NULL);
	t.running = false;
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	t.answer = 7;
	t.area = mmap(NULL, sizeof(*t.area), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t.area == MAP_FAILED ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, t.link) < 0)
		return -1;
	return backing_new(t.link[0], t.area, &t.b);
}

static int teardown(void **state)
{
	(void)state;
	end_supervisor();
	backing_free(t.b);
	munmap(t.area, sizeof(*t.area));
	close(t.link[0]);
	close(t.link[1]);
	return 0;
}

static void registers_the_file_itself(void **state)
{
	uint32_t id = 0;
	struct stat st;

	(void)state;
	run_supervisor();
	assert_int_equal(backing_open(t.b, t.link[0], &id), 0);
	assert_int_equal(id, 7);
	assert_int_equal(backing_open(t.b, t.link[0], &id), 0);
	assert_int_equal(id, 8);
	backing_close(t.b, 7);
	backing_close(t.b, 8);
	end_supervisor();
	fstat(t.link[0], &st);
	assert_int_equal(t.last_file.st_ino, st.st_ino);
	assert_int_equal(t.registered, 2);
	assert_string_equal(t.closed, "7 8 ");
}

static void *one(void *arg)
{
	if (backing_open(t.b, t.link[0], arg) < 0)
		abort();
	return NULL;
}

/* Each gets its own answer. */
static void many_at_once(void **state)
{
	pthread_t thread[8];
	uint32_t id[8];
	unsigned seen = 0;

	(void)state;
	run_supervisor();
	for (int i = 0; i < 8; i++)
		pthread_create(&thread[i], NULL, one, &id[i]);
	for (int i = 0; i < 8; i++) {
		pthread_join(thread[i], NULL);
		seen |= 1u << (id[i] - 7);
	}
	assert_int_equal(seen, 0xff);
}

/* A supervisor that hangs costs one wait, and what comes late is undone. */
static void late_answers_are_taken_back(void **state)
{
	uint32_t id = 99;

	(void)state;
	t.late_ms = BACKING_WAIT_MS + 100;
	run_supervisor();
	assert_int_equal(backing_open(t.b, t.link[0], &id), -ETIMEDOUT);
	assert_int_equal(backing_open(t.b, t.link[0], &id), -EAGAIN);
	assert_int_equal(id, 99);
	end_supervisor();
	assert_int_equal(t.taken_back, 1);
	assert_int_equal(t.registered, 0);
}

static void refusals(void **state)
{
	uint32_t id = 99;

	(void)state;
	run_supervisor();
	t.answer = -EMFILE; /* once */
	assert_int_equal(backing_open(t.b, t.link[0], &id), -EMFILE);
	assert_int_equal(backing_open(t.b, t.link[0], &id), -EAGAIN);
	assert_int_equal(id, 99);
}

static void a_kernel_without_it_is_asked_once(void **state)
{
	uint32_t id = 99;

	(void)state;
	run_supervisor();
	t.answer = -EOPNOTSUPP;
	assert_int_equal(backing_open(t.b, t.link[0], &id), -EOPNOTSUPP);
	t.answer = 7;
	assert_int_equal(backing_open(t.b, t.link[0], &id), -EOPNOTSUPP);
	end_supervisor();
	assert_int_equal(t.registered, 0);
}

/* It ended, with the request taken or not: no need to wait. */
static void a_dead_supervisor(void **state)
{
	uint32_t id = 99;

	(void)state;
	t.gone = true;
	run_supervisor();
	assert_int_equal(backing_open(t.b, t.link[0], &id), -ECONNRESET);
	end_supervisor();
}

static bool is_even(void *ctx, uint32_t id)
{
	(void)ctx;
	return id % 2 == 0;
}

/* More than one message takes, and more than the link holds while the
 * supervisor is slow: none is forgotten. */
static void closes_what_nobody_uses(void **state)
{
	unsigned n = 0;
	char *at;

	(void)state;
	for (unsigned i = 0; i < 500; i++)
		t.area->backing[2 * i] = i + 1;
	backing_close_unused(t.b, is_even, NULL);
	run_supervisor();
	end_supervisor();
	for (char *p = t.closed; (at = strtok(p, " ")); p = NULL, n++)
		assert_int_equal(atoi(at) % 2, 1);
	assert_int_equal(n, 250);
}

static void a_full_link_is_told_later(void **state)
{
	unsigned i = 0, n = 0;

	(void)state;
	/* Until one is kept back; a message each. */
	for (; i < 400; i++)
		backing_close(t.b, 5);
	run_supervisor();
	nap(50);
	backing_close(t.b, 5);
	end_supervisor();
	for (char *p = t.closed; *p; p++)
		n += *p == '5';
	assert_int_equal(n, 401);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(registers_the_file_itself),
		T(many_at_once),
		T(late_answers_are_taken_back),
		T(refusals),
		T(a_kernel_without_it_is_asked_once),
		T(a_dead_supervisor),
		T(closes_what_nobody_uses),
		T(a_full_link_is_told_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
