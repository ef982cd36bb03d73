/* SPDX-License-Identifier: Apache-2.0 */
/* Known answers (FIPS 180, RFC 8032, RFC 4648), and that each bit counts. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/crypto.h"
#include "common/fdio.h"

static void test_sha256(void **state)
{
	struct digest d, e;
	char text[DIGEST_TEXT];

	(void)state;
	assert_int_equal(crypto_sha256("", 0, &d), 0);
	assert_string_equal(digest_text(&d, text),
			    "e3b0c44298fc1c149afbf4c8996fb924"
			    "27ae41e4649b934ca495991b7852b855");
	assert_int_equal(digest_parse(text, &e), 0);
	assert_true(digest_equal(&d, &e));
	e.b[31] ^= 1;
	assert_false(digest_equal(&d, &e));
}

static void test_digest_parse(void **state)
{
	char text[] = "e3b0c44298fc1c149afbf4c8996fb924"
		      "27ae41e4649b934ca495991b7852b855";
	struct digest d;

	(void)state;
	/* every shorter text, without reading past its end (ASan sees) */
	for (size_t n = 0; n < 64; n++) {
		char *cut = strndup(text, n);

		assert_int_equal(digest_parse(cut, &d), -EINVAL);
		free(cut);
	}
	assert_int_equal(digest_parse("e3b0c44298fc1c149afbf4c8996fb92427ae41e"
				      "4649b934ca495991b7852b8550",
				      &d),
			 -EINVAL);
	text[5] = 'C';
	assert_int_equal(digest_parse(text, &d), -EINVAL);
	text[5] = 'g';
	assert_int_equal(digest_parse(text, &d), -EINVAL);
}

/* RFC 8032, section 7.1, test 3. */
static void test_sign_known(void **state)
{
	static const uint8_t seed[32] = {
		0xc5, 0xaa, 0x8d, 0xf4, 0x3f, 0x9f, 0x83, 0x7b,
		0xed, 0xb7, 0x44, 0x2f, 0x31, 0xdc, 0xb7, 0xb1,
		0x66, 0xd3, 0x85, 0x35, 0x07, 0x6f, 0x09, 0x4b,
		0x85, 0xce, 0x3a, 0x2e, 0x0b, 0x44, 0x58, 0xf7};
	static const uint8_t pub[4] = {0xfc, 0x51, 0xcd, 0x8e};
	static const uint8_t want[8] = {0x62, 0x91, 0xd6, 0x57,
					0xde, 0xec, 0x24, 0x02};
	uint8_t sig[SIGN_BYTES];
	struct sign_secret k;

	(void)state;
	assert_int_equal(sign_from_seed(seed, &k), 0);
	assert_memory_equal(k.pub.b, pub, sizeof(pub));
	assert_int_equal(sign_make(&k, "\xaf\x82", 2, sig), 0);
	assert_memory_equal(sig, want, sizeof(want));
	assert_int_equal(sign_check(&k.pub, "\xaf\x82", 2, sig), 0);
}

static void test_sign_each_bit(void **state)
{
	char text[] = "a text that is signed";
	uint8_t sig[SIGN_BYTES];
	struct sign_secret k, other;

	(void)state;
	assert_int_equal(sign_keygen(&k), 0);
	assert_int_equal(sign_keygen(&other), 0);
	assert_memory_not_equal(k.b, other.b, sizeof(k.b));
	assert_int_equal(sign_make(&k, text, sizeof(text), sig), 0);
	assert_int_equal(sign_check(&k.pub, text, sizeof(text), sig), 0);
	for (size_t bit = 0; bit < sizeof(sig) * 8; bit++) {
		sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(sign_check(&k.pub, text, sizeof(text), sig),
				 -EBADMSG);
		sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t i = 0; i < sizeof(text); i++) {
		text[i] ^= 1;
		assert_int_equal(sign_check(&k.pub, text, sizeof(text), sig),
				 -EBADMSG);
		text[i] ^= 1;
	}
	assert_int_equal(sign_check(&k.pub, text, sizeof(text) - 1, sig),
			 -EBADMSG);
	assert_int_equal(sign_check(&other.pub, text, sizeof(text), sig),
			 -EBADMSG);
	/* TLS in the same thread must not find our failures. */
	assert_int_equal(ERR_peek_error(), 0);
}

