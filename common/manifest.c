/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.c - the list of block hashes. A flat list, not a Merkle tree: a
 * 100 GB image has a list of 3 MiB, which is fetched once and checked with one
 * hash; a tree would save nothing and cost a walk per block.
 */
#include "common/manifest.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"

#define MAGIC "STGMANI1"
#define MAGIC_BYTES 8

/* The head as it lies in the file: all at natural alignment, no padding. */
struct head {
	char magic[MAGIC_BYTES];
	uint32_t block_bytes_le;
	uint32_t reserved;
	uint64_t length_bytes_le;
};

_Static_assert(sizeof(struct head) == 24, "the form is fixed");
_Static_assert(sizeof(struct digest) == DIGEST_BYTES, "hashes lie packed");
_Static_assert(sizeof(struct head) +
			       (size_t)STAGEFS_MAX_BLOCKS * DIGEST_BYTES <=
		       STAGEFS_MANIFEST_MAX_BYTES,
	       "the largest manifest fits its own limit");

uint64_t manifest_block_count(uint64_t length_bytes, uint32_t block_bytes)
{
	return length_bytes / block_bytes + (length_bytes % block_bytes != 0);
}

uint32_t manifest_block_size_for(uint64_t length_bytes)
{
	uint32_t size = STAGEFS_BLOCK_DEFAULT_BYTES;

	while (size <= STAGEFS_BLOCK_MAX_BYTES) {
		if (manifest_block_count(length_bytes, size) <=
		    STAGEFS_MAX_BLOCKS)
			return size;
		size *= 2;
	}
	return 0;
}

uint32_t manifest_block_length(uint64_t length_bytes, uint32_t block_bytes,
			       uint64_t i)
{
	uint64_t left = length_bytes - i * block_bytes;

	return left < block_bytes ? (uint32_t)left : block_bytes;
}

static int check_shape(uint64_t length_bytes, uint32_t block_bytes,
		       struct err *e)
{
	if (block_bytes < STAGEFS_BLOCK_MIN_BYTES ||
	    block_bytes > STAGEFS_BLOCK_MAX_BYTES ||
	    (block_bytes & (block_bytes - 1)))
		return err_set(e, EINVAL,
			       "manifest: %u is not a possible block size",
			       block_bytes);
	if (manifest_block_count(length_bytes, block_bytes) >
	    STAGEFS_MAX_BLOCKS)
		return err_set(e, EFBIG, "manifest: more than %u blocks",
			       STAGEFS_MAX_BLOCKS);
	return 0;
}

int manifest_encode(const struct manifest *m, void **ret_data, size_t *ret_n)
{
	struct head head = {
		.block_bytes_le = htole32(m->block_bytes),
		.length_bytes_le = htole64(m->length_bytes),
	};
	size_t hashes = (size_t)m->n_blocks * DIGEST_BYTES;
	char *data = malloc(sizeof(head) + hashes);

	if (!data)
		return -ENOMEM;
	memcpy(head.magic, MAGIC, MAGIC_BYTES);
	memcpy(data, &head, sizeof(head));
	if (hashes)
		memcpy(data + sizeof(head), m->hash, hashes);
	*ret_data = data;
	*ret_n = sizeof(head) + hashes;
	return 0;
}

int manifest_build(uint64_t length_bytes, uint32_t block_bytes,
		   struct digest *hash, struct manifest **ret)
{
	CLEAN_FREE struct manifest *m = NULL;
	CLEAN_FREE void *data = NULL;
	size_t n;
	int r;

	r = check_shape(length_bytes, block_bytes, NULL);
	if (r < 0)
		return r;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->length_bytes = length_bytes;
	m->block_bytes = block_bytes;
	m->n_blocks = manifest_block_count(length_bytes, block_bytes);
	m->hash = hash;
	r = manifest_encode(m, &data, &n);
	if (r == 0)
		r = crypto_sha256(data, n, &m->digest);
	if (r < 0)
		return r;
	*ret = TAKE(m);
	return 0;
}

int manifest_decode(const void *data, size_t n, const struct digest *expect,
		    struct manifest **ret, struct err *e)
{
	CLEAN_FREE struct manifest *m = NULL;
	struct head head;
	int r;

	if (n < sizeof(head))
		return err_set(e, EBADMSG, "manifest: cut short at %zu bytes",
			       n);
	memcpy(&head, data, sizeof(head));
	if (memcmp(head.magic, MAGIC, MAGIC_BYTES) != 0 || head.reserved)
		return err_set(e, EBADMSG, "manifest: not in a known form");
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->block_bytes = le32toh(head.block_bytes_le);
	m->length_bytes = le64toh(head.length_bytes_le);
	if (check_shape(m->length_bytes, m->block_bytes, e) < 0)
		return -EBADMSG;
	m->n_blocks = manifest_block_count(m->length_bytes, m->block_bytes);
	if (n != sizeof(head) + (size_t)m->n_blocks * DIGEST_BYTES)
		return err_set(e, EBADMSG,
			       "manifest: %zu bytes, but %llu blocks", n,
			       (unsigned long long)m->n_blocks);
	r = crypto_sha256(data, n, &m->digest);
	if (r < 0)
		return r;
	if (expect && !digest_equal(&m->digest, expect)) {
		char want[DIGEST_TEXT], got[DIGEST_TEXT];

		return err_set(e, EBADMSG,
			       "manifest: its digest is %s, not %s",
			       digest_text(&m->digest, got),
			       digest_text(expect, want));
	}
	if (m->n_blocks) {
		m->hash = malloc((size_t)m->n_blocks * DIGEST_BYTES);
		if (!m->hash)
			return -ENOMEM;
		memcpy(m->hash, (const char *)data + sizeof(head),
		       (size_t)m->n_blocks * DIGEST_BYTES);
	}
	*ret = TAKE(m);
	return 0;
}

void manifest_free(struct manifest *m)
{
	if (!m)
		return;
	free(m->hash);
	free(m);
}

bool manifest_block_ok(const struct manifest *m, uint64_t i, const void *data,
		       size_t n)
{
	struct digest d;

	if (i >= m->n_blocks ||
	    n != manifest_block_length(m->length_bytes, m->block_bytes, i))
		return false;
	return crypto_sha256(data, n, &d) == 0 && digest_equal(&d, &m->hash[i]);
}
