/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c - a `line` is a curl multi handle with its one easy handle: the multi
 * owns the connections (so they are kept), and curl_multi_wakeup is the only
 * way to end a request that is held open for a minute at once.
 * curl_easy_perform with a progress callback would notice within a second;
 * that second is one that `umount` waits. Idle lines are kept for the next
 * call; there are as many as threads ever called at once.
 *
 * Redirects are followed for GET only: nobody may have our descriptor sent
 * elsewhere.
 */
#include "fs/fetch/http.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/lock.h"
#include "common/wire.h"
#include "fs/fetch/curlset.h"
#include "fs/locks.h"

#define CONNECT_MS 5000
#define POLL_MS 1000
/* Of an answer that is an error: a line of it is worth showing. */
#define ERROR_KEEP_BYTES 1024
#define ERROR_MAX_BYTES (64u << 10)

struct line {
	CURLM *multi;
	CURL *easy;
	struct line *next;
};

struct http {
	char *server, *ca_file; /* set once */
	uint32_t connect_ms;

	struct lock lock; /* the rest */
	struct line *idle, *busy;
	bool stopped;
};

/* One call, as the callbacks see it. */
struct exchange {
	const struct http_call *call;
	CURL *easy;
	struct http_answer answer;
	size_t room; /* of answer.body */
	size_t header_bytes, body_bytes;
	bool too_long;
};

/* ---- lines ----------------------------------------------------------- */

static void line_free(struct line *l)
{
	if (!l)
		return;
	curl_easy_cleanup(l->easy);
	curl_multi_cleanup(l->multi);
	free(l);
}

static struct line *line_new(const struct http *h)
{
	struct line *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->multi = curl_multi_init();
	l->easy = curlset_new(h->ca_file, h->connect_ms);
	if (l->multi && l->easy)
		return l;
	line_free(l);
	return NULL;
}

/* 0, -ECANCELED or -ENOMEM. */
static int line_get(struct http *h, struct line **ret)
{
	struct line *l;

	lock_take(&h->lock);
	l = h->idle;
	if (l)
		h->idle = l->next;
	lock_give(&h->lock);
	if (!l)
		l = line_new(h);
	if (!l)
		return -ENOMEM;

	lock_take(&h->lock);
	if (h->stopped) {
		lock_give(&h->lock);
		line_free(l);
		return -ECANCELED;
	}
	l->next = h->busy;
	h->busy = l;
	lock_give(&h->lock);
	*ret = l;
	return 0;
}

static void line_put(struct http *h, struct line *l)
{
	struct line **at = &h->busy;

	LOCK_SCOPE(&h->lock);
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	l->next = h->idle;
	h->idle = l;
}

static bool stopped(struct http *h)
{
	LOCK_SCOPE(&h->lock);
	return h->stopped;
}

int http_new(const struct http_config *cfg, struct http **ret)
{
	struct http *h;
	int r = curlset_global();

	if (r < 0)
		return r;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->server = strdup(cfg->server ? cfg->server : "");
	h->ca_file = cfg->ca_file ? strdup(cfg->ca_file) : NULL;
	h->connect_ms = cfg->connect_ms ? cfg->connect_ms : CONNECT_MS;
	lock_init(&h->lock, LOCK_HTTP);
	if (!h->server || (cfg->ca_file && !h->ca_file)) {
		http_free(h);
		return -ENOMEM;
	}
	*ret = h;
	return 0;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	while (h->idle) {
		struct line *l = h->idle;

		h->idle = l->next;
		line_free(l);
	}
	lock_destroy(&h->lock);
	free(h->server);
	free(h->ca_file);
	free(h);
}

void http_stop(struct http *h)
{
	LOCK_SCOPE(&h->lock);
	h->stopped = true;
	for (struct line *l = h->busy; l; l = l->next)
		curl_multi_wakeup(l->multi);
}

/* ---- one exchange ---------------------------------------------------- */

/* Makes room for n more bytes and the end byte. */
static bool make_room(struct exchange *x, size_t n)
{
	size_t need = x->answer.n + n + 1, room = x->room ? x->room : 4096;
	char *body;

	if (need <= x->room)
		return true;
	while (room < need)
		room *= 2;
	body = realloc(x->answer.body, room);
	if (!body)
		return false;
	x->answer.body = body;
	x->room = room;
	return true;
}

static bool is_error(CURL *easy)
{
	long status = 0;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	return status >= 300;
}

static size_t on_body(char *data, size_t one, size_t n, void *ctx)
{
	struct exchange *x = ctx;
	bool error = is_error(x->easy);
	size_t keep = n;

	(void)one;
	x->body_bytes += n;
	if (x->body_bytes > (error ? ERROR_MAX_BYTES : x->call->max_bytes)) {
		x->too_long = true;
		return 0;
	}
	if (error && keep > ERROR_KEEP_BYTES - x->answer.n)
		keep = ERROR_KEEP_BYTES - x->answer.n;
	if (!make_room(x, keep))
		return 0;
	memcpy(x->answer.body + x->answer.n, data, keep);
	x->answer.n += keep;
	x->answer.body[x->answer.n] = '\0';
	return n;
}

static size_t on_header(char *data, size_t one, size_t n, void *ctx)
{
	struct exchange *x = ctx;

	(void)one;
	(void)data;
	x->header_bytes += n;
	if (x->header_bytes <= CURLSET_HEADERS_MAX_BYTES)
		return n;
	x->too_long = true;
	return 0;
}

