/* SPDX-License-Identifier: Apache-2.0 */
/* R1: a manifest is exactly its form; block i matches hash i only. */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/limits.h"
#include "common/manifest.h"

#define KIB 1024u
#define MIB (1024u * KIB)

static void test_arithmetic(void **state)
{
	(void)state;
	assert_int_equal(manifest_block_count(0, MIB), 0);
	assert_int_equal(manifest_block_count(1, MIB), 1);
	assert_int_equal(manifest_block_count(MIB, MIB), 1);
	assert_int_equal(manifest_block_count(MIB + 1, MIB), 2);
	assert_int_equal(manifest_block_count(UINT64_MAX, 64 * KIB),
			 UINT64_C(1) << 48);
	assert_int_equal(manifest_block_length(MIB + 1, MIB, 0), MIB);
	assert_int_equal(manifest_block_length(MIB + 1, MIB, 1), 1);
	assert_int_equal(manifest_block_length(2 * MIB, MIB, 1), MIB);

	assert_int_equal(manifest_block_size_for(0), MIB);
	assert_int_equal(manifest_block_size_for(UINT64_C(1) << 40), MIB);
	assert_int_equal(manifest_block_size_for((UINT64_C(1) << 40) + 1),
			 2 * MIB);
	assert_int_equal(manifest_block_size_for(STAGEFS_IMAGE_MAX_BYTES),
			 STAGEFS_BLOCK_MAX_BYTES);
	assert_int_equal(manifest_block_size_for(STAGEFS_IMAGE_MAX_BYTES + 1),
			 0);
}

static struct manifest *make(const uint8_t *data, uint64_t n, uint32_t block)
{
	uint64_t n_blocks = manifest_block_count(n, block);
	struct digest *hash = n_blocks ? calloc(n_blocks, sizeof(*hash)) : NULL;
	struct manifest *m = NULL;

	for (uint64_t i = 0; i < n_blocks; i++)
		assert_int_equal(
			crypto_sha256(data + i * block,
				      manifest_block_length(n, block, i),
				      &hash[i]),
			0);
	assert_int_equal(manifest_build(n, block, hash, &m), 0);
	return m;
}

static void test_round_trip(void **state)
{
	static const uint64_t lengths[] = {0,	      1,	 65535, 65536,
					   65537,     3 * 65536, 5 * 65536 - 7};

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		uint8_t *data = calloc(1, lengths[i] + 1);
		struct manifest *m, *again = NULL;
		struct digest d;
		void *bin = NULL;
		size_t n = 0;

		for (uint64_t b = 0; b < lengths[i]; b++)
			data[b] = (uint8_t)(b * 7 + b / 65536);
		m = make(data, lengths[i], 64 * KIB);
		assert_int_equal(manifest_encode(m, &bin, &n), 0);
		assert_int_equal(n, 24 + 32 * m->n_blocks);
		assert_int_equal(crypto_sha256(bin, n, &d), 0);
		assert_memory_equal(&d, &m->digest, sizeof(d));
		assert_int_equal(manifest_decode(bin, n, &d, &again, NULL), 0);
		assert_int_equal(again->length_bytes, lengths[i]);
		assert_int_equal(again->block_bytes, 64 * KIB);
		assert_int_equal(again->n_blocks, m->n_blocks);
		assert_memory_equal(&again->digest, &m->digest, sizeof(d));
		if (m->n_blocks)
			assert_memory_equal(again->hash, m->hash,
					    m->n_blocks * 32);
		manifest_free(m);
		manifest_free(again);
		free(bin);
		free(data);
	}
}

/* The form on the wire does not change by accident. */
static void test_known_bytes(void **state)
{
	static const uint8_t head[24] = "STGMANI1\0\0\1\0\0\0\0\0\3";
	struct manifest *m = make((const uint8_t *)"abc", 3, 64 * KIB);
	char text[DIGEST_TEXT];
	void *bin;
	size_t n;

	(void)state;
	assert_int_equal(manifest_encode(m, &bin, &n), 0);
	assert_int_equal(n, 56);
	assert_memory_equal(bin, head, 24);
	assert_string_equal(digest_text(&m->hash[0], text),
			    "ba7816bf8f01cfea414140de5dae2223"
			    "b00361a396177a9cb410ff61f20015ad");
	free(bin);
	manifest_free(m);
}

