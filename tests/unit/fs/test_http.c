/* SPDX-License-Identifier: Apache-2.0 */
/* test_http.c - small exchanges against a scripted server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "fs/fetch/curlset.h"
#include "fs/fetch/http.h"
#include "mini_httpd.h"

/* The server's behaviour is chosen by the path of the request. */
static bool handle(void *ctx, struct mini_request *r)
{
	struct mini *m = ctx;
	const char *p = r->path;

	if (strcmp(p, "/echo") == 0) {
		char head[2048];
		const char *h = mini_header(r, "X-Stagefs-Server");

		snprintf(head, sizeof(head), "%s %s %s %zu:", r->method,
			 h ? h : "-",
			 mini_header(r, "Expect") ? "expect" : "-", r->body_n);
		return mini_printf(r->fd,
				   "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n"
				   "ETag: \"a-1\"\r\n\r\n%s",
				   strlen(head) + r->body_n, head) &&
		       mini_write(r->fd, r->body, r->body_n);
	}
	if (strcmp(p, "/etag") == 0) {
		const char *h = mini_header(r, "If-None-Match");

		if (h && strcmp(h, "\"a-1\"") == 0)
			return mini_printf(r->fd, "HTTP/1.1 304 No\r\n\r\n");
		return mini_printf(r->fd, "HTTP/1.1 400 No\r\n"
					  "Content-Length: 0\r\n\r\n");
	}
	if (strcmp(p, "/204") == 0)
		return mini_printf(r->fd, "HTTP/1.1 204 Done\r\n\r\n");
	if (strcmp(p, "/error") == 0) {
		mini_printf(r->fd, "HTTP/1.1 500 No\r\n"
				   "Content-Length: 5000\r\n\r\n");
		for (int i = 0; i < 5000; i++)
			mini_write(r->fd, "x", 1);
		return true;
	}
	if (strcmp(p, "/endless-body") == 0) {
		mini_printf(r->fd, "HTTP/1.1 200 OK\r\n\r\n");
		while (mini_printf(r->fd, "%0512d", 0))
			;
		return false;
	}
	if (strcmp(p, "/endless-headers") == 0) {
		mini_printf(r->fd, "HTTP/1.1 200 OK\r\n");
		while (mini_printf(r->fd, "X-A: %0512d\r\n", 0))
			;
		return false;
	}
	if (strcmp(p, "/announced-long") == 0) {
		mini_printf(r->fd, "HTTP/1.1 200 OK\r\n"
				   "Content-Length: 99999999999\r\n\r\n");
		while (mini_printf(r->fd, "%0512d", 0))
			;
		return false;
	}
	if (strcmp(p, "/garbage") == 0) {
		mini_printf(r->fd, "SSH-2.0-OpenSSH_9.2\r\n");
		return false;
	}
	if (strcmp(p, "/nothing") == 0)
		return false;
	if (strcmp(p, "/short") == 0) {
		mini_printf(r->fd, "HTTP/1.1 200 OK\r\n"
				   "Content-Length: 100\r\n\r\nabc");
		return false;
	}
	if (strcmp(p, "/loop") == 0)
		return mini_printf(r->fd, "HTTP/1.1 302 Go\r\nLocation: /loop"
					  "\r\nContent-Length: 0\r\n\r\n");
	if (strcmp(p, "/to-file") == 0)
		return mini_printf(r->fd, "HTTP/1.1 302 Go\r\nLocation: "
					  "file:///etc/passwd\r\n"
					  "Content-Length: 0\r\n\r\n");
	if (strncmp(p, "/hop", 4) == 0) {
		char to[32] = "/echo";

		if (p[4] > '1')
			snprintf(to, sizeof(to), "/hop%c", p[4] - 1);
		return mini_printf(r->fd, "HTTP/1.1 307 Go\r\nLocation: %s%s"
					  "\r\nContent-Length: 0\r\n\r\n",
				   m->url, to);
	}
	if (strcmp(p, "/hold") == 0) {
		char c;

		return recv(r->fd, &c, 1, 0) > 0;
	}
	return mini_printf(r->fd, "HTTP/1.1 404 No\r\nContent-Length: 3\r\n"
				  "\r\nno\n");
}

struct fix {
	struct mini m;
	struct http *h;
	struct err e;
	struct http_answer a;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));
	struct http_config cfg = {.server = "line3"};

	mini_start(&f->m, handle, &f->m);
	assert_int_equal(http_new(&cfg, &f->h), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	http_answer_clear(&f->a);
	http_free(f->h);
	mini_stop(&f->m);
	free(f);
	return 0;
}

