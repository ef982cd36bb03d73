/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources.c - sources are asked in the order in which the admin wrote them:
 * the first that is not in back-off. Spreading requests over all of them was
 * rejected: the second origin is often the one behind the slow line.
 *
 * A source whose back-off is over is on trial: one request goes there, the
 * others wait (or go elsewhere) until it worked or failed again. Without
 * that, every parked window would run into the same dead host at once.
 *
 * A failure that comes while the source is in back-off already, because
 * thirty transfers died together, is counted but is no further step. One lost
 * connection is not "unreachable" either: a source is, once the trial after
 * its first failure has failed too.
 *
 * A reader who waits is not sent on a trial while a healthy source is there: a
 * dead host behind a firewall answers only with a timeout.
 *
 * Who lied about what is a plain array: it is empty on every good day.
 */
#include "fs/fetch/sources.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/lock.h"
#include "common/log.h"
#include "fs/locks.h"

#define BACKOFF_MIN_NS (200 * NS_PER_MS)
#define BACKOFF_MAX_NS (15 * NS_PER_S)
#define LIES_MAX 1024
#define LIES_FORGET_NS (600 * NS_PER_S)
#define SECOND_CHANCE_NS (10 * NS_PER_S)
#define FAILS_UNREACHABLE 2
#define USELESS_AVOID_NS (30 * NS_PER_S)

struct source {
	char url[256]; /* set once */

	/* under the lock */
	unsigned fails; /* steps of back-off; 0: healthy */
	bool on_trial;
	uint64_t retry_ns, since_ns;
	uint64_t requests, failures, bad_blocks;
	struct digest useless; /* the last version answered in vain */
	uint64_t useless_ns;   /* when that was, 0: never */
	bool has_useless;      /* and nothing has worked since */
	char why[160];
};

struct lie {
	struct digest digest;
	uint32_t sources; /* left out: bit per source */
	uint64_t when_ns; /* of the last lie */
	bool warned;	  /* the last source left has had its chance */
};

struct sources {
	size_t n; /* set once */

	struct lock lock; /* the rest */
	struct wait_cond told; /* n_telling became 0 */
	void (*on_change)(void *ctx, bool reachable, uint64_t for_ns,
			  const char *why);
	void *ctx;
	unsigned n_telling; /* threads that are in on_change */
	struct source source[SOURCES_MAX];
	struct lie lie[LIES_MAX];
	size_t n_lies;
	bool reachable; /* the set */
	uint64_t since_ns;
};

/* ---- URLs ------------------------------------------------------------ */

static bool port_ok(const char *s)
{
	char *end;
	unsigned long port;

	if (!isdigit((unsigned char)*s))
		return false;
	port = strtoul(s, &end, 10);
	return *end == '\0' && port >= 1 && port <= 65535;
}

/* What stands between "//" and the end: host, host:port or [v6]:port. */
static bool authority_ok(const char *s)
{
	size_t host;

	if (*s == '[') {
		host = strspn(s + 1, "0123456789abcdefABCDEF:.");
		if (host < 2 || s[1 + host] != ']')
			return false;
		s += host + 2;
	} else {
		host = strspn(s, "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
		if (host == 0)
			return false;
		s += host;
	}
	return *s == '\0' || (*s == ':' && port_ok(s + 1));
}

static int add_url(struct sources *s, char *url, struct err *e)
{
	size_t n = strlen(url), scheme;

	if (s->n == SOURCES_MAX)
		return err_set(e, EINVAL, "more than %d sources", SOURCES_MAX);
	if (strncasecmp(url, "http://", 7) == 0)
		scheme = 7;
	else if (strncasecmp(url, "https://", 8) == 0)
		scheme = 8;
	else
		return err_set(e, EINVAL,
			       "'%s' is not a source: give a URL such as "
			       "http://origin:8420", url);
	if (strchr(url, '@'))
		return err_set(e, EINVAL,
			       "'%s': user and password are not taken in a "
			       "source", url);
	if (url[n - 1] == '/')
		url[--n] = '\0';
	if (n >= sizeof(s->source[0].url))
		return err_set(e, EINVAL, "a source is longer than %zu bytes",
			       sizeof(s->source[0].url) - 1);
	if (strchr(url + scheme, '/') || strpbrk(url, "?#"))
		return err_set(e, EINVAL,
			       "'%s': a source has no path: give only "
			       "http://host:port", url);
	if (!authority_ok(url + scheme))
		return err_set(e, EINVAL, "'%s': bad host or port", url);
	for (size_t i = 0; i < n; i++)
		url[i] = (char)tolower((unsigned char)url[i]);
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->source[i].url, url) == 0)
			return err_set(e, EINVAL, "'%s' is given twice", url);
	memcpy(s->source[s->n++].url, url, n + 1);
	return 0;
}

