/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curlset.h - what every use of libcurl here has in common: the settings that
 * make it safe towards a hostile peer, and what its errors mean.
 *
 * Only http or https, also after a redirect (3 at most); certificates are
 * checked; no netrc, no cookies, no user in a URL; nothing is decoded. Proxies
 * of the environment are not used: a mount made from a login shell and one
 * made from fstab have to behave alike.
 */
#ifndef STAGEFS_FS_FETCH_CURLSET_H
#define STAGEFS_FS_FETCH_CURLSET_H

#include <stdint.h>

#include <curl/curl.h>

#define CURLSET_REDIRECTS_MAX 3L
#define CURLSET_HEADERS_MAX_BYTES (64u << 10)

/* Once per process; thread safe. 0 or -EIO. */
int curlset_global(void);

/* A new handle with all that set. `ca_file` may be NULL: the system's.
 * NULL: out of memory. */
CURL *curlset_new(const char *ca_file, uint32_t connect_ms);

/* What a failed transfer means as -errno; `os_errno` is CURLINFO_OS_ERRNO. */
int curlset_errno(CURLcode code, long os_errno);

/* Appends "name: value"; NULL, and the list freed, when out of memory. */
struct curl_slist *curlset_header(struct curl_slist *list, const char *name,
				  const char *value);

#endif
