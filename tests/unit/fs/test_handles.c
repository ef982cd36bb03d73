/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_handles.c - opens by inode, one mode at a time, taken over after a
 * restart, streams closed with the last reference. Reader, versions and the
 * supervisor are fakes that count.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#include "fs/kernel/backing.h"
#include "fs/kernel/handles.h"
#include "fs/supervisor/wire.h"

/* ---- in place of the libraries' ------------------------------------------ */

struct stream {
	uint64_t id;
};

struct version {
	int unused;
};

static int streams_open; /* atomic */
static int open_error;
static bool complete; /* atomic: all versions are, or none */
static int backing_error;
static unsigned slow_ms;
static uint32_t next_backing; /* atomic: also how many were registered */
static int registered;	      /* atomic: now */
static uint32_t closed_last;
static struct version any_version;

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

struct version *stream_version(struct stream *s)
{
	(void)s;
	return &any_version;
}

void version_touch(struct version *v)
{
	(void)v;
}

bool version_complete(struct version *v)
{
	(void)v;
	return __atomic_load_n(&complete, __ATOMIC_RELAXED);
}

int version_backing_fd(struct version *v)
{
	(void)v;
	return __atomic_load_n(&complete, __ATOMIC_RELAXED) ? 0 : -EAGAIN;
}

int backing_open(struct backing *b, int fd, uint32_t *ret_id)
{
	(void)b, (void)fd;
	if (slow_ms)
		nanosleep(&(struct timespec){.tv_nsec = slow_ms * 1000000},
			  NULL);
	if (backing_error)
		return backing_error;
	*ret_id = __atomic_add_fetch(&next_backing, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&registered, 1, __ATOMIC_RELAXED);
	return 0;
}

void backing_close(struct backing *b, uint32_t id)
{
	(void)b;
	__atomic_store_n(&closed_last, id, __ATOMIC_RELAXED);
	__atomic_sub_fetch(&registered, 1, __ATOMIC_RELAXED);
}

/* What the supervisor's table holds. */
void backing_close_unused(struct backing *b,
			  bool (*used)(void *ctx, uint32_t id), void *ctx)
{
	struct session_area *s = (struct session_area *)(void *)b;

	for (unsigned i = 0; i < SESSION_BACKINGS_MAX && s->backing[i]; i++)
		if (!used(ctx, s->backing[i]))
			backing_close(b, s->backing[i]);
}

/* ---- the table ----------------------------------------------------------- */

static struct session_area *area;

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

static struct handles *start(void)
{
	const struct handles_config cfg = {
		.ident = ident,
		.session = area,
		.backing = (struct backing *)(void *)area,
		.passthrough = true};
	struct handles *t;

	assert_int_equal(handles_new(&cfg, &t), 0);
	return t;
}

static int setup(void **state)
{
	open_error = backing_error = 0;
	slow_ms = 0;
	complete = false;
	streams_open = registered = 0;
	next_backing = 0;
	area = mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return -1;
	area->passthrough = 1;
	*state = start();
	return 0;
}

static int teardown(void **state)
{
	handles_free(*state);
	munmap(area, sizeof(*area));
	return streams_open;
}

static uint64_t images(struct handles *t)
{
	struct handles_stats s;

	handles_stats(t, &s);
	return s.images;
}

static struct open_answer open_ok(struct handles *t, uint64_t id)
{
	struct open_answer a;

	assert_int_equal(handles_open(t, id, 2, &a), 0);
	handles_answered(t, a.fh);
	return a;
}