int sources_new(const char *urls, struct sources **ret, struct err *e)
{
	CLEAN_FREE char *copy = strdup(urls);
	CLEAN_FREE struct sources *s = calloc(1, sizeof(*s));
	char *rest = copy, *url;
	uint64_t now_ns = clock_mono_ns();

	if (!copy || !s)
		return err_set(e, ENOMEM, "out of memory");
	while ((url = strsep(&rest, ","))) {
		int r = add_url(s, url, e);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < s->n; i++)
		s->source[i].since_ns = now_ns;
	s->reachable = true; /* until the first tries say otherwise */
	s->since_ns = now_ns;
	lock_init(&s->lock, LOCK_SOURCES);
	cond_init(&s->told);
	*ret = TAKE(s);
	return 0;
}

void sources_free(struct sources *s)
{
	if (!s)
		return;
	cond_destroy(&s->told);
	lock_destroy(&s->lock);
	free(s);
}

size_t sources_count(const struct sources *s)
{
	return s->n;
}

const char *sources_url(const struct sources *s, size_t i)
{
	return s->source[i].url;
}

void sources_on_change(struct sources *s,
		       void (*fn)(void *ctx, bool reachable, uint64_t for_ns,
				  const char *why),
		       void *ctx)
{
	LOCK_SCOPE(&s->lock);
	while (s->n_telling)
		cond_wait(&s->told, &s->lock);
	s->on_change = fn;
	s->ctx = ctx;
}

static void tell_change(struct sources *s, bool reachable, uint64_t for_ns,
			const char *why)
{
	void (*fn)(void *ctx, bool reachable, uint64_t for_ns,
		   const char *why);
	void *ctx;

	lock_take(&s->lock);
	fn = s->on_change;
	ctx = s->ctx;
	s->n_telling++;
	lock_give(&s->lock);
	if (fn)
		fn(ctx, reachable, for_ns, why);
	lock_take(&s->lock);
	if (--s->n_telling == 0)
		cond_wake_all(&s->told);
	lock_give(&s->lock);
}

/* ---- who lied about which version ------------------------------------ */

static struct lie *lie_find_locked(struct sources *s, const struct digest *d,
				   uint64_t now_ns)
{
	for (size_t i = 0; i < s->n_lies; i++) {
		struct lie *l = &s->lie[i];

		if (!digest_equal(&l->digest, d))
			continue;
		if (now_ns < l->when_ns + LIES_FORGET_NS)
			return l;
		*l = s->lie[--s->n_lies];
		return NULL;
	}
	return NULL;
}

/* A new entry; when the table is full, in place of the oldest. */
static struct lie *lie_add_locked(struct sources *s, const struct digest *d)
{
	struct lie *l = &s->lie[0];

	if (s->n_lies < LIES_MAX)
		l = &s->lie[s->n_lies++];
	else
		for (size_t i = 1; i < s->n_lies; i++)
			if (s->lie[i].when_ns < l->when_ns)
				l = &s->lie[i];
	*l = (struct lie){.digest = *d};
	return l;
}

