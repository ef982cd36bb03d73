/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that takes its time holds up nobody but who asked for it: a server
 * with one loop, and an image of which every piece is "cold" until it is let
 * go. R4's other end: waiting costs no thread.
 */
#include "storetest.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>

#include "common/units.h"
#include "origin/http/server.h"
#include "origin/http/warm.h"

#define COLD_BYTES (5 * MIB + 4321)
#define HOT_BYTES (3 * MIB + 17)

static sem_t asked, let_go;
static unsigned reads; /* atomic: pieces that were read */

static bool is_cold_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (uint64_t)st.st_size == COLD_BYTES;
}

static bool never_hot(int fd, uint64_t offset)
{
	(void)offset;
	return !is_cold_file(fd);
}

static void slow_read(int fd, uint64_t offset)
{
	(void)offset;
	assert_true(is_cold_file(fd));
	__atomic_add_fetch(&reads, 1, __ATOMIC_RELAXED);
	sem_post(&asked);
	sem_wait(&let_go);
}

/* ---- a server and its clients ------------------------------------------ */

struct site {
	struct storetest t;
	struct pacing *pacing;
	struct http_server *http;
	struct sockaddr_in address;
	struct image_added cold, hot;
};

static int a_free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static void site_begin(struct site *s)
{
	const struct pacing_config p = {.demand_bps = RATE_UNLIMITED};
	int port = a_free_port();
	char listen_text[32];
	struct http_config c = {.n_threads = 1, .listen = listen_text};

	storetest_begin(&s->t);
	storetest_make(&s->t, "cold", COLD_BYTES, 1);
	storetest_make(&s->t, "hot", HOT_BYTES, 2);
	assert_int_equal(storetest_add(&s->t, "cold", "cold", &s->cold), 0);
	assert_int_equal(storetest_add(&s->t, "hot", "hot", &s->hot), 0);
	assert_int_equal(pacing_new(&p, NOW, &s->pacing, &s->t.e), 0);
	assert_int_equal(sem_init(&asked, 0, 0), 0);
	assert_int_equal(sem_init(&let_go, 0, 0), 0);
	reads = 0;
	warm_hot_hook = never_hot;
	warm_read_hook = slow_read;
	snprintf(listen_text, sizeof(listen_text), "127.0.0.1:%d", port);
	c.store = s->t.s;
	c.pacing = s->pacing;
	assert_int_equal(http_server_start(&c, &s->http, &s->t.e), 0);
	s->address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void site_end(struct site *s)
{
	http_server_stop(s->http);
	warm_hot_hook = NULL;
	warm_read_hook = NULL;
	pacing_free(s->pacing);
	storetest_end(&s->t);
}

static int ask(const struct site *s, const struct image_added *image)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char digest[DIGEST_TEXT], text[256];

	assert_int_equal(connect(fd, (const struct sockaddr *)&s->address,
				 sizeof(s->address)), 0);
	snprintf(text, sizeof(text),
		 "GET /v1/data/%s HTTP/1.1\r\nHost: x\r\n"
		 "Connection: close\r\n\r\n",
		 digest_text(&image->node.digest, digest));
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	return fd;
}

/* Reads to the end; the body has to be what storetest_make made. */
static void assert_answered(int fd, size_t n, uint64_t seed)
{
	char *got = malloc(n + 4096), *body;
	uint8_t *want = malloc(n);
	size_t have = 0;
	ssize_t r;

	while ((r = read(fd, got + have, n + 4095 - have)) > 0)
		have += (size_t)r;
	assert_int_equal(r, 0);
	close(fd);
	got[have] = '\0';
	assert_memory_equal(got, "HTTP/1.1 200", 12);
	body = strstr(got, "\r\n\r\n");
	assert_non_null(body);
	body += 4;
	assert_int_equal(have - (size_t)(body - got), n);
	storetest_fill(want, n, seed);
	assert_memory_equal(body, want, n);
	free(want);
	free(got);
}