static void opens_of_one_inode_share(void **state)
{
	struct handles *t = *state;
	struct open_answer x = open_ok(t, 7), y = open_ok(t, 7);
	struct handle *a, *b;

	assert_true(x.fh != y.fh);
	assert_int_equal(streams_open, 1);
	assert_int_equal(handles_get(t, 7, &a), 0);
	assert_int_equal(handles_get(t, 7, &b), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(a->size_bytes, 700);
	handle_put(a);
	handle_put(b);
	handles_close(t, x.fh);
	assert_int_equal(streams_open, 1);
	handles_close(t, y.fh);
	assert_int_equal(streams_open, 0);
	assert_int_equal(images(t), 0);
}

static void a_request_keeps_the_stream(void **state)
{
	struct handles *t = *state;
	struct open_answer a = open_ok(t, 7);
	struct handle *h;

	assert_int_equal(handles_get(t, 7, &h), 0);
	handles_close(t, a.fh);
	assert_int_equal(streams_open, 1);
	assert_int_equal(h->id, 7);
	handle_put(h);
	assert_int_equal(streams_open, 0);
}

/* The rule of fs/fuse/iomode.c: never two modes, never two backing files. */
static void the_first_open_chooses(void **state)
{
	struct handles *t = *state;
	struct open_answer a = open_ok(t, 7), b, c;

	assert_int_equal(a.backing_id, 0);
	complete = true; /* while it is open */
	b = open_ok(t, 7);
	assert_int_equal(b.backing_id, 0);
	handles_close(t, a.fh);
	c = open_ok(t, 7);
	assert_int_equal(c.backing_id, 0);
	handles_close(t, b.fh);
	handles_close(t, c.fh);

	a = open_ok(t, 7);
	assert_int_equal(a.backing_id, 1);
	b = open_ok(t, 7);
	assert_int_equal(b.backing_id, 1);
	complete = false; /* a block was found bad (C7, R1) */
	assert_int_equal(handles_open(t, 7, 3, &c), -ETIMEDOUT);
	complete = true; /* it is mended */
	c = open_ok(t, 7);
	assert_int_equal(c.backing_id, 1);
	handles_close(t, c.fh);
	complete = false;
	handles_close(t, a.fh);
	assert_int_equal(registered, 1);
	handles_close(t, b.fh);
	assert_int_equal(registered, 0);
	a = open_ok(t, 7);
	assert_int_equal(a.backing_id, 0);
	handles_close(t, a.fh);
}

static void without_the_supervisor(void **state)
{
	struct handles *t = *state;
	struct open_answer a;

	complete = true;
	backing_error = -ETIMEDOUT;
	a = open_ok(t, 7);
	assert_int_equal(a.backing_id, 0);
	backing_error = 0;
	a = open_ok(t, 8);
	assert_int_equal(a.backing_id, 1);
	/* The kernel has not said that it can. */
	area->passthrough = 0;
	a = open_ok(t, 9);
	assert_int_equal(a.backing_id, 0);
	assert_int_equal(images(t), 3);
}

/* C3, R1: the next worker knows every open, its mode and its file. */
static void taken_over(void **state)
{
	struct open_answer a[3], b, c;
	struct handles *t = *state;
	struct handle *h;

	complete = true;
	a[0] = open_ok(t, 7);
	a[1] = open_ok(t, 7);
	complete = false;
	a[2] = open_ok(t, 8);
	/* Registered 1, and 5 for an open that never was. */
	area->backing[0] = 1;
	area->backing[1] = 5;
	registered = 2;
	handles_free(t);
	assert_int_equal(streams_open, 0);

	*state = t = start();
	assert_int_equal(streams_open, 2); /* pinned again */
	assert_int_equal(images(t), 2);
	assert_int_equal(registered, 1);
	assert_int_equal(closed_last, 5);
	assert_int_equal(handles_get(t, 8, &h), 0);
	assert_int_equal(h->size_bytes, 800);
	handle_put(h);
	complete = true;
	b = open_ok(t, 7);
	assert_int_equal(b.backing_id, 1);
	c = open_ok(t, 8);
	assert_int_equal(c.backing_id, 0);
	handles_close(t, a[0].fh);
	handles_close(t, a[0].fh); /* repeated: counts once */
	handles_close(t, a[1].fh);
	assert_int_equal(registered, 1);
	handles_close(t, b.fh);
	assert_int_equal(registered, 0);
	handles_close(t, a[2].fh);
	handles_close(t, c.fh);
	assert_int_equal(images(t), 0);
}

/* Open, but the catalog has forgotten it: counted all the same. */
static void taken_over_unknown(void **state)
{
	struct handles *t = *state;
	struct open_answer a = open_ok(t, 7);
	struct handle *h = (void *)1;

	area->open[0].id = 1000;
	handles_free(t);
	*state = t = start();
	assert_int_equal(images(t), 1);
	assert_int_equal(handles_get(t, 1000, &h), -ESTALE);
	assert_ptr_equal(h, (void *)1);
	handles_close(t, a.fh);
	assert_int_equal(images(t), 0);
}

static void release_of_the_unknown(void **state)
{
	handles_close(*state, 7);
	handles_close(*state, UINT64_MAX);
	assert_int_equal(images(*state), 0);
}

static void errors_leave_nothing(void **state)
{
	struct handles *t = *state;
	struct handle *h = (void *)1;
	struct open_answer a;

	assert_int_equal(handles_open(t, 1000, 2, &a), -ESTALE);
	assert_int_equal(handles_get(t, 1000, &h), -ESTALE);
	assert_ptr_equal(h, (void *)1);
	open_error = -ENOMEM;
	assert_int_equal(handles_open(t, 7, 2, &a), -ENOMEM);
	assert_int_equal(images(t), 0);
	open_error = 0;
	complete = true;
	area->opens_end = SESSION_OPENS_MAX;
	assert_int_equal(handles_open(t, 7, 2, &a), -ENFILE);
	assert_int_equal(images(t), 0);
	assert_int_equal(registered, 0);
	area->opens_end = 0;
}

/* A read of what is not open: has to work, and to leave nothing. */
static void a_stray_read(void **state)
{
	struct handle *h;

	assert_int_equal(handles_get(*state, 7, &h), 0);
	assert_int_equal(streams_open, 1);
	handle_put(h);
	assert_int_equal(streams_open, 0);
	assert_int_equal(images(*state), 0);
}

/* ---- threads ------------------------------------------------------------- */

#define STORM_IDS 3

/* The kernel's side: what it has open, by id and backing file. */
static struct {
	pthread_mutex_t lock;
	unsigned n[STORM_IDS];
	uint32_t backing[STORM_IDS];
} kernel = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void kernel_opens(uint64_t id, uint32_t backing)
{
	pthread_mutex_lock(&kernel.lock);
	if (kernel.n[id]++ == 0)
		kernel.backing[id] = backing;
	else if (kernel.backing[id] != backing)
		abort(); /* it would give EIO */
	pthread_mutex_unlock(&kernel.lock);
}

static void kernel_releases(uint64_t id)
{
	pthread_mutex_lock(&kernel.lock);
	kernel.n[id]--;
	pthread_mutex_unlock(&kernel.lock);
}

static void *storm(void *arg)
{
	struct handles *t = arg;
	unsigned seed = (unsigned)(uintptr_t)pthread_self();
	uintptr_t refused = 0;

	for (int i = 0; i < 20000; i++) {
		uint64_t id = (uint64_t)(rand_r(&seed) % STORM_IDS);
		struct open_answer a;
		struct handle *h;
		int r;

		__atomic_store_n(&complete, rand_r(&seed) & 1,
				 __ATOMIC_RELAXED);
		r = handles_open(t, id, 2, &a);
		if (r == -ETIMEDOUT) {
			refused++;
			continue;
		}
		if (r < 0)
			abort();
		kernel_opens(id, a.backing_id);
		handles_answered(t, a.fh);
		if (handles_get(t, id, &h) < 0 || h->id != id)
			abort();
		handle_put(h);
		kernel_releases(id);
		handles_close(t, a.fh);
	}
	return (void *)refused;
}

static void many_threads(void **state)
{
	struct handles_stats s;
	uint64_t refused = 0;
	pthread_t t[4];
	void *n;

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, storm, *state);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], &n), refused += (uintptr_t)n;
	handles_stats(*state, &s);
	assert_int_equal(s.images, 0);
	assert_int_equal(s.opens + refused, 80000);
	assert_true(s.opens_passthrough > 0);
	assert_true(s.opens_passthrough < s.opens);
	assert_int_equal(streams_open, 0);
	assert_int_equal(registered, 0);
}

static void *one_open(void *arg)
{
	struct open_answer *a = calloc(1, sizeof(*a));

	if (handles_open(arg, 7, 2, a) < 0)
		abort();
	return a;
}

/* While the first one waits for the supervisor. */
static void opens_wait_for_the_choice(void **state)
{
	struct open_answer *a[4];
	pthread_t t[4];

	complete = true;
	slow_ms = 50;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, one_open, *state);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], (void **)&a[i]);
	assert_int_equal(next_backing, 1);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(a[i]->backing_id, 1);
		handles_close(*state, a[i]->fh);
		free(a[i]);
	}
	assert_int_equal(registered, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(opens_of_one_inode_share),
		T(a_request_keeps_the_stream),
		T(the_first_open_chooses),
		T(without_the_supervisor),
		T(taken_over),
		T(taken_over_unknown),
		T(release_of_the_unknown),
		T(errors_leave_nothing),
		T(a_stray_read),
		T(many_threads),
		T(opens_wait_for_the_choice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