bool sources_left_out(struct sources *s, size_t i, const struct digest *digest,
		      uint64_t now_ns)
{
	const struct lie *l;

	LOCK_SCOPE(&s->lock);
	l = lie_find_locked(s, digest, now_ns);
	return l && (l->sources >> i & 1);
}

/* Is every source but `i` left out? */
static bool last_left(const struct sources *s, uint32_t out, size_t i)
{
	uint32_t all = (uint32_t)((UINT64_C(1) << s->n) - 1);

	return (out | UINT32_C(1) << i) == all;
}

bool sources_lied(struct sources *s, size_t i, const struct digest *digest,
		  uint64_t now_ns)
{
	uint32_t bit = UINT32_C(1) << i;
	struct lie *l;
	bool news;

	LOCK_SCOPE(&s->lock);
	s->source[i].bad_blocks++;
	l = lie_find_locked(s, digest, now_ns);
	if (!l)
		l = lie_add_locked(s, digest);
	news = !(l->sources & bit);
	if (news && last_left(s, l->sources, i) &&
	    !(l->warned && now_ns - l->when_ns < SECOND_CHANCE_NS)) {
		l->warned = true;
		news = false;
	} else {
		l->sources |= bit;
	}
	l->when_ns = now_ns;
	return news;
}

/* ---- health ---------------------------------------------------------- */

/* Half of the step is fixed, half is chance, so that a hundred servers do not
 * come back to a restarted origin in one instant. */
uint64_t sources_backoff_ns(unsigned fails)
{
	uint64_t step = BACKOFF_MIN_NS, chance;

	while (--fails > 0 && step < BACKOFF_MAX_NS)
		step *= 2;
	if (step > BACKOFF_MAX_NS)
		step = BACKOFF_MAX_NS;
	crypto_random(&chance, sizeof(chance));
	return step / 2 + chance % (step / 2);
}

static void use_locked(struct source *o, uint64_t now_ns)
{
	if (o->fails) {
		o->on_trial = true;
		o->retry_ns = now_ns + sources_backoff_ns(o->fails);
	}
	o->requests++;
}

/* Lately. Another source is better, if there is one. */
static bool in_vain(const struct source *o, const struct digest *digest,
		    uint64_t now_ns)
{
	return digest && o->useless_ns &&
	       now_ns - o->useless_ns < USELESS_AVOID_NS &&
	       digest_equal(&o->useless, digest);
}

int sources_pick_except(struct sources *s, const struct digest *digest,
			uint32_t skip, bool urgent, uint64_t now_ns,
			size_t *ret_i, uint64_t *ret_when_ns)
{
	uint64_t when_ns = UINT64_MAX;
	uint32_t lied = 0;
	size_t trial = s->n;

	LOCK_SCOPE(&s->lock);
	if (digest) {
		const struct lie *l = lie_find_locked(s, digest, now_ns);

		lied = l ? l->sources : 0;
	}
	for (size_t i = 0; i < s->n; i++) {
		struct source *o = &s->source[i];

		if ((skip | lied) >> i & 1)
			continue;
		if (o->fails && now_ns < o->retry_ns) {
			if (o->retry_ns < when_ns)
				when_ns = o->retry_ns;
			continue;
		}
		if ((o->fails && urgent) || in_vain(o, digest, now_ns)) {
			if (trial == s->n)
				trial = i;
			continue;
		}
		use_locked(o, now_ns);
		*ret_i = i;
		return 0;
	}
	if (trial < s->n) {
		use_locked(&s->source[trial], now_ns);
		*ret_i = trial;
		return 0;
	}
	if (when_ns == UINT64_MAX)
		return lied & ~skip ? -EBADMSG : -ENOENT;
	*ret_when_ns = when_ns;
	return -EAGAIN;
}

int sources_pick(struct sources *s, const struct digest *digest,
		 uint64_t now_ns, size_t *ret_i, uint64_t *ret_when_ns)
{
	return sources_pick_except(s, digest, 0, false, now_ns, ret_i,
				   ret_when_ns);
}