static int call(struct fix *f, const char *method, const char *path,
		const char *body, const char *etag)
{
	char url[600];
	struct http_call c = {.method = method,
			      .url = url,
			      .body = body,
			      .body_n = body ? strlen(body) : 0,
			      .content_type = body ? "application/json" : NULL,
			      .etag = etag,
			      .max_bytes = 4u << 20,
			      .timeout_ms = 20000};

	snprintf(url, sizeof(url), "%s%s", f->m.url, path);
	http_answer_clear(&f->a);
	f->e.text[0] = '\0';
	return http_do(f->h, &c, &f->a, &f->e);
}

static void test_methods(void **state)
{
	struct fix *f = *state;
	char *big = malloc((2u << 20) + 1);

	assert_int_equal(call(f, "GET", "/echo", NULL, NULL), 0);
	assert_int_equal(f->a.status, 200);
	assert_string_equal(f->a.body, "GET line3 - 0:");
	assert_int_equal(f->a.n, strlen(f->a.body));
	assert_string_equal(f->a.etag, "\"a-1\"");
	assert_int_equal(call(f, "PUT", "/echo", "{}", NULL), 0);
	assert_string_equal(f->a.body, "PUT line3 - 2:{}");
	assert_int_equal(call(f, "POST", "/echo", "[1]", NULL), 0);
	assert_string_equal(f->a.body, "POST line3 - 3:[1]");
	assert_int_equal(call(f, "POST", "/echo", NULL, NULL), 0);
	assert_string_equal(f->a.body, "POST line3 - 0:");
	assert_int_equal(call(f, "GET", "/echo", NULL, NULL), 0);
	assert_string_equal(f->a.body, "GET line3 - 0:");

	/* No "100 Continue" dance for a long body. */
	memset(big, 'b', 2u << 20);
	big[2u << 20] = '\0';
	assert_int_equal(call(f, "PUT", "/echo", big, NULL), 0);
	assert_memory_equal(f->a.body, "PUT line3 - 2097152:bbb", 23);
	free(big);

	/* One after the other: one connection. */
	assert_int_equal(atomic_load(&f->m.connections), 1);
}

static void test_statuses(void **state)
{
	struct fix *f = *state;

	assert_int_equal(call(f, "GET", "/etag", NULL, "\"a-1\""), 0);
	assert_int_equal(f->a.status, 304);
	assert_null(f->a.body);
	assert_int_equal(call(f, "GET", "/etag", NULL, ""), 0);
	assert_int_equal(f->a.status, 400);
	assert_int_equal(call(f, "POST", "/204", "{}", NULL), 0);
	assert_int_equal(f->a.status, 204);
	assert_int_equal(call(f, "GET", "/none", NULL, NULL), 0);
	assert_int_equal(f->a.status, 404);
	assert_string_equal(f->a.body, "no\n");
	assert_int_equal(call(f, "GET", "/error", NULL, NULL), 0);
	assert_int_equal(f->a.status, 500);
	assert_int_equal(f->a.n, 1024);
}

static void test_hostile(void **state)
{
	struct fix *f = *state;
	static const struct {
		const char *path;
		int error;
	} t[] = {
		{"/endless-body", -EPROTO},   {"/endless-headers", -EPROTO},
		{"/announced-long", -EPROTO}, {"/garbage", -EPROTO},
		{"/nothing", -ECONNRESET},    {"/short", -ECONNRESET},
		{"/loop", -EPROTO},	      {"/to-file", -EPROTO},
		{"/hop4", -EPROTO},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		int r = call(f, "GET", t[i].path, NULL, NULL);

		if (r != t[i].error)
			fail_msg("%s: %d %s", t[i].path, r, f->e.text);
		assert_true(f->e.text[0] != '\0');
		assert_null(f->a.body);
	}
	assert_int_equal(call(f, "GET", "/hop3", NULL, NULL), 0);
	assert_string_equal(f->a.body, "GET line3 - 0:");
	/* What has a body goes nowhere else. */
	assert_int_equal(call(f, "PUT", "/hop1", "{}", NULL), 0);
	assert_int_equal(f->a.status, 307);
}

static void test_unreachable(void **state)
{
	struct fix *f = *state;
	struct http_call c = {.method = "GET",
			      .max_bytes = 10,
			      .timeout_ms = 20000};
	char url[128];

	/* A port on which nobody listens: bound, not listening. */
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	bind(fd, (struct sockaddr *)&a, sizeof(a));
	getsockname(fd, (struct sockaddr *)&a, &n);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", ntohs(a.sin_port));
	c.url = url;
	assert_int_equal(http_do(f->h, &c, &f->a, &f->e), -ECONNREFUSED);
	close(fd);

	c.url = "http://nowhere.invalid/";
	assert_int_equal(http_do(f->h, &c, &f->a, &f->e), -EHOSTUNREACH);
	c.url = "file:///etc/hostname";
	assert_int_equal(http_do(f->h, &c, &f->a, &f->e), -EPROTO);
	snprintf(url, sizeof(url), "%s/hold", f->m.url);
	c.url = url;
	c.timeout_ms = 50;
	assert_int_equal(http_do(f->h, &c, &f->a, &f->e), -ETIMEDOUT);
}

