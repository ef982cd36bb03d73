/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_link.c - the worker's end of the link: pings, the ways to the end, a
 * refused upgrade (DESIGN.md section 4). The supervisor is this test.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/link.h"
#include "fs/supervisor/wire.h"

struct both {
	struct link *link;
	int ours, theirs;
	bool well;	/* atomic */
	unsigned ended; /* atomic: calls of end() */
};

static bool is_well(void *ctx)
{
	struct both *b = ctx;

	return __atomic_load_n(&b->well, __ATOMIC_ACQUIRE);
}

static void on_end(void *ctx)
{
	struct both *b = ctx;

	__atomic_add_fetch(&b->ended, 1, __ATOMIC_RELEASE);
}

static int setup(void **state)
{
	struct both *b = calloc(1, sizeof(*b));
	struct link_config cfg = {.well = is_well, .end = on_end, .ctx = b};
	int pair[2];

	*state = b;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	b->ours = pair[0];
	b->theirs = cfg.fd = pair[1];
	b->well = true;
	return link_new(&cfg, &b->link);
}

static int teardown(void **state)
{
	struct both *b = *state;

	link_free(b->link);
	if (b->ours >= 0)
		close(b->ours);
	close(b->theirs);
	free(b);
	return 0;
}

static void say(struct both *b, char message, const char *text)
{
	char line[64];
	size_t n = strlen(text);

	line[0] = message;
	memcpy(line + 1, text, n);
	assert_int_equal(send(b->ours, line, n + 1, 0), n + 1);
}

/* Waits for it. */
static char hear(struct both *b)
{
	char line[64];

	return recv(b->ours, line, sizeof(line), 0) > 0 ? line[0] : 0;
}

static void await_end(struct both *b)
{
	while (!__atomic_load_n(&b->ended, __ATOMIC_ACQUIRE))
		usleep(1000);
}

static void test_ping(void **state)
{
	struct both *b = *state;

	say(b, MSG_PING, "");
	assert_int_equal(hear(b), MSG_PONG);
	/* One that hangs says nothing; once it goes on it answers again. */
	__atomic_store_n(&b->well, false, __ATOMIC_RELEASE);
	say(b, MSG_PING, "");
	usleep(50000);
	__atomic_store_n(&b->well, true, __ATOMIC_RELEASE);
	say(b, MSG_PING, "");
	assert_int_equal(hear(b), MSG_PONG);
	assert_int_equal(recv(b->ours, &(char){0}, 1, MSG_DONTWAIT), -1);
}

static void test_mounted(void **state)
{
	struct both *b = *state;

	say(b, MSG_MOUNTED, "");
	assert_int_equal(link_await_mounted(b->link), 0);
	assert_int_equal(link_ended(b->link), LINK_ON);
}

static void test_end_before_mounted(void **state)
{
	struct both *b = *state;

	say(b, MSG_STOP, "");
	assert_int_equal(link_await_mounted(b->link), -ECONNRESET);
	assert_int_equal(link_ended(b->link), LINK_STOP);
}

/* The first way to the end counts. */
static void test_drain(void **state)
{
	struct both *b = *state;

	say(b, MSG_DRAIN, "");
	await_end(b);
	say(b, MSG_STOP, "");
	say(b, MSG_PING, "");
	assert_int_equal(hear(b), MSG_PONG);
	assert_int_equal(link_ended(b->link), LINK_DRAIN);
	assert_int_equal(b->ended, 1);
}

static void test_supervisor_dies(void **state)
{
	struct both *b = *state;

	close(b->ours);
	b->ours = -1;
	await_end(b);
	assert_int_equal(link_ended(b->link), LINK_GONE);
	assert_int_equal(link_await_mounted(b->link), -ECONNRESET);
}

static void *refuse(void *arg)
{
	struct both *b = arg;

	if (hear(b) == MSG_UPGRADE)
		say(b, MSG_REFUSED, "no such file");
	if (hear(b) == MSG_UPGRADE)
		say(b, MSG_DRAIN, "");
	return NULL;
}

static void test_upgrade(void **state)
{
	struct both *b = *state;
	struct err e = {""};
	pthread_t supervisor;

	pthread_create(&supervisor, NULL, refuse, b);
	assert_int_equal(link_upgrade(b->link, &e), -EREMOTEIO);
	assert_string_equal(e.text, "no such file");
	assert_int_equal(link_upgrade(b->link, &e), 0);
	assert_int_equal(link_ended(b->link), LINK_DRAIN);
	pthread_join(supervisor, NULL);
	await_end(b);
}

static void *die(void *arg)
{
	struct both *b = arg;

	hear(b);
	close(b->ours);
	b->ours = -1;
	return NULL;
}

static void test_upgrade_of_a_dead_supervisor(void **state)
{
	struct both *b = *state;
	struct err e = {""};
	pthread_t supervisor;

	pthread_create(&supervisor, NULL, die, b);
	assert_int_equal(link_upgrade(b->link, &e), -ECONNRESET);
	pthread_join(supervisor, NULL);
	await_end(b);
}

/* Garbage is no reason to end. */
static void test_unknown_message(void **state)
{
	struct both *b = *state;

	say(b, '?', "what");
	say(b, MSG_PING, "");
	assert_int_equal(hear(b), MSG_PONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_ping),
		T(test_mounted),
		T(test_end_before_mounted),
		T(test_drain),
		T(test_supervisor_dies),
		T(test_upgrade),
		T(test_upgrade_of_a_dead_supervisor),
		T(test_unknown_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
