/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyfile.c - keys as PEM files (the second half of crypto.h). PEM, and not a
 * line of base64, because `openssl pkey -in FILE -text` reads it and people
 * know what such a file is. Beside crypto.c the only user of libcrypto.
 */
#include "common/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"

#define KEY_FILE_MAX_BYTES (16u << 10)

static void cleanup_bio(BIO **b)
{
	BIO_free(*b);
}

static void cleanup_pkey(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

/* Without it libcrypto asks on the terminal, and a daemon hangs. */
static int no_passphrase(char *buf, int size, int writing, void *ctx)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)ctx;
	return -1;
}

static int write_new(const char *path, const void *data, size_t n)
{
	CLEAN_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			       0600);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, data, n);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0)
		unlink(path);
	return r;
}

/* What the encoder has put into `bio`. A secret is never written over another,
 * and nobody else may read it. */
static int save(const char *path, BIO *bio, bool encoded, bool secret,
		struct err *e)
{
	char *text;
	long n;
	int r;

	if (!encoded) {
		ERR_clear_error();
		return err_set(e, EIO, "%s: cannot encode the key", path);
	}
	n = BIO_get_mem_data(bio, &text);
	r = secret ? write_new(path, text, (size_t)n)
		   : file_replace_at(AT_FDCWD, path, text, (size_t)n, 0644);
	if (r < 0)
		return err_set(e, -r, "%s: cannot write the key: %s", path,
			       strerror(-r));
	return 0;
}

int sign_secret_save(const char *path, const struct sign_secret *k,
		     struct err *e)
{
	CLEAN(cleanup_pkey) EVP_PKEY *key = EVP_PKEY_new_raw_private_key(
		EVP_PKEY_ED25519, NULL, k->b, SIGN_KEY_BYTES);
	/* Secure memory is wiped when it is freed. */
	CLEAN(cleanup_bio) BIO *bio = BIO_new(BIO_s_secmem());
	bool encoded = key && bio &&
		       PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0,
						     NULL, NULL) == 1;

	return save(path, bio, encoded, true, e);
}

int sign_public_save(const char *path, const struct sign_public *k,
		     struct err *e)
{
	CLEAN(cleanup_pkey) EVP_PKEY *key = EVP_PKEY_new_raw_public_key(
		EVP_PKEY_ED25519, NULL, k->b, SIGN_KEY_BYTES);
	CLEAN(cleanup_bio) BIO *bio = BIO_new(BIO_s_mem());
	bool encoded = key && bio && PEM_write_bio_PUBKEY(bio, key) == 1;

	return save(path, bio, encoded, false, e);
}

/* Reads the file and lets `read` find its kind of key in it. */
static int load(const char *path, const char *what,
		EVP_PKEY *(*read)(BIO *, EVP_PKEY **, pem_password_cb *,
				  void *),
		EVP_PKEY **ret, struct err *e)
{
	CLEAN(cleanup_bio) BIO *bio = NULL;
	CLEAN_FREE char *text = NULL;
	size_t n = 0;
	EVP_PKEY *key;
	int r;

	r = file_read(path, KEY_FILE_MAX_BYTES, &text, &n);
	if (r < 0 && r != -EFBIG)
		return err_set(e, -r, "%s: cannot read the key: %s", path,
			       strerror(-r));
	if (r < 0)
		return err_set(e, EINVAL,
			       "%s: not a PEM file with a %s key", path, what);
	bio = BIO_new_mem_buf(text, (int)n);
	key = bio ? read(bio, NULL, no_passphrase, NULL) : NULL;
	OPENSSL_cleanse(text, n);
	ERR_clear_error();
	if (!key)
		return err_set(e, EINVAL,
			       "%s: not a PEM file with a %s key", path, what);
	if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
		EVP_PKEY_free(key);
		return err_set(e, EINVAL, "%s: not an Ed25519 key", path);
	}
	*ret = key;
	return 0;
}

int sign_secret_load(const char *path, struct sign_secret *ret, struct err *e)
{
	CLEAN(cleanup_pkey) EVP_PKEY *key = NULL;
	uint8_t seed[SIGN_KEY_BYTES];
	size_t n = sizeof(seed);
	int r;

	r = load(path, "secret", PEM_read_bio_PrivateKey, &key, e);
	if (r < 0)
		return r;
	if (EVP_PKEY_get_raw_private_key(key, seed, &n) != 1 ||
	    n != sizeof(seed)) {
		ERR_clear_error();
		return err_set(e, EINVAL, "%s: broken key", path);
	}
	r = sign_from_seed(seed, ret);
	OPENSSL_cleanse(seed, sizeof(seed));
	if (r < 0)
		return err_set(e, -r, "%s: broken key", path);
	return 0;
}

int sign_public_load(const char *path, struct sign_public *ret, struct err *e)
{
	CLEAN(cleanup_pkey) EVP_PKEY *key = NULL;
	struct sign_public k;
	size_t n = sizeof(k.b);
	int r;

	r = load(path, "public", PEM_read_bio_PUBKEY, &key, e);
	if (r < 0)
		return r;
	if (EVP_PKEY_get_raw_public_key(key, k.b, &n) != 1 ||
	    n != sizeof(k.b)) {
		ERR_clear_error();
		return err_set(e, EINVAL, "%s: broken key", path);
	}
	*ret = k;
	return 0;
}