/* ---- tests ------------------------------------------------------------- */

static void test_others_go_on(void **state)
{
	struct site s;
	int cold;

	(void)state;
	site_begin(&s);
	cold = ask(&s, &s.cold);
	sem_wait(&asked);
	/* The disk has not answered yet, and the only loop serves. */
	for (int i = 0; i < 3; i++)
		assert_answered(ask(&s, &s.hot), HOT_BYTES, 2);
	assert_int_equal(__atomic_load_n(&reads, __ATOMIC_RELAXED), 1);
	for (int i = 0; i < 3; i++)
		sem_post(&let_go);
	assert_answered(cold, COLD_BYTES, 1);
	assert_int_equal(__atomic_load_n(&reads, __ATOMIC_RELAXED), 3);
	site_end(&s);
}

/* Clients that hang up, more of them than there are threads. */
static void test_gone_meanwhile(void **state)
{
	int fd[20];
	struct site s;

	(void)state;
	site_begin(&s);
	for (int i = 0; i < 20; i++)
		fd[i] = ask(&s, &s.cold);
	for (int i = 0; i < 8; i++)
		sem_wait(&asked);
	for (int i = 0; i < 20; i++)
		close(fd[i]);
	assert_answered(ask(&s, &s.hot), HOT_BYTES, 2);
	for (int i = 0; i < 100; i++)
		sem_post(&let_go);
	assert_answered(ask(&s, &s.cold), COLD_BYTES, 1);
	site_end(&s);
}

/* The daemon ends while a disk is asked, and others wait for their turn. */
static void *let_go_later(void *arg)
{
	(void)arg;
	usleep(100000);
	for (int i = 0; i < 100; i++)
		sem_post(&let_go);
	return NULL;
}

static void test_end_meanwhile(void **state)
{
	pthread_t later;
	struct site s;
	int fd[20];

	(void)state;
	site_begin(&s);
	for (int i = 0; i < 20; i++)
		fd[i] = ask(&s, &s.cold);
	for (int i = 0; i < 8; i++)
		sem_wait(&asked);
	assert_int_equal(pthread_create(&later, NULL, let_go_later, NULL), 0);
	site_end(&s);
	pthread_join(later, NULL);
	for (int i = 0; i < 20; i++)
		close(fd[i]);
}

/* With a real page cache, where the file system can tell. */
static void done(struct warm_job *job)
{
	(void)job;
	sem_post(&asked);
}

static void test_cold_becomes_hot(void **state)
{
	struct warm_job job = {.offset = MIB, .n_bytes = 2 * MIB,
			       .ahead_bytes = MIB, .done = done};
	struct storetest t;
	struct warm *w;

	(void)state;
	storetest_begin(&t);
	storetest_make(&t, "f", 6 * MIB, 3);
	job.fd = open(storetest_path(&t, "f"), O_RDWR);
	assert_int_equal(fsync(job.fd), 0);
	assert_true(warm_is_hot(job.fd, 0, 6 * MIB));
	posix_fadvise(job.fd, 0, 0, POSIX_FADV_DONTNEED);
	assert_int_equal(sem_init(&asked, 0, 0), 0);
	assert_int_equal(warm_new(&w), 0);
	if (!warm_is_hot(job.fd, MIB, 2 * MIB)) {
		warm_submit(w, &job, CLASS_DEMAND);
		sem_wait(&asked);
	}
	assert_true(warm_is_hot(job.fd, MIB, 2 * MIB));
	/* Behind the end there is nothing to wait for. */
	assert_true(warm_is_hot(job.fd, 7 * MIB, MIB));
	warm_free(w);
	close(job.fd);
	storetest_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_others_go_on),
		cmocka_unit_test(test_gone_meanwhile),
		cmocka_unit_test(test_end_meanwhile),
		cmocka_unit_test(test_cold_becomes_hot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
