/* SPDX-License-Identifier: Apache-2.0 */
/* test_answer.c - heads of answers, good and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fs/fetch/answer.h"

static enum answer range(int status, const char *content_range,
			 const char *encoding, int64_t length)
{
	struct answer_head h = {.status = status,
				.n_content_range = content_range ? 1 : 0,
				.content_range = content_range,
				.content_encoding = encoding,
				.content_length = length};

	return answer_to_range(&h, 1048576, 2097151, 5000000000u);
}

static void test_range(void **state)
{
	static const char good[] = "bytes 1048576-2097151/5000000000";
	static const char *const bad[] = {
		NULL, "", "bytes", "bytes 1048576-2097151",
		"bytes 1048576-2097151/*", "bytes */5000000000",
		"bytes 1048576-2097151/5000000001",
		"bytes 1048577-2097151/5000000000",
		"bytes 1048576-2097150/5000000000",
		"bytes 1048576-2097151/5000000000 ",
		"bytes 1048576-2097151/5000000000,0-1/2",
		"bytes=1048576-2097151/5000000000",
		"bytes +1048576-2097151/5000000000",
		"bytes  1048576-2097151/5000000000",
		"items 1048576-2097151/5000000000",
		"bytes 1048576-2097151/18446744078709551616",
		"bytes 18446744073710600192-2097151/5000000000",
	};
	struct answer_head twice = {.status = 206,
				    .n_content_range = 2,
				    .content_range = good,
				    .content_length = 1048576};

	(void)state;
	assert_int_equal(range(206, good, NULL, 1048576), ANSWER_GOOD);
	assert_int_equal(range(206, good, NULL, -1), ANSWER_GOOD);
	assert_int_equal(range(206, good, "identity", 1048576), ANSWER_GOOD);
	assert_int_equal(range(206, "Bytes 1048576-2097151/5000000000", NULL,
			       -1), ANSWER_GOOD);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(range(206, bad[i], NULL, 1048576),
				 ANSWER_WRONG_RANGE);
	assert_int_equal(range(206, good, NULL, 1048575), ANSWER_WRONG_RANGE);
	assert_int_equal(range(206, good, NULL, 0), ANSWER_WRONG_RANGE);
	assert_int_equal(answer_to_range(&twice, 1048576, 2097151, 5000000000u),
			 ANSWER_WRONG_RANGE);
	assert_int_equal(range(206, good, "gzip", 1048576), ANSWER_ENCODED);
	assert_int_equal(range(206, good, "", 1048576), ANSWER_ENCODED);
	assert_int_equal(range(404, NULL, NULL, 3), ANSWER_ABSENT);
	assert_int_equal(range(410, NULL, NULL, 3), ANSWER_ABSENT);
	assert_int_equal(range(200, good, NULL, 1048576), ANSWER_WRONG_STATUS);
	assert_int_equal(range(302, NULL, NULL, 0), ANSWER_WRONG_STATUS);
	assert_int_equal(range(416, "bytes */1", NULL, 0),
			 ANSWER_WRONG_STATUS);
	assert_int_equal(range(500, good, NULL, 1048576), ANSWER_WRONG_STATUS);
	assert_int_equal(range(0, NULL, NULL, -1), ANSWER_WRONG_STATUS);
}

static void test_whole(void **state)
{
	struct answer_head h = {.status = 200, .content_length = 100};

	(void)state;
	assert_int_equal(answer_to_whole(&h, 100), ANSWER_GOOD);
	assert_int_equal(answer_to_whole(&h, 99), ANSWER_WRONG_RANGE);
	h.content_length = -1;
	assert_int_equal(answer_to_whole(&h, 99), ANSWER_GOOD);
	h.content_encoding = "br";
	assert_int_equal(answer_to_whole(&h, 99), ANSWER_ENCODED);
	h.status = 206;
	assert_int_equal(answer_to_whole(&h, 99), ANSWER_WRONG_STATUS);
	h.status = 404;
	assert_int_equal(answer_to_whole(&h, 99), ANSWER_ABSENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
