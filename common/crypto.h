/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto.h - SHA-256, Ed25519 and random numbers; the only user of
 * OpenSSL's libcrypto.
 *
 * Thread safe: no shared state. Errors are -errno: -EBADMSG for a signature
 * that does not match, -EINVAL for a malformed key, -EIO when the library
 * itself fails.
 */
#ifndef STAGEFS_COMMON_CRYPTO_H
#define STAGEFS_COMMON_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define DIGEST_BYTES 32
#define DIGEST_TEXT 65 /* 64 lower-case hex digits and the end */

struct digest {
	uint8_t b[DIGEST_BYTES];
};

int crypto_sha256(const void *data, size_t n, struct digest *ret);
bool digest_equal(const struct digest *a, const struct digest *b);
const char *digest_text(const struct digest *d, char out[DIGEST_TEXT]);
/* Exactly 64 hex digits, lower case. 0 or -EINVAL. */
int digest_parse(const char *text, struct digest *ret);

#define SIGN_KEY_BYTES 32
#define SIGN_BYTES 64
#define SIGN_KEY_TEXT 45 /* base64 of a key, and the end */
#define SIGN_TEXT 89	 /* base64 of a signature, and the end */

struct sign_public {
	uint8_t b[SIGN_KEY_BYTES];
};
struct sign_secret {
	uint8_t b[SIGN_KEY_BYTES];
	struct sign_public pub;
};

int sign_keygen(struct sign_secret *ret);
/* Derives the public half from the 32 secret bytes. */
int sign_from_seed(const uint8_t seed[SIGN_KEY_BYTES], struct sign_secret *ret);
int sign_make(const struct sign_secret *k, const void *data, size_t n,
	      uint8_t ret_sig[SIGN_BYTES]);
int sign_check(const struct sign_public *k, const void *data, size_t n,
	       const uint8_t sig[SIGN_BYTES]);

const char *sign_public_text(const struct sign_public *k,
			     char out[SIGN_KEY_TEXT]);
int sign_public_parse(const char *base64, struct sign_public *ret);

/* Key files: PEM (PKCS#8, SubjectPublicKeyInfo), as `openssl pkey` reads.
 * The secret one is made with mode 0600 and O_EXCL. */
int sign_secret_save(const char *path, const struct sign_secret *k,
		     struct err *e);
int sign_secret_load(const char *path, struct sign_secret *ret, struct err *e);
int sign_public_save(const char *path, const struct sign_public *k,
		     struct err *e);
int sign_public_load(const char *path, struct sign_public *ret, struct err *e);

/* Strict base64 with padding. `out_size` counts the end byte for encode.
 * decode returns the length or -EINVAL. */
int base64_encode(const void *data, size_t n, char *out, size_t out_size);
int base64_decode(const char *text, size_t n, void *out, size_t out_size);

/* Random bytes from the kernel; cannot fail on Linux >= 3.17. */
void crypto_random(void *out, size_t n);
/* A random (version 4) UUID as 36 characters of text. */
#define UUID_TEXT 37
void uuid_make(char out[UUID_TEXT]);
/* 36 characters, lower-case hex and dashes. */
bool uuid_valid(const char *text);

#endif
