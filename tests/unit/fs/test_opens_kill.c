/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_opens_kill.c - workers that are killed at every step of an open, a
 * release and a resume, against a model of the kernel (fs/kernel/opens.c has
 * the steps, fs/fuse/dev.c and fs/fuse/iomode.c the rules).
 *
 * The test is the kernel: it sends OPEN and RELEASE over a socket, takes the
 * answers, repeats what a dead worker had taken, and lets an opener be killed
 * where the kernel does. The worker is a child with two threads of the real
 * handles and opens, in which the n-th step is fatal. Checked: no open is
 * ever answered in another mode or with another file than those that are
 * open; everything that is open is in the table, always; and once all
 * requests are answered nothing else is, nor is another file registered.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/kernel/backing.h"
#include "fs/kernel/handles.h"
#include "fs/kernel/point.h"
#include "fs/supervisor/wire.h"

#define LIVES 3000
#define IDS 4
#define OPENS_MAX 12
#define REQUESTS_MAX 16
#define RESENT (UINT64_C(1) << 63)

struct message {
	enum { OPEN = 1, RELEASE, RESEND, ANSWER_OPEN, ANSWER_RELEASE } kind;
	uint64_t unique, id;
	struct open_answer a; /* RELEASE: fh only */
};

/* What outlives a child, besides the session area. */
static struct shared {
	unsigned fatal; /* the step that is, counted from the start; 0: none */
	unsigned steps;
	char died_at[32];
	uint32_t next_backing;
	bool complete[IDS];
} *shared;
static struct session_area *area;

/* ---- the worker ---------------------------------------------------------- */

static int worker_socket;
static pthread_mutex_t supervisor_lock = PTHREAD_MUTEX_INITIALIZER;

static void fatal_step(const char *name)
{
	unsigned n = __atomic_add_fetch(&shared->steps, 1, __ATOMIC_RELAXED);

	if (n != shared->fatal)
		return;
	snprintf(shared->died_at, sizeof(shared->died_at), "%s", name);
	kill(getpid(), SIGKILL);
	pause();
}

struct stream {
	uint64_t id;
};

int reader_open(struct reader *r, const struct version_ident *ident,
		struct stream **ret)
{
	(void)r;
	*ret = calloc(1, sizeof(**ret));
	(*ret)->id = ident->id;
	return 0;
}

void reader_close(struct stream *s)
{
	free(s);
}

struct version *stream_version(struct stream *s)
{
	return (struct version *)(void *)s;
}

void version_touch(struct version *v)
{
	(void)v;
}

/* No block is found bad here: see test_handles.c. */
bool version_complete(struct version *v)
{
	(void)v;
	return true;
}

int version_backing_fd(struct version *v)
{
	const struct stream *s = (struct stream *)(void *)v;

	return __atomic_load_n(&shared->complete[s->id], __ATOMIC_RELAXED)
		       ? 0
		       : -EAGAIN;
}

/* The supervisor's part is not killed, so it is done at once. */
int backing_open(struct backing *b, int fd, uint32_t *ret_id)
{
	unsigned i = 0;

	(void)b, (void)fd;
	pthread_mutex_lock(&supervisor_lock);
	while (area->backing[i])
		i++;
	*ret_id = ++shared->next_backing;
	area->backing[i] = *ret_id;
	pthread_mutex_unlock(&supervisor_lock);
	return 0;
}

void backing_close(struct backing *b, uint32_t id)
{
	(void)b;
	pthread_mutex_lock(&supervisor_lock);
	for (unsigned i = 0; i < SESSION_BACKINGS_MAX; i++)
		if (area->backing[i] == id) {
			area->backing[i] = 0;
			break;
		}
	pthread_mutex_unlock(&supervisor_lock);
}

void backing_close_unused(struct backing *b,
			  bool (*used)(void *ctx, uint32_t id), void *ctx)
{
	for (unsigned i = 0; i < IDS + OPENS_MAX; i++)
		if (area->backing[i] && !used(ctx, area->backing[i]))
			backing_close(b, area->backing[i]);
}

static int ident(void *ctx, uint64_t id, struct version_ident *ret)
{
	(void)ctx;
	*ret = (struct version_ident){.id = id, .size_bytes = 1};
	return 0;
}

static void tell(const struct message *m)
{
	if (send(worker_socket, m, sizeof(*m), MSG_NOSIGNAL) < 0)
		_exit(0);
}

static void answer_again(void *ctx, uint64_t unique,
			 const struct open_answer *a)
{
	(void)ctx;
	tell(&(struct message){.kind = ANSWER_OPEN, .unique = unique, .a = *a});
}

/* As op_open and op_release do. */
static void *serve(void *ctx)
{
	struct handles *t = ctx;
	struct message m;

	while (recv(worker_socket, &m, sizeof(m), 0) == sizeof(m)) {
		if (m.kind == OPEN) {
			if (handles_open(t, m.id, m.unique, &m.a) < 0)
				abort();
			m.kind = ANSWER_OPEN;
			kernel_point("open.reply");
			tell(&m);
			kernel_point("open.replied");
			handles_answered(t, m.a.fh);
		} else {
			handles_close(t, m.a.fh);
			kernel_point("release.reply");
			m.kind = ANSWER_RELEASE;
			tell(&m);
		}
	}
	return NULL;
}

