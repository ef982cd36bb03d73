/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curlset.c - HTTP/1.1 only: over one HTTP/2 connection the windows would
 * share one congestion window and one pace, and the origin paces by
 * connection.
 */
#include "fs/fetch/curlset.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

static int global_result;

static void global_once(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		global_result = -EIO;
}

int curlset_global(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, global_once);
	return global_result;
}

CURL *curlset_new(const char *ca_file, uint32_t connect_ms)
{
	CURL *c = curl_easy_init();

	if (!c)
		return NULL;
	/* No SIGALRM for the resolver: there are threads. */
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	/* A cancelled transfer must not wait for a slow resolver. */
	curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION,
			 (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, CURLSET_REDIRECTS_MAX);
	curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPIDLE, 20L);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPINTVL, 10L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "stagefs/" STAGEFS_VERSION);
	if (ca_file)
		curl_easy_setopt(c, CURLOPT_CAINFO, ca_file);
	return c;
}

int curlset_errno(CURLcode code, long os_errno)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		if (os_errno == EHOSTUNREACH || os_errno == ENETUNREACH)
			return -EHOSTUNREACH;
		if (os_errno == ETIMEDOUT)
			return -ETIMEDOUT;
		return -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		return -ECONNRESET;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CERTPROBLEM:
		return -EACCES;
	case CURLE_ABORTED_BY_CALLBACK:
		return -ECANCELED;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default: /* malformed answers, redirect loops, TLS that is none */
		return -EPROTO;
	}
}

struct curl_slist *curlset_header(struct curl_slist *list, const char *name,
				  const char *value)
{
	char line[512];
	struct curl_slist *longer;

	/* "Name:" without a value tells curl to leave a header out. */
	snprintf(line, sizeof(line), *value ? "%s: %s" : "%s:%s", name, value);
	longer = curl_slist_append(list, line);
	if (!longer)
		curl_slist_free_all(list);
	return longer;
}
