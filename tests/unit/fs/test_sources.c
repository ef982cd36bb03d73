/* SPDX-License-Identifier: Apache-2.0 */
/* test_sources.c - URLs, order, back-off, trials, lies, the set's state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "fs/fetch/sources.h"

#define S NS_PER_S
#define MS NS_PER_MS

static struct sources *make(const char *urls)
{
	struct sources *s = NULL;
	struct err e;

	assert_int_equal(sources_new(urls, &s, &e), 0);
	return s;
}

static size_t picked(struct sources *s, uint64_t now_ns)
{
	uint64_t when;
	size_t i = 99;

	assert_int_equal(sources_pick(s, NULL, now_ns, &i, &when), 0);
	return i;
}

static uint64_t refused_until(struct sources *s, uint64_t now_ns)
{
	uint64_t when = 0;
	size_t i;

	assert_int_equal(sources_pick(s, NULL, now_ns, &i, &when), -EAGAIN);
	assert_true(when > now_ns);
	return when;
}

static void test_urls(void **state)
{
	static const char *const good[] = {
		"http://a", "http://a:1", "https://A.example:65535/",
		"http://[::1]:8420", "http://10.0.0.1:8420,https://b_c:2",
	};
	static const char *const bad[] = {
		"", ",", "http://", "a:8420", "ftp://a", "http://a,",
		"http://a,http://A/", "http://u@a", "http://u:p@a:1",
		"http://a/x", "http://a//", "http://a?x", "http://a#x",
		"http://a:0", "http://a:65536", "http://a:", "http://a:1x",
		"http://a b", "http://[::1", "http://[]:1", "http://a\n",
		"http://:80", "http://a%41", "http://a:-1", "http://a: 1",
	};
	char many[600] = "", one[400];
	struct sources *s;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		sources_free(make(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		e.text[0] = '\0';
		if (sources_new(bad[i], &s, &e) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
		assert_true(e.text[0] != '\0');
	}
	s = make("HTTP://Origin:8420/,http://b");
	assert_int_equal(sources_count(s), 2);
	assert_string_equal(sources_url(s, 0), "http://origin:8420");
	assert_string_equal(sources_url(s, 1), "http://b");
	sources_free(s);

	for (int i = 0; i < SOURCES_MAX + 1; i++)
		snprintf(many + strlen(many), 20, "%shttp://h%d", i ? "," : "",
			 i);
	assert_int_equal(sources_new(many, &s, &e), -EINVAL);
	*strrchr(many, ',') = '\0';
	sources_free(make(many));

	memset(one, 'a', sizeof(one));
	memcpy(one, "http://", 7);
	one[256] = '\0';
	assert_int_equal(sources_new(one, &s, &e), -EINVAL);
	one[255] = '\0';
	sources_free(make(one));
}

/* The first healthy one in the order of the admin. */
static void test_order(void **state)
{
	struct sources *s = make("http://a,http://b");
	uint64_t now = 100 * S, when;
	size_t i;

	(void)state;
	assert_int_equal(picked(s, now), 0);
	assert_int_equal(picked(s, now), 0);
	sources_failed(s, 0, now, "reset");
	assert_int_equal(picked(s, now), 1);
	assert_int_equal(sources_pick_except(s, NULL, 2, false, now, &i, &when),
			 -EAGAIN);
	assert_int_equal(sources_pick_except(s, NULL, 3, false, now, &i, &when),
			 -ENOENT);
	sources_worked(s, 0, now);
	assert_int_equal(picked(s, now), 0);
	sources_free(s);
}

static void test_backoff_grows_and_ends(void **state)
{
	struct sources *s = make("http://a");
	uint64_t now = 100 * S, step = 200 * MS;

	(void)state;
	for (int n = 0; n < 12; n++) {
		uint64_t when;

		sources_failed(s, 0, now, "no");
		when = refused_until(s, now);
		assert_in_range(when - now, step / 2, step);
		step = step * 2 < 15 * S ? step * 2 : 15 * S;
		now = when;
		assert_int_equal(picked(s, now), 0);
	}
	sources_worked(s, 0, now);
	sources_failed(s, 0, now, "no");
	assert_in_range(refused_until(s, now) - now, 100 * MS, 200 * MS);
	sources_free(s);
}

/* Thirty transfers that die together are one step, not thirty. */
static void test_burst_is_one_step(void **state)
{
	struct sources *s = make("http://a");
	struct source_state st;
	uint64_t now = 100 * S;

	(void)state;
	for (int n = 0; n < 30; n++)
		sources_failed(s, 0, now + (uint64_t)n, "reset");
	assert_in_range(refused_until(s, now) - now, 100 * MS, 201 * MS);
	sources_state(s, 0, &st);
	assert_int_equal(st.failures, 30);
	assert_true(st.reachable);
	assert_true(sources_reachable(s));
	assert_string_equal(st.why, "reset");
	sources_free(s);
}