static struct curl_slist *headers_of(const struct http *h,
				     const struct http_call *c)
{
	/* Expect: without it curl waits a second for "100 Continue". */
	struct curl_slist *l = curlset_header(NULL, "Expect", "");

	if (l && *h->server)
		l = curlset_header(l, WIRE_HEADER_SERVER, h->server);
	if (l && c->content_type)
		l = curlset_header(l, "Content-Type", c->content_type);
	if (l && c->etag && *c->etag)
		l = curlset_header(l, "If-None-Match", c->etag);
	return l;
}

static void line_set(struct line *l, struct exchange *x,
		     struct curl_slist *headers)
{
	const struct http_call *c = x->call;
	bool get = strcmp(c->method, "GET") == 0;

	/* GET first: it resets what an earlier call with a body left. */
	curl_easy_setopt(l->easy, CURLOPT_CUSTOMREQUEST, NULL);
	curl_easy_setopt(l->easy, CURLOPT_HTTPGET, 1L);
	if (!get) {
		curl_easy_setopt(l->easy, CURLOPT_POSTFIELDS,
				 c->body ? (const char *)c->body : "");
		curl_easy_setopt(l->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)c->body_n);
		curl_easy_setopt(l->easy, CURLOPT_CUSTOMREQUEST, c->method);
	}
	curl_easy_setopt(l->easy, CURLOPT_FOLLOWLOCATION, get ? 1L : 0L);
	curl_easy_setopt(l->easy, CURLOPT_URL, c->url);
	curl_easy_setopt(l->easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(l->easy, CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
	curl_easy_setopt(l->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(l->easy, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(l->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(l->easy, CURLOPT_HEADERDATA, x);
}

/* -ECANCELED when stopped; else 0 and how the transfer ended. */
static int line_run(struct http *h, struct line *l, CURLcode *ret)
{
	int running = 1, left;
	const CURLMsg *msg;

	while (!stopped(h)) {
		if (curl_multi_perform(l->multi, &running) != CURLM_OK)
			return -EIO;
		msg = curl_multi_info_read(l->multi, &left);
		if (msg && msg->msg == CURLMSG_DONE) {
			*ret = msg->data.result;
			return 0;
		}
		if (curl_multi_poll(l->multi, NULL, 0, POLL_MS, NULL))
			return -EIO;
	}
	return -ECANCELED;
}

static void read_etag(CURL *easy, char out[128])
{
	struct curl_header *head;
	size_t n;

	if (curl_easy_header(easy, "ETag", 0, CURLH_HEADER, -1, &head))
		return;
	/* It is sent back as it came: plain characters only. */
	for (n = 0; head->value[n] > ' ' && head->value[n] < 0x7f; n++)
		;
	if (head->value[n] == '\0' && n < 128)
		memcpy(out, head->value, n + 1);
}

static int ended(struct line *l, struct exchange *x, CURLcode code,
		 const char *text, struct err *e)
{
	long os_errno = 0, status = 0;
	int r;

	if (x->too_long)
		return err_set(e, EPROTO, "%s: the answer is too long",
			       x->call->url);
	curl_easy_getinfo(l->easy, CURLINFO_OS_ERRNO, &os_errno);
	if (code == CURLE_WRITE_ERROR)
		return err_set(e, ENOMEM, "out of memory");
	if (!*text)
		text = curl_easy_strerror(code);
	r = curlset_errno(code, os_errno);
	if (code == CURLE_SSL_CACERT_BADFILE)
		return err_set(e, EACCES, "option ca: no certificates there: "
			       "%s", text);
	if (r == -EACCES)
		return err_set(e, EACCES, "%s: its certificate is not "
			       "accepted: %s (ca=FILE says whom to trust)",
			       x->call->url, text);
	if (r)
		return err_set(e, -r, "%s: %s", x->call->url, text);
	curl_easy_getinfo(l->easy, CURLINFO_RESPONSE_CODE, &status);
	x->answer.status = (int)status;
	read_etag(l->easy, x->answer.etag);
	return 0;
}

int http_do(struct http *h, const struct http_call *call,
	    struct http_answer *ret, struct err *e)
{
	struct exchange x = {.call = call};
	char text[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers;
	CURLcode code = CURLE_OK;
	struct line *l;
	int r;

	headers = headers_of(h, call);
	if (!headers)
		return err_set(e, ENOMEM, "out of memory");
	r = line_get(h, &l);
	if (r < 0) {
		curl_slist_free_all(headers);
		return err_set(e, -r, r == -ENOMEM ? "out of memory"
						   : "stopped");
	}
	x.easy = l->easy;
	line_set(l, &x, headers);
	curl_easy_setopt(l->easy, CURLOPT_ERRORBUFFER, text);
	curl_multi_add_handle(l->multi, l->easy);
	r = line_run(h, l, &code);
	if (r < 0)
		r = err_set(e, -r, r == -ECANCELED ? "stopped" : "curl failed");
	else
		r = ended(l, &x, code, text, e);
	curl_multi_remove_handle(l->multi, l->easy);
	curl_easy_setopt(l->easy, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_setopt(l->easy, CURLOPT_HTTPHEADER, NULL);
	line_put(h, l);
	curl_slist_free_all(headers);
	if (r < 0)
		http_answer_clear(&x.answer);
	else
		*ret = x.answer;
	return r;
}

void http_answer_clear(struct http_answer *a)
{
	free(a->body);
	memset(a, 0, sizeof(*a));
}