static void test_base64(void **state)
{
	static const char *const pair[][2] = {
		{"", ""},	  {"f", "Zg=="},     {"fo", "Zm8="},
		{"foo", "Zm9v"},  {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"}};
	static const char *const bad[] = {
		"Z",	"Zg",	"Zg=",	 "Zh==",  "Zm9=",  "====",  "=AAA",
		"Z===", "Zg==Zg==", " Zg==", "Zg==\n", "Z g=", "Zm9v\n\n\n\n",
		"Zm-_", "Zm9v    "};
	char text[16];
	uint8_t data[16];

	(void)state;
	for (size_t i = 0; i < sizeof(pair) / sizeof(*pair); i++) {
		size_t n = strlen(pair[i][0]), m = strlen(pair[i][1]);

		assert_int_equal(base64_encode(pair[i][0], n, text, m + 1), m);
		assert_string_equal(text, pair[i][1]);
		assert_int_equal(base64_encode(pair[i][0], n, text, m),
				 -EINVAL);
		assert_int_equal(base64_decode(pair[i][1], m, data, n), n);
		assert_memory_equal(data, pair[i][0], n);
		if (n)
			assert_int_equal(base64_decode(pair[i][1], m, data,
						       n - 1),
					 -EINVAL);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (base64_decode(bad[i], strlen(bad[i]), data,
				  sizeof(data)) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
}

static void test_public_text(void **state)
{
	struct sign_public again;
	struct sign_secret k;
	char text[SIGN_KEY_TEXT];

	(void)state;
	assert_int_equal(sign_keygen(&k), 0);
	assert_int_equal(strlen(sign_public_text(&k.pub, text)), 44);
	assert_int_equal(sign_public_parse(text, &again), 0);
	assert_memory_equal(&again, &k.pub, sizeof(again));
	assert_int_equal(sign_public_parse("Zg==", &again), -EINVAL);
	assert_int_equal(sign_public_parse("", &again), -EINVAL);
	text[0] = '-';
	assert_int_equal(sign_public_parse(text, &again), -EINVAL);
}

static char dir[] = "/tmp/stagefs-crypto-XXXXXX";
static char path_a[64], path_b[64];

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path_a, sizeof(path_a), "%s/a", dir);
	snprintf(path_b, sizeof(path_b), "%s/b", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path_a);
	unlink(path_b);
	return rmdir(dir);
}

static void test_files(void **state)
{
	struct sign_secret k, again;
	struct sign_public pub;
	struct stat st;
	struct err e;

	(void)state;
	assert_int_equal(sign_keygen(&k), 0);
	umask(0);
	assert_int_equal(sign_secret_save(path_a, &k, &e), 0);
	assert_int_equal(stat(path_a, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* never overwritten: it is the identity of a store */
	assert_int_equal(sign_secret_save(path_a, &k, &e), -EEXIST);
	assert_int_equal(sign_secret_load(path_a, &again, &e), 0);
	assert_memory_equal(&again, &k, sizeof(k));

	assert_int_equal(sign_public_save(path_b, &k.pub, &e), 0);
	assert_int_equal(sign_public_save(path_b, &k.pub, &e), 0);
	assert_int_equal(sign_public_load(path_b, &pub, &e), 0);
	assert_memory_equal(&pub, &k.pub, sizeof(pub));

	/* the wrong kind of file, and none */
	assert_int_equal(sign_public_load(path_a, &pub, &e), -EINVAL);
	assert_int_equal(sign_secret_load(path_b, &again, &e), -EINVAL);
	assert_non_null(strstr(e.text, path_b));
	unlink(path_b);
	assert_int_equal(sign_public_load(path_b, &pub, &e), -ENOENT);
	assert_int_equal(ERR_peek_error(), 0);
}

static void write_text(const char *path, const char *text)
{
	assert_int_equal(file_replace_at(AT_FDCWD, path, text, strlen(text),
					 0644),
			 0);
}

/* Other keys, and one with a passphrase (which must not be asked for). */
static void test_foreign_keys(void **state)
{
	struct sign_secret k;
	struct sign_public pub;
	struct err e;

	(void)state;
	write_text(path_b, "-----BEGIN PUBLIC KEY-----\n"
			   "MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/"
			   "Og0mOBr066SpjqqbTmo=\n"
			   "-----END PUBLIC KEY-----\n");
	assert_int_equal(sign_public_load(path_b, &pub, &e), -EINVAL);
	assert_non_null(strstr(e.text, "Ed25519")); /* it is X25519 */
	write_text(path_b,
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
		"MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgAAAAAAAAAAAIC\n"
		"CAAwDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEAAAAAAAAAAAAAAAAAAA\n"
		"AAAEQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
		"-----END ENCRYPTED PRIVATE KEY-----\n");
	assert_int_equal(sign_secret_load(path_b, &k, &e), -EINVAL);
	write_text(path_b, "");
	assert_int_equal(sign_secret_load(path_b, &k, &e), -EINVAL);
	assert_int_equal(truncate(path_b, 1 << 20), 0);
	assert_int_equal(sign_secret_load(path_b, &k, &e), -EINVAL);
}

static void test_uuid(void **state)
{
	char a[UUID_TEXT], b[UUID_TEXT];

	(void)state;
	uuid_make(a);
	uuid_make(b);
	assert_string_not_equal(a, b);
	assert_true(uuid_valid(a));
	assert_int_equal(a[14], '4');
	assert_non_null(strchr("89ab", a[19]));
	for (size_t i = 0; i < UUID_TEXT - 1; i++) {
		char *cut = strndup(a, i);

		assert_false(uuid_valid(cut));
		free(cut);
		memcpy(b, a, sizeof(b));
		b[i] = b[i] == '-' ? '0' : '-';
		assert_false(uuid_valid(b));
	}
	assert_false(uuid_valid("00000000-0000-0000-0000-0000000000000"));
	assert_false(uuid_valid("0000000A-0000-0000-0000-000000000000"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_digest_parse),
		cmocka_unit_test(test_sign_known),
		cmocka_unit_test(test_sign_each_bit),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_public_text),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_foreign_keys),
		cmocka_unit_test(test_uuid),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