/* After the back-off one goes first; a trial without result blocks nobody
 * for good. */
static void test_trial(void **state)
{
	struct sources *s = make("http://a");
	uint64_t now = 100 * S, when;

	(void)state;
	sources_failed(s, 0, now, "no");
	now = refused_until(s, now);
	assert_int_equal(picked(s, now), 0);
	when = refused_until(s, now);
	assert_int_equal(picked(s, when), 0);
	refused_until(s, when);
	sources_worked(s, 0, when);
	assert_int_equal(picked(s, when), 0);
	assert_int_equal(picked(s, when), 0);
	sources_free(s);
}

/* R5: a reader is not the one who finds out that a host is still dead. */
static void test_urgent_avoids_trials(void **state)
{
	struct sources *s = make("http://a,http://b");
	uint64_t now = 100 * S, when;
	size_t i;

	(void)state;
	sources_failed(s, 0, now, "timeout");
	now += S;
	assert_int_equal(sources_pick_except(s, NULL, 0, true, now, &i, &when),
			 0);
	assert_int_equal(i, 1);
	assert_int_equal(sources_pick_except(s, NULL, 2, true, now, &i, &when),
			 0);
	assert_int_equal(i, 0);
	now += S;
	assert_int_equal(picked(s, now), 0);
	assert_int_equal(picked(s, now), 1); /* while that one is tried */
	sources_free(s);
}

struct change {
	int n;
	bool reachable;
	uint64_t for_ns;
	char why[64];
};

static void note(void *ctx, bool reachable, uint64_t for_ns, const char *why)
{
	struct change *c = ctx;

	c->n++;
	c->reachable = reachable;
	c->for_ns = for_ns;
	snprintf(c->why, sizeof(c->why), "%s", why);
}

/* One version that a source has only errors for is in nobody's way; two
 * without a success in between are a failure of the source. */
static void test_useless_answers(void **state)
{
	struct sources *s = make("http://a");
	struct digest one = {{1}}, two = {{2}};
	struct source_state st;

	(void)state;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(picked(s, (1 + i) * MS), 0);
		sources_useless(s, 0, &one, (1 + i) * MS, "it answered 500");
	}
	sources_state(s, 0, &st);
	assert_int_equal(st.failures, 20);
	assert_string_equal(st.why, "it answered 500");
	assert_true(st.reachable);

	/* ... a success, then the other one. */
	sources_worked(s, 0, 30 * MS);
	sources_useless(s, 0, &two, 31 * MS, "x");
	assert_int_equal(picked(s, 32 * MS), 0);
	sources_useless(s, 0, &one, 33 * MS, "x");
	refused_until(s, 34 * MS);
	/* And now that it is in back-off it goes on as any other failure. */
	assert_int_equal(picked(s, S), 0);
	sources_useless(s, 0, &one, S, "x");
	sources_state(s, 0, &st);
	assert_false(st.reachable);
	sources_free(s);
}

/* With another source it is asked for that version only if the other one
 * cannot be, for half a minute. */
static void test_useless_goes_elsewhere(void **state)
{
	struct sources *s = make("http://a,http://b");
	struct digest one = {{1}}, two = {{2}};
	uint64_t when;
	size_t i;

	(void)state;
	sources_useless(s, 0, &one, S, "x");
	assert_int_equal(sources_pick(s, &one, S, &i, &when), 0);
	assert_int_equal(i, 1);
	assert_int_equal(sources_pick(s, &two, S, &i, &when), 0);
	assert_int_equal(i, 0);
	sources_failed(s, 1, S, "x");
	assert_int_equal(sources_pick(s, &one, S + MS, &i, &when), 0);
	assert_int_equal(i, 0);
	sources_worked(s, 1, 2 * S);
	assert_int_equal(sources_pick(s, &one, 30 * S, &i, &when), 0);
	assert_int_equal(i, 1);
	assert_int_equal(sources_pick(s, &one, 32 * S, &i, &when), 0);
	assert_int_equal(i, 0);
	sources_free(s);
}

static void test_set_changes_once(void **state)
{
	struct sources *s = make("http://a,http://b");
	uint64_t now = clock_mono_ns() + S;
	struct change c = {0};
	struct source_state st;

	(void)state;
	sources_on_change(s, note, &c);
	sources_failed(s, 0, now, "x");
	sources_failed(s, 0, now + 20 * S, "x");
	sources_failed(s, 1, now + 20 * S, "y");
	assert_int_equal(c.n, 0); /* one lost connection is not a dead host */
	sources_failed(s, 1, now + 40 * S, "refused");
	assert_int_equal(c.n, 1);
	assert_false(c.reachable);
	assert_false(sources_reachable(s));
	assert_string_equal(c.why, "refused");
	sources_failed(s, 1, now + 60 * S, "refused");
	sources_failed(s, 0, now + 60 * S, "refused");
	assert_int_equal(c.n, 1);
	sources_state(s, 1, &st);
	assert_false(st.reachable);
	assert_int_equal(st.since_ns, now + 40 * S);
	sources_worked(s, 1, now + 77 * S);
	assert_int_equal(c.n, 2);
	assert_true(c.reachable);
	assert_int_equal(c.for_ns, 37 * S);
	sources_worked(s, 0, now + 78 * S);
	assert_int_equal(c.n, 2);
	sources_free(s);
}