static void test_blocks(void **state)
{
	uint8_t *data = calloc(1, 3 * 65536);
	struct manifest *m;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		data[i * 65536] = (uint8_t)i;
	m = make(data, 2 * 65536 + 100, 64 * KIB);
	assert_true(manifest_block_ok(m, 0, data, 65536));
	assert_true(manifest_block_ok(m, 1, data + 65536, 65536));
	assert_true(manifest_block_ok(m, 2, data + 2 * 65536, 100));
	/* right bytes at a wrong place */
	assert_false(manifest_block_ok(m, 0, data + 65536, 65536));
	assert_false(manifest_block_ok(m, 1, data, 65536));
	/* wrong lengths, wrong index, one bit */
	assert_false(manifest_block_ok(m, 2, data + 2 * 65536, 65536));
	assert_false(manifest_block_ok(m, 0, data, 65535));
	assert_false(manifest_block_ok(m, 3, data, 65536));
	data[70000] ^= 1;
	assert_false(manifest_block_ok(m, 1, data + 65536, 65536));
	manifest_free(m);
	free(data);
}

static int try_head(const char *magic, uint32_t block, uint32_t reserved,
		    uint64_t length, size_t n_hashes)
{
	size_t n = 24 + n_hashes * 32;
	uint8_t *bin = calloc(1, n);
	struct manifest *m = NULL;
	uint32_t block_le = htole32(block), reserved_le = htole32(reserved);
	uint64_t length_le = htole64(length);
	struct err e;
	int r;

	memcpy(bin, magic, 8);
	memcpy(bin + 8, &block_le, 4);
	memcpy(bin + 12, &reserved_le, 4);
	memcpy(bin + 16, &length_le, 8);
	e.text[0] = 0;
	r = manifest_decode(bin, n, NULL, &m, &e);
	if (r < 0) {
		assert_null(m);
		assert_true(e.text[0]);
	}
	manifest_free(m);
	free(bin);
	return r;
}

static void test_refused(void **state)
{
	struct manifest *m = NULL;
	struct digest zero = {{0}};
	struct digest *hash = calloc(1, sizeof(*hash));

	(void)state;
	assert_int_equal(try_head("STGMANI1", MIB, 0, MIB, 1), 0);
	assert_int_equal(try_head("STGMANI2", MIB, 0, MIB, 1), -EBADMSG);
	assert_int_equal(try_head("STGMANI1", MIB, 1, MIB, 1), -EBADMSG);
	assert_int_equal(try_head("STGMANI1", 0, 0, MIB, 1), -EBADMSG);
	assert_int_equal(try_head("STGMANI1", 3 * MIB, 0, MIB, 1), -EBADMSG);
	assert_int_equal(try_head("STGMANI1", 32 * KIB, 0, 1, 1), -EBADMSG);
	assert_int_equal(try_head("STGMANI1", 32 * MIB, 0, 1, 1), -EBADMSG);
	assert_int_equal(try_head("STGMANI1", MIB, 0, MIB, 0), -EBADMSG);
	assert_int_equal(try_head("STGMANI1", MIB, 0, MIB, 2), -EBADMSG);
	assert_int_equal(try_head("STGMANI1", MIB, 0, 0, 1), -EBADMSG);
	assert_int_equal(try_head("STGMANI1", MIB, 0, UINT64_MAX, 1), -EBADMSG);
	assert_int_equal(
		try_head("STGMANI1", 64 * KIB, 0, UINT64_C(1) << 48, 1),
		-EBADMSG);
	assert_int_equal(manifest_decode("STGMANI1", 8, NULL, &m, NULL),
			 -EBADMSG);
	assert_int_equal(manifest_decode("", 0, NULL, &m, NULL), -EBADMSG);

	/* manifest_build: what it refuses it does not take over */
	assert_int_equal(manifest_build(1, 1000, hash, &m), -EINVAL);
	assert_int_equal(manifest_build(UINT64_MAX, MIB, hash, &m), -EFBIG);
	assert_null(m);
	assert_int_equal(manifest_build(1, MIB, hash, &m), 0);
	{
		struct manifest *other = NULL;
		struct err e;
		void *bin;
		size_t n;

		assert_int_equal(manifest_encode(m, &bin, &n), 0);
		assert_int_equal(manifest_decode(bin, n, &zero, &other, &e),
				 -EBADMSG);
		assert_non_null(strstr(e.text, "digest"));
		free(bin);
	}
	manifest_free(m);
	manifest_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_known_bytes),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
