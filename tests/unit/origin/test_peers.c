/* SPDX-License-Identifier: Apache-2.0 */
/* Connections counted by address: what is one address, when it has too many,
 * and that nothing is left. */
#include "origin/http/peers.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in *in = (void *)&ss;
	struct sockaddr_in6 *in6 = (void *)&ss;

	if (strchr(text, ':')) {
		ss.ss_family = AF_INET6;
		assert_int_equal(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
	} else {
		ss.ss_family = AF_INET;
		assert_int_equal(inet_pton(AF_INET, text, &in->sin_addr), 1);
	}
	return ss;
}

static struct peer *join(struct peers *p, const char *text, unsigned above,
			 bool first)
{
	struct sockaddr_storage ss = address(text);
	struct peer *peer;
	unsigned got;
	bool was_first;

	peer = peers_join(p, &ss, &got, &was_first);
	assert_non_null(peer);
	assert_int_equal(got, above);
	assert_int_equal(was_first, first);
	return peer;
}

static void test_above(void **state)
{
	struct peer *a[5], *b;
	struct peers *p;

	(void)state;
	assert_int_equal(peers_new(3, &p), 0);
	for (int i = 0; i < 3; i++)
		a[i] = join(p, "10.1.2.3", 0, false);
	a[3] = join(p, "10.1.2.3", 1, true);
	a[4] = join(p, "10.1.2.3", 2, false);
	b = join(p, "10.1.2.4", 0, false);
	/* It is said again only when it had been well for a while. */
	peers_leave(p, a[4]);
	peers_leave(p, a[3]);
	peers_leave(p, a[2]);
	a[2] = join(p, "10.1.2.3", 0, false);
	a[3] = join(p, "10.1.2.3", 1, false);
	for (int i = 0; i < 4; i++)
		peers_leave(p, a[i]);
	for (int i = 0; i < 3; i++)
		a[i] = join(p, "10.1.2.3", 0, false);
	a[3] = join(p, "10.1.2.3", 1, true);
	for (int i = 0; i < 4; i++)
		peers_leave(p, a[i]);
	peers_leave(p, b);
	peers_leave(p, NULL);
	peers_free(p);
	peers_free(NULL);
}

static void test_what_is_one(void **state)
{
	struct sockaddr_storage local = {.ss_family = AF_UNIX};
	struct peers *p;
	struct peer *a[6];
	unsigned above;
	bool first;

	(void)state;
	assert_int_equal(peers_new(1, &p), 0);
	a[0] = join(p, "2001:db8:1:2::1", 0, false);
	a[1] = join(p, "2001:db8:1:2:ffff::9", 1, true); /* its network */
	a[2] = join(p, "2001:db8:1:3::1", 0, false);
	a[3] = join(p, "192.0.2.1", 0, false);
	a[4] = join(p, "192.0.2.2", 0, false);
	a[5] = join(p, "192.0.2.1", 1, true);
	assert_null(peers_join(p, &local, &above, &first));
	assert_int_equal(above, 0);
	assert_false(first);
	for (int i = 0; i < 6; i++)
		peers_leave(p, a[i]);
	peers_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_above),
		cmocka_unit_test(test_what_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