static void worker(int fd)
{
	const struct handles_config cfg = {
		.ident = ident, .session = area, .passthrough = true};
	struct handles *t;
	pthread_t other;

	worker_socket = fd;
	kernel_test_point = fatal_step;
	if (handles_new(&cfg, &t) < 0)
		abort();
	handles_answer_again(t, answer_again, NULL);
	kernel_point("resume.resend");
	tell(&(struct message){.kind = RESEND});
	pthread_create(&other, NULL, serve, t);
	serve(t);
	_exit(0);
}

/* ---- the kernel ---------------------------------------------------------- */

struct request {
	struct message m; /* kind 0: free */
	bool taken;	  /* by the worker: can be answered */
};

struct open_file {
	bool used, releasing;
	uint64_t id;
	struct open_answer a;
};

static struct request requests[REQUESTS_MAX];
static struct open_file files[OPENS_MAX];
static uint64_t next_unique = 2;
static unsigned seed;
static unsigned seen_mixed_load, seen_dropped, seen_passthrough;

static unsigned chance(unsigned n)
{
	return (unsigned)rand_r(&seed) % n;
}

static struct request *new_request(void)
{
	for (int i = 0; i < REQUESTS_MAX; i++)
		if (!requests[i].m.kind) {
			requests[i] = (struct request){
				.m.unique = next_unique += 2};
			return &requests[i];
		}
	return NULL;
}

static unsigned in_work(void)
{
	unsigned n = 0;

	for (int i = 0; i < REQUESTS_MAX; i++)
		n += requests[i].m.kind != 0;
	return n;
}

static unsigned count_files(void)
{
	unsigned n = 0;

	for (int i = 0; i < OPENS_MAX; i++)
		n += files[i].used;
	return n;
}

static void client_opens(uint64_t id)
{
	struct request *r = new_request();

	if (!r)
		return;
	r->m.kind = OPEN;
	r->m.id = id;
}

/* The mode ends before RELEASE is sent (fuse_file_put). */
static void client_closes(int i)
{
	struct request *r = new_request();

	if (!r)
		return;
	r->m.kind = RELEASE;
	r->m.a.fh = files[i].a.fh;
	files[i].used = false;
}

/* Everything that the kernel has open is counted. */
static void check_counted(const struct open_file *f)
{
	const struct session_open *x =
		&area->open[f->a.fh & (SESSION_OPENS_MAX - 1)];

	if (!(x->word & 3) || x->id != f->id ||
	    x->backing_id != f->a.backing_id)
		fail_msg("open file %llx is not in the table, died at %s",
			 (unsigned long long)f->a.fh, shared->died_at);
}

/* fs/fuse/iomode.c: what would be EIO. */
static void opened(uint64_t id, const struct open_answer *a)
{
	struct open_file *free = NULL;

	for (int i = 0; i < OPENS_MAX; i++) {
		if (!files[i].used) {
			free = &files[i];
			continue;
		}
		if (files[i].a.fh == a->fh)
			fail_msg("two files with one handle");
		if (files[i].id != id)
			continue;
		seen_mixed_load++;
		if (files[i].a.backing_id != a->backing_id)
			fail_msg("id %d: %u and %u at once, died at %s",
				 (int)id, files[i].a.backing_id, a->backing_id,
				 shared->died_at);
	}
	assert_non_null(free);
	*free = (struct open_file){.used = true, .id = id, .a = *a};
	seen_passthrough += a->backing_id != 0;
	check_counted(free);
}

static void answered(const struct message *m)
{
	for (int i = 0; i < REQUESTS_MAX; i++) {
		struct request *r = &requests[i];

		if (!r->m.kind || !r->taken || r->m.unique != m->unique)
			continue;
		if (m->kind == ANSWER_OPEN)
			opened(r->m.id, &m->a);
		r->m.kind = 0;
		return;
	}
	/* ENOENT, which only a second answer to an OPEN may be. */
	assert_int_equal(m->kind, ANSWER_OPEN);
}

/* What a worker had taken waits again, and may have been given up: the
 * opener was killed (request_wait_answer). */
static void resend(void)
{
	for (int i = 0; i < REQUESTS_MAX; i++) {
		struct request *r = &requests[i];

		if (!r->m.kind || !r->taken)
			continue;
		r->taken = false;
		r->m.unique |= RESENT;
		if (r->m.kind == OPEN && chance(8) == 0) {
			r->m.kind = 0;
			seen_dropped++;
		}
	}
}

/* ---- lives --------------------------------------------------------------- */

struct life {
	pid_t pid;
	int fd;
	bool resumed;
};

static struct life start(unsigned fatal)
{
	struct life l = {.pid = -1};
	int pair[2];

	shared->fatal = fatal;
	shared->steps = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	l.fd = pair[0];
	l.pid = fork();
	if (l.pid == 0) {
		close(pair[0]);
		worker(pair[1]);
	}
	assert_true(l.pid > 0);
	close(pair[1]);
	return l;
}

