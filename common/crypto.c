/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto.c - libcrypto's EVP interface, wrapped so that nobody else sees it.
 *
 * OpenSSL keeps a queue of errors per thread, and its TLS layer takes a stale
 * entry for an error of its own. Other code of a thread may use TLS (libcurl,
 * libevent), so every failure here empties the queue.
 */
#include "common/crypto.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"

static int fail(int code)
{
	ERR_clear_error();
	return -code;
}

static void cleanup_md_ctx(EVP_MD_CTX **c)
{
	EVP_MD_CTX_free(*c);
}

/*
 * In steps of a page, and while one is hashed the next is brought into the
 * cache: the processor's own look-ahead ends at each page. Blocks that have
 * just come over the line lie in memory; without this a core with SHA
 * instructions hashes them at 1.16 GB/s, with it at 1.56, and at 1.76 what
 * its cache holds (OpenSSL 3.0, a Xeon of 2023).
 */
#define HASH_STEP_BYTES 4096
#define CACHE_LINE_BYTES 64

static bool hash_all(EVP_MD_CTX *ctx, const unsigned char *p, size_t n)
{
	while (n > HASH_STEP_BYTES) {
		const unsigned char *next = p + HASH_STEP_BYTES;
		size_t ahead = n - HASH_STEP_BYTES;

		if (ahead > HASH_STEP_BYTES)
			ahead = HASH_STEP_BYTES;
		for (size_t i = 0; i < ahead; i += CACHE_LINE_BYTES)
			__builtin_prefetch(next + i);
		if (EVP_DigestUpdate(ctx, p, HASH_STEP_BYTES) != 1)
			return false;
		p = next;
		n -= HASH_STEP_BYTES;
	}
	return EVP_DigestUpdate(ctx, p, n) == 1;
}

int crypto_sha256(const void *data, size_t n, struct digest *ret)
{
	CLEAN(cleanup_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct digest d;
	unsigned int len = 0;

	if (!ctx || EVP_DigestInit_ex2(ctx, EVP_sha256(), NULL) != 1 ||
	    !hash_all(ctx, data, n) ||
	    EVP_DigestFinal_ex(ctx, d.b, &len) != 1 || len != DIGEST_BYTES)
		return fail(EIO);
	*ret = d;
	return 0;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_BYTES) == 0;
}

const char *digest_text(const struct digest *d, char out[DIGEST_TEXT])
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < DIGEST_BYTES; i++) {
		out[2 * i] = hex[d->b[i] >> 4];
		out[2 * i + 1] = hex[d->b[i] & 15];
	}
	out[DIGEST_TEXT - 1] = 0;
	return out;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int digest_parse(const char *text, struct digest *ret)
{
	struct digest d;

	for (int i = 0; i < DIGEST_BYTES; i++) {
		int high = hex_value(text[2 * i]), low;

		if (high < 0)
			return -EINVAL;
		low = hex_value(text[2 * i + 1]);
		if (low < 0)
			return -EINVAL;
		d.b[i] = (uint8_t)(high << 4 | low);
	}
	if (text[DIGEST_TEXT - 1])
		return -EINVAL;
	*ret = d;
	return 0;
}