static struct digest number(uint32_t n)
{
	struct digest d = {{0}};

	memcpy(d.b, &n, sizeof(n));
	return d;
}

/* A liar is left out for that version only, and for ten minutes. */
static void test_lies(void **state)
{
	struct sources *s = make("http://a,http://b");
	struct digest bad = number(1), other = number(2);
	uint64_t now = 100 * S, when;
	struct source_state st;
	size_t i;

	(void)state;
	assert_true(sources_lied(s, 0, &bad, now));
	assert_false(sources_lied(s, 0, &bad, now));
	assert_int_equal(sources_pick(s, &bad, now, &i, &when), 0);
	assert_int_equal(i, 1);
	assert_int_equal(sources_pick(s, &other, now, &i, &when), 0);
	assert_int_equal(i, 0);
	assert_int_equal(
		sources_pick_except(s, &bad, 1u << 1, false, now, &i,
				    &when),
		-EBADMSG);
	/* The last one left has a second chance, not a third. */
	assert_false(sources_lied(s, 1, &bad, now));
	assert_int_equal(sources_pick(s, &bad, now, &i, &when), 0);
	assert_false(sources_lied(s, 1, &bad, now + 11 * S));
	assert_int_equal(sources_pick(s, &bad, now + 11 * S, &i, &when), 0);
	now += 12 * S;
	assert_true(sources_lied(s, 1, &bad, now));
	assert_int_equal(sources_pick(s, &bad, now, &i, &when), -EBADMSG);
	assert_int_equal(sources_pick(s, &bad, now + 602 * S, &i, &when), 0);
	sources_state(s, 0, &st);
	assert_int_equal(st.bad_blocks, 2);
	assert_true(st.reachable);

	/* Lies, and is down: the honest one in back-off is waited for. */
	sources_lied(s, 0, &bad, now);
	sources_failed(s, 1, now, "x");
	assert_int_equal(sources_pick(s, &bad, now, &i, &when), -EAGAIN);
	sources_free(s);
}

static void test_lies_are_bounded(void **state)
{
	struct sources *s = make("http://a");
	uint64_t when;
	size_t i;

	(void)state;
	for (uint32_t n = 0; n < 1025; n++) {
		struct digest d = number(n);

		sources_lied(s, 0, &d, 100 * S + n);
		sources_lied(s, 0, &d, 100 * S + n);
	}
	for (uint32_t n = 0; n < 1025; n++) {
		struct digest d = number(n);

		assert_int_equal(sources_pick(s, &d, 101 * S, &i, &when),
				 n == 0 ? 0 : -EBADMSG);
	}
	sources_free(s);
}

struct listener {
	atomic_bool in, out;
};

static void listen_slowly(void *ctx, bool reachable, uint64_t for_ns,
			  const char *why)
{
	struct listener *l = ctx;

	(void)reachable, (void)for_ns, (void)why;
	atomic_store(&l->in, true);
	usleep(20000);
	atomic_store(&l->out, true);
}

static void *fail_twice(void *ctx)
{
	sources_failed(ctx, 0, 1 * S, "");
	sources_failed(ctx, 0, 100 * S, "");
	return NULL;
}

/* The agent goes before the fetcher: nobody may be told who is gone. */
static void test_nobody_is_told_too_late(void **state)
{
	struct sources *s = make("http://a");
	struct listener l = {false, false};
	pthread_t t;

	(void)state;
	sources_on_change(s, listen_slowly, &l);
	assert_int_equal(pthread_create(&t, NULL, fail_twice, s), 0);
	while (!atomic_load(&l.in))
		usleep(100);
	sources_on_change(s, NULL, NULL);
	assert_true(atomic_load(&l.out));
	pthread_join(t, NULL);
	sources_worked(s, 0, 200 * S);
	sources_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_backoff_grows_and_ends),
		cmocka_unit_test(test_burst_is_one_step),
		cmocka_unit_test(test_trial),
		cmocka_unit_test(test_urgent_avoids_trials),
		cmocka_unit_test(test_useless_answers),
		cmocka_unit_test(test_useless_goes_elsewhere),
		cmocka_unit_test(test_set_changes_once),
		cmocka_unit_test(test_nobody_is_told_too_late),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_lies_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