/* Takes what the worker says; false at its end. */
static bool hear(struct life *l, int timeout_ms)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};
	struct message m;

	while (poll(&p, 1, timeout_ms) > 0) {
		ssize_t n = recv(l->fd, &m, sizeof(m), MSG_DONTWAIT);

		if (n == 0)
			return false;
		if (n < 0)
			continue; /* ECONNRESET, once; then what it said */
		if (m.kind == RESEND) {
			resend();
			l->resumed = true;
		} else {
			answered(&m);
		}
		timeout_ms = 0;
	}
	return true;
}

/* The kernel takes an answer at once: what it has said counts. */
static void end(struct life *l)
{
	int status;

	kill(l->pid, SIGKILL);
	while (hear(l, -1))
		;
	close(l->fd);
	waitpid(l->pid, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* A worker reads nothing before it has asked for the old ones. */
static void hand_out(struct life *l)
{
	if (!l->resumed)
		return;
	for (int i = 0; i < REQUESTS_MAX; i++) {
		struct request *r = &requests[i];

		if (!r->m.kind || r->taken)
			continue;
		r->taken = true;
		if (send(l->fd, &r->m, sizeof(r->m), MSG_NOSIGNAL) < 0)
			return; /* dead: it is repeated */
	}
}

static void random_client(void)
{
	uint64_t id = chance(IDS);
	int i = (int)chance(OPENS_MAX);

	__atomic_store_n(&shared->complete[chance(IDS)], chance(2),
			 __ATOMIC_RELAXED);
	if (chance(2) && count_files() + in_work() < OPENS_MAX)
		client_opens(id);
	else if (files[i].used)
		client_closes(i);
}

static void check_all_counted(void)
{
	for (int i = 0; i < OPENS_MAX; i++)
		if (files[i].used)
			check_counted(&files[i]);
}

/* Every request is answered: the table is the kernel's, no more and no less. */
static void check_quiet(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < area->opens_end; i++) {
		bool used = false;

		if (!(area->open[i].word & 3))
			continue;
		n++;
		for (unsigned b = 0; b < IDS + OPENS_MAX; b++)
			used |= area->backing[b] == area->open[i].backing_id;
		assert_true(used || !area->open[i].backing_id);
	}
	assert_int_equal(n, count_files());
	assert_true(area->opens_end <= OPENS_MAX + REQUESTS_MAX);
}

/* A new worker, left alone, settles everything. */
static void settle(void)
{
	struct life l = start(0);

	while (!l.resumed || in_work()) {
		assert_true(hear(&l, 1000));
		hand_out(&l);
	}
	end(&l);
	check_quiet();
	check_all_counted();
}

static unsigned registered(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < IDS + OPENS_MAX; i++)
		n += area->backing[i] != 0;
	return n;
}

static bool live(unsigned fatal)
{
	struct life l = start(fatal);
	bool alive = true;

	for (int i = 0; i < 40 && alive; i++) {
		random_client();
		hand_out(&l);
		alive = hear(&l, chance(4) ? 0 : 1);
	}
	while (alive && fatal && in_work()) {
		hand_out(&l);
		alive = hear(&l, 1000);
	}
	end(&l);
	/* What it had said before it died has been said. */
	check_all_counted();
	return !alive;
}

/* Where a worker has died. */
static const char *const steps[] = {
	"open.register", "open.registered", "open.end",	     "open.fill",
	"open.publish",	 "open.counted",    "open.reply",    "open.replied",
	"open.answered", "release.freed",   "release.unregister",
	"release.reply", "resume.answer",   "resume.answered",
	"resume.resend",
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))
static unsigned deaths[STEPS];

static void note_death(void)
{
	for (size_t i = 0; i < STEPS; i++)
		if (!strcmp(steps[i], shared->died_at)) {
			deaths[i]++;
			return;
		}
	fail_msg("unknown step %s", shared->died_at);
}

/* All files are closed; then a table that was never used. */
static void start_anew(void)
{
	settle();
	for (int i = 0; i < OPENS_MAX; i++)
		if (files[i].used)
			client_closes(i);
	settle();
	assert_int_equal(count_files(), 0);
	assert_int_equal(registered(), 0);
	memset(area->open, 0, area->opens_end * sizeof(area->open[0]));
	area->opens_end = 0;
}

static void killed_anywhere(void **state)
{
	(void)state;
	seed = 1;
	for (int i = 0; i < LIVES; i++) {
		shared->died_at[0] = 0;
		live(1 + chance(i % 3 ? 40 : 6));
		if (shared->died_at[0])
			note_death();
		if (i % 10 == 9)
			settle();
		if (i % 50 == 49)
			start_anew();
	}
	start_anew();
	for (size_t i = 0; i < STEPS; i++)
		if (!deaths[i])
			fail_msg("nobody died at %s", steps[i]);
	assert_true(seen_mixed_load > 100);
	assert_true(seen_dropped > 10);
	assert_true(seen_passthrough > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_anywhere),
	};

	area = mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED || shared == MAP_FAILED)
		return 1;
	area->passthrough = 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