static void cleanup_pkey(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

int sign_from_seed(const uint8_t seed[SIGN_KEY_BYTES], struct sign_secret *ret)
{
	CLEAN(cleanup_pkey) EVP_PKEY *key = EVP_PKEY_new_raw_private_key(
		EVP_PKEY_ED25519, NULL, seed, SIGN_KEY_BYTES);
	struct sign_public pub;
	size_t n = sizeof(pub.b);

	if (!key || EVP_PKEY_get_raw_public_key(key, pub.b, &n) != 1 ||
	    n != sizeof(pub.b))
		return fail(EIO);
	memmove(ret->b, seed, SIGN_KEY_BYTES);
	ret->pub = pub;
	return 0;
}

int sign_keygen(struct sign_secret *ret)
{
	uint8_t seed[SIGN_KEY_BYTES];
	int r;

	crypto_random(seed, sizeof(seed));
	r = sign_from_seed(seed, ret);
	OPENSSL_cleanse(seed, sizeof(seed));
	return r;
}

int sign_make(const struct sign_secret *k, const void *data, size_t n,
	      uint8_t ret_sig[SIGN_BYTES])
{
	CLEAN(cleanup_pkey) EVP_PKEY *key = EVP_PKEY_new_raw_private_key(
		EVP_PKEY_ED25519, NULL, k->b, SIGN_KEY_BYTES);
	CLEAN(cleanup_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t sig[SIGN_BYTES];
	size_t len = sizeof(sig);

	if (!key || !ctx ||
	    EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) != 1 ||
	    EVP_DigestSign(ctx, sig, &len, data, n) != 1 || len != sizeof(sig))
		return fail(EIO);
	memcpy(ret_sig, sig, sizeof(sig));
	return 0;
}

int sign_check(const struct sign_public *k, const void *data, size_t n,
	       const uint8_t sig[SIGN_BYTES])
{
	CLEAN(cleanup_pkey) EVP_PKEY *key = EVP_PKEY_new_raw_public_key(
		EVP_PKEY_ED25519, NULL, k->b, SIGN_KEY_BYTES);
	CLEAN(cleanup_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!key || !ctx ||
	    EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) != 1)
		return fail(EIO);
	if (EVP_DigestVerify(ctx, sig, SIGN_BYTES, data, n) != 1)
		return fail(EBADMSG);
	return 0;
}

const char *sign_public_text(const struct sign_public *k,
			     char out[SIGN_KEY_TEXT])
{
	base64_encode(k->b, sizeof(k->b), out, SIGN_KEY_TEXT);
	return out;
}

int sign_public_parse(const char *base64, struct sign_public *ret)
{
	struct sign_public k;

	if (base64_decode(base64, strlen(base64), k.b, sizeof(k.b)) !=
	    SIGN_KEY_BYTES)
		return -EINVAL;
	*ret = k;
	return 0;
}

int base64_encode(const void *data, size_t n, char *out, size_t out_size)
{
	if (n > INT_MAX / 2 || (n + 2) / 3 * 4 + 1 > out_size)
		return -EINVAL;
	return EVP_EncodeBlock((unsigned char *)out, data, (int)n);
}

/*
 * EVP_DecodeBlock skips blanks, takes a padding in the middle and bits that
 * should be zero. Encoding each group again and comparing refuses all that:
 * one text per value.
 */
int base64_decode(const char *text, size_t n, void *out, size_t out_size)
{
	unsigned char *to = out;
	size_t done = 0;

	if (n % 4 || n > INT_MAX / 2)
		return -EINVAL;
	for (size_t i = 0; i < n; i += 4) {
		const unsigned char *group = (const unsigned char *)text + i;
		unsigned char three[3], again[5];
		size_t len = 3;

		if (i + 4 == n && group[3] == '=')
			len = group[2] == '=' ? 1 : 2;
		if (EVP_DecodeBlock(three, group, 4) != 3)
			return fail(EINVAL);
		EVP_EncodeBlock(again, three, (int)len);
		if (memcmp(again, group, 4) != 0 || len > out_size - done)
			return -EINVAL;
		memcpy(to + done, three, len);
		done += len;
	}
	return (int)done;
}

void crypto_random(void *out, size_t n)
{
	unsigned char *p = out;

	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0)
			continue; /* EINTR; nothing else can happen */
		p += got;
		n -= (size_t)got;
	}
}

void uuid_make(char out[UUID_TEXT])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t b[16];
	char *p = out;

	crypto_random(b, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4 */
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* variant of RFC 9562 */
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[b[i] >> 4];
		*p++ = hex[b[i] & 15];
	}
	*p = 0;
}

bool uuid_valid(const char *text)
{
	for (int i = 0; i < UUID_TEXT - 1; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : hex_value(text[i]) < 0)
			return false;
	}
	return text[UUID_TEXT - 1] == 0;
}
