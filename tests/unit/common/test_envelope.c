/* SPDX-License-Identifier: Apache-2.0 */
/* R1: nothing unsigned comes through; every byte of an envelope counts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/envelope.h"

static struct sign_secret key, other;

static int setup(void **state)
{
	(void)state;
	return sign_keygen(&key) || sign_keygen(&other);
}

static void test_round_trip(void **state)
{
	static const char *const docs[] = {"{\"a\":1}", "", "\n\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(docs) / sizeof(*docs); i++) {
		size_t want = strlen(docs[i]), n = 0, json_n = 99;
		struct sign_public got;
		const char *json = NULL;
		char *text = NULL;

		assert_int_equal(envelope_seal(&key, docs[i], want, &text, &n),
				 0);
		assert_int_equal(text[n], 0);
		assert_int_equal(n, 151 + want);
		assert_int_equal(envelope_open(text, n, NULL, &got, &json,
					       &json_n, NULL),
				 0);
		assert_ptr_equal(json, text + 151);
		assert_int_equal(json_n, want);
		assert_memory_equal(json, docs[i], want);
		assert_memory_equal(&got, &key.pub, sizeof(got));
		assert_int_equal(envelope_open(text, n, &key.pub, NULL, &json,
					       &json_n, NULL),
				 0);
		free(text);
	}
}

static void test_pin(void **state)
{
	const char *json = NULL;
	size_t n = 0, json_n;
	struct err e;
	char *text;

	(void)state;
	assert_int_equal(envelope_seal(&other, "{}", 2, &text, &n), 0);
	assert_int_equal(envelope_open(text, n, &key.pub, NULL, &json, &json_n,
				       &e),
			 -EKEYREJECTED);
	assert_null(json);
	free(text);
}

/* Each bit of each byte changed, each shorter and longer text. */
static void test_each_bit(void **state)
{
	const char *json = NULL, *doc = "{\"revision\":12}";
	size_t n = 0, json_n = 0;
	char *text;

	(void)state;
	assert_int_equal(envelope_seal(&key, doc, strlen(doc), &text, &n), 0);
	for (size_t bit = 0; bit < n * 8; bit++) {
		int r;

		text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
		r = envelope_open(text, n, &key.pub, NULL, &json, &json_n,
				  NULL);
		assert_true(r == -EPROTO || r == -EBADMSG ||
			    r == -EKEYREJECTED);
		/* without a pin a changed key must not pass either */
		r = envelope_open(text, n, NULL, NULL, &json, &json_n, NULL);
		assert_true(r == -EPROTO || r == -EBADMSG);
		text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
	}
	for (size_t cut = 0; cut < n; cut++) {
		char *part = malloc(cut ? cut : 1);
		int r;

		memcpy(part, text, cut);
		r = envelope_open(part, cut, &key.pub, NULL, &json, &json_n,
				  NULL);
		assert_int_equal(r, cut < 151 ? -EPROTO : -EBADMSG);
		free(part);
	}
	/* the byte after the end is 0 here; with it the text is another */
	assert_int_equal(envelope_open(text, n + 1, &key.pub, NULL, &json,
				       &json_n, NULL),
			 -EBADMSG);
	assert_null(json);
	free(text);
}

static void test_other_things(void **state)
{
	static const char page[] = "<html><body>It works!</body></html>";
	const char *json = NULL;
	char *text;
	size_t n, json_n;
	struct err e;

	(void)state;
	assert_int_equal(envelope_open(page, strlen(page), NULL, NULL, &json,
				       &json_n, &e),
			 -EPROTO);
	assert_non_null(strstr(e.text, "not a signed document"));
	assert_int_equal(envelope_seal(&key, "{}", 2, &text, &n), 0);
	text[15] = '2';
	assert_int_equal(envelope_open(text, n, NULL, NULL, &json, &json_n, &e),
			 -EPROTO);
	assert_non_null(strstr(e.text, "newer"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_pin),
		cmocka_unit_test(test_each_bit),
		cmocka_unit_test(test_other_things),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
