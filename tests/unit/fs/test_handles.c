/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_handles.c - opens counted by inode, adoption after a restart, streams
 * closed with the last reference. The reader is a fake that counts.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fs/kernel/handles.h"

struct stream {
	uint64_t id;
};

static int streams_open; /* atomic */
static int open_error;

/* In place of the library's. */
int reader_open(struct reader *r, const struct version_ident *ident,
		struct stream **ret)
{
	(void)r;
	if (open_error)
		return open_error;
	*ret = calloc(1, sizeof(**ret));
	(*ret)->id = ident->id;
	__atomic_add_fetch(&streams_open, 1, __ATOMIC_RELAXED);
	return 0;
}

void reader_close(struct stream *s)
{
	__atomic_sub_fetch(&streams_open, 1, __ATOMIC_RELAXED);
	free(s);
}

static int ident(void *ctx, uint64_t id, struct version_ident *ret)
{
	(void)ctx;
	if (id >= 1000)
		return -ESTALE;
	*ret = (struct version_ident){.id = id,
				      .size_bytes = id * 100,
				      .block_bytes = 65536};
	return 0;
}

static int setup(void **state)
{
	open_error = 0;
	streams_open = 0;
	return handles_new(NULL, ident, NULL, (struct handles **)state);
}

static int teardown(void **state)
{
	handles_free(*state);
	return streams_open;
}

static void opens_of_one_inode_share(void **state)
{
	struct handles *t = *state;
	struct handle *a, *b;

	assert_int_equal(handles_open(t, 7), 0);
	assert_int_equal(handles_open(t, 7), 0);
	assert_int_equal(streams_open, 1);
	assert_int_equal(handles_get(t, 7, &a), 0);
	assert_int_equal(handles_get(t, 7, &b), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(a->size_bytes, 700);
	handle_put(a);
	handle_put(b);
	handles_close(t, 7);
	assert_int_equal(streams_open, 1);
	handles_close(t, 7);
	assert_int_equal(streams_open, 0);
	assert_int_equal(handles_count(t), 0);
}

static void a_request_keeps_the_stream(void **state)
{
	struct handles *t = *state;
	struct handle *h;

	assert_int_equal(handles_open(t, 7), 0);
	assert_int_equal(handles_get(t, 7, &h), 0);
	handles_close(t, 7);
	assert_int_equal(streams_open, 1);
	assert_int_equal(h->id, 7);
	handle_put(h);
	assert_int_equal(streams_open, 0);
}

/* A worker that follows a dead one: reads come without an open. */
static void adopted_until_a_release(void **state)
{
	struct handles *t = *state;
	struct handle *h;

	assert_int_equal(handles_get(t, 7, &h), 0);
	handle_put(h);
	assert_int_equal(streams_open, 1); /* stays pinned */
	assert_int_equal(handles_get(t, 7, &h), 0);
	handle_put(h);
	assert_int_equal(streams_open, 1);
	handles_close(t, 7);
	assert_int_equal(streams_open, 0);
	/* Another open of it still reads. */
	assert_int_equal(handles_get(t, 7, &h), 0);
	handle_put(h);
	handles_close(t, 7);
	assert_int_equal(streams_open, 0);
}

static void release_of_the_unknown(void **state)
{
	handles_close(*state, 7);
	assert_int_equal(handles_count(*state), 0);
}

static void errors_leave_nothing(void **state)
{
	struct handles *t = *state;
	struct handle *h = (void *)1;

	assert_int_equal(handles_open(t, 1000), -ESTALE);
	assert_int_equal(handles_get(t, 1000, &h), -ESTALE);
	assert_ptr_equal(h, (void *)1);
	open_error = -ENOMEM;
	assert_int_equal(handles_open(t, 7), -ENOMEM);
	assert_int_equal(handles_count(t), 0);
}

static void *storm(void *arg)
{
	struct handles *t = arg;
	unsigned seed = (unsigned)(uintptr_t)pthread_self();

	for (int i = 0; i < 20000; i++) {
		uint64_t id = (uint64_t)(rand_r(&seed) % 3);
		struct handle *h;

		if (handles_open(t, id) == 0 && handles_get(t, id, &h) == 0) {
			if (h->id != id)
				abort();
			handle_put(h);
		}
		handles_close(t, id);
	}
	return NULL;
}

static void many_threads(void **state)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, storm, *state);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(handles_count(*state), 0);
	assert_int_equal(streams_open, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(opens_of_one_inode_share), T(a_request_keeps_the_stream),
		T(adopted_until_a_release),  T(release_of_the_unknown),
		T(errors_leave_nothing),     T(many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