static bool any_reachable_locked(const struct sources *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->source[i].fails < FAILS_UNREACHABLE)
			return true;
	return false;
}

/* Did the state of the set change just now? For how long was it the other. */
static bool set_changed_locked(struct sources *s, uint64_t now_ns,
			       uint64_t *ret_for_ns)
{
	bool reachable = any_reachable_locked(s);

	if (reachable == s->reachable)
		return false;
	s->reachable = reachable;
	*ret_for_ns = now_ns > s->since_ns ? now_ns - s->since_ns : 0;
	s->since_ns = now_ns;
	return true;
}

/* One of several: the set's own changes are told by its callback. */
static void tell_one(const struct sources *s, size_t i, const char *why)
{
	if (s->n == 1)
		return;
	if (why)
		log_warn("fetch", "%s does not serve: %s: asking the others",
			 s->source[i].url, why);
	else
		log_info("fetch", "%s serves again", s->source[i].url);
}

void sources_worked(struct sources *s, size_t i, uint64_t now_ns)
{
	struct source *o = &s->source[i];
	uint64_t for_ns = 0;
	bool changed, back;

	lock_take(&s->lock);
	back = o->fails >= FAILS_UNREACHABLE;
	if (back)
		o->since_ns = now_ns;
	o->fails = 0;
	o->has_useless = false;
	o->on_trial = false;
	o->retry_ns = 0;
	changed = set_changed_locked(s, now_ns, &for_ns);
	lock_give(&s->lock);
	if (back)
		tell_one(s, i, NULL);
	if (changed)
		tell_change(s, true, for_ns, "");
}

/* The first version that a healthy source has nothing useful for. */
static bool only_this_locked(struct source *o, const struct digest *digest,
			     uint64_t now_ns)
{
	if (!digest || o->fails)
		return false;
	if (o->has_useless && !digest_equal(&o->useless, digest))
		return false;
	o->has_useless = true;
	o->useless = *digest;
	o->useless_ns = now_ns;
	return true;
}

/* `digest`: it did answer, but for this version in vain. */
static void count_failure(struct sources *s, size_t i,
			  const struct digest *digest, uint64_t now_ns,
			  const char *why)
{
	struct source *o = &s->source[i];
	uint64_t for_ns = 0;
	bool changed, lost = false;

	lock_take(&s->lock);
	o->failures++;
	snprintf(o->why, sizeof(o->why), "%s", why);
	if (!only_this_locked(o, digest, now_ns) &&
	    (!o->fails || o->on_trial || now_ns >= o->retry_ns)) {
		lost = ++o->fails == FAILS_UNREACHABLE;
		if (lost)
			o->since_ns = now_ns;
		o->on_trial = false;
		o->retry_ns = now_ns + sources_backoff_ns(o->fails);
	}
	changed = set_changed_locked(s, now_ns, &for_ns);
	lock_give(&s->lock);
	if (lost)
		tell_one(s, i, why);
	if (changed)
		tell_change(s, false, for_ns, why);
}

void sources_failed(struct sources *s, size_t i, uint64_t now_ns,
		    const char *why)
{
	count_failure(s, i, NULL, now_ns, why);
}

void sources_useless(struct sources *s, size_t i, const struct digest *digest,
		     uint64_t now_ns, const char *why)
{
	count_failure(s, i, digest, now_ns, why);
}

void sources_state(struct sources *s, size_t i, struct source_state *ret)
{
	const struct source *o = &s->source[i];

	LOCK_SCOPE(&s->lock);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->url, o->url, sizeof(ret->url));
	memcpy(ret->why, o->why, sizeof(ret->why));
	ret->reachable = o->fails < FAILS_UNREACHABLE;
	ret->since_ns = o->since_ns;
	ret->retry_ns = o->retry_ns;
	ret->requests = o->requests;
	ret->failures = o->failures;
	ret->bad_blocks = o->bad_blocks;
}

bool sources_reachable(struct sources *s)
{
	LOCK_SCOPE(&s->lock);
	return s->reachable;
}