static void *held(void *arg)
{
	struct fix *f = arg;
	struct http_answer a = {0};
	char url[128];
	struct http_call c = {.method = "GET",
			      .url = url,
			      .max_bytes = 10,
			      .timeout_ms = 600000};
	int r;

	snprintf(url, sizeof(url), "%s/hold", f->m.url);
	r = http_do(f->h, &c, &a, NULL);
	return (void *)(intptr_t)r;
}

/* Held requests end at once, and none can start any more. */
static void test_stop(void **state)
{
	struct fix *f = *state;
	pthread_t t[4];
	void *r;

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, held, f);
	while (atomic_load(&f->m.requests) < 4)
		usleep(1000);
	http_stop(f->h);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &r);
		assert_int_equal((intptr_t)r, -ECANCELED);
	}
	assert_int_equal(call(f, "GET", "/echo", NULL, NULL), -ECANCELED);
}

/* ---- TLS: openssl(1) is the server ------------------------------------ */

static bool run(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Serves the files of `dir`; returns its pid and port. */
static pid_t tls_server(const char *dir, unsigned *ret_port)
{
	char line[256];
	int out[2];
	FILE *f;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		if (chdir(dir))
			_exit(1);
		dup2(out[1], 1);
		dup2(open("/dev/null", O_RDWR), 2);
		close(out[0]);
		close(out[1]);
		execlp("openssl", "openssl", "s_server", "-accept",
		       "127.0.0.1:0", "-cert", "cert", "-key", "key", "-WWW",
		       (char *)NULL);
		_exit(1);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	*ret_port = 0;
	while (*ret_port == 0 && fgets(line, sizeof(line), f))
		sscanf(line, "ACCEPT 127.0.0.1:%u", ret_port);
	fclose(f);
	return pid;
}

static int tls_get(const char *url, const char *ca, struct http_answer *a,
		   struct err *e)
{
	struct http_config cfg = {.server = "line3", .ca_file = ca};
	struct http_call c = {.method = "GET",
			      .url = url,
			      .max_bytes = 1000,
			      .timeout_ms = 20000};
	struct http *h;
	int r;

	assert_int_equal(http_new(&cfg, &h), 0);
	r = http_do(h, &c, a, e);
	http_free(h);
	return r;
}

/* A certificate that the given authority did not sign is refused, and so is
 * one for another name; nothing is said to such a server. */
static void test_tls(void **state)
{
	char dir[] = "/tmp/stagefs-tls.XXXXXX", command[512], url[128];
	struct http_answer a = {0};
	struct err e = {""};
	unsigned port;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(command, sizeof(command),
		 "cd %s && openssl req -x509 -newkey rsa:2048 -nodes -keyout "
		 "key -out cert -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
		 " -days 2 2>/dev/null && echo hello >file", dir);
	if (!run(command))
		skip();
	pid = tls_server(dir, &port);
	assert_true(port > 0);
	snprintf(command, sizeof(command), "%s/cert", dir);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/file", port);
	assert_int_equal(tls_get(url, NULL, &a, &e), -EACCES);
	assert_non_null(strstr(e.text, "certificate"));
	assert_int_equal(tls_get(url, command, &a, &e), 0);
	assert_string_equal(a.body, "hello\n");
	http_answer_clear(&a);
	snprintf(url, sizeof(url), "https://localhost:%u/file", port);
	assert_int_equal(tls_get(url, command, &a, &e), -EACCES);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/file", port);
	assert_int_not_equal(tls_get(url, command, &a, &e), 0);

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_true(run(command));
}

static void test_errors_table(void **state)
{
	(void)state;
	assert_int_equal(curlset_errno(CURLE_OK, 0), 0);
	assert_int_equal(curlset_errno(CURLE_COULDNT_CONNECT, ECONNREFUSED),
			 -ECONNREFUSED);
	assert_int_equal(curlset_errno(CURLE_COULDNT_CONNECT, ENETUNREACH),
			 -EHOSTUNREACH);
	assert_int_equal(curlset_errno(CURLE_COULDNT_CONNECT, ETIMEDOUT),
			 -ETIMEDOUT);
	assert_int_equal(curlset_errno(CURLE_PEER_FAILED_VERIFICATION, 0),
			 -EACCES);
	assert_int_equal(curlset_errno(CURLE_TOO_MANY_REDIRECTS, 0), -EPROTO);
	assert_int_equal(curlset_errno(CURLE_OUT_OF_MEMORY, 0), -ENOMEM);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_methods), T(test_statuses), T(test_hostile),
		T(test_unreachable), T(test_stop),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_errors_table),
	};
	/* Proxies of the environment are not used. */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("https_proxy", "http://127.0.0.1:1", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
