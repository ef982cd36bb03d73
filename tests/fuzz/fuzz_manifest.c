/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest that is taken is exactly its binary form: it encodes to the same
 * bytes, and the digest is that of these bytes (R1). */
#include <string.h>

#include "common/limits.h"
#include "common/manifest.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct manifest *m = NULL;
	struct digest d;
	struct err e = {{0}};
	void *again = NULL;
	size_t again_n = 0;

	fuzz_accepted = manifest_decode(data, n, NULL, &m, &e) == 0;
	if (!fuzz_accepted) {
		FUZZ_MUST(!m && e.text[0]);
		return 0;
	}
	FUZZ_MUST(m->n_blocks <= STAGEFS_MAX_BLOCKS);
	FUZZ_MUST(m->n_blocks ==
		  manifest_block_count(m->length_bytes, m->block_bytes));
	FUZZ_MUST(manifest_encode(m, &again, &again_n) == 0);
	FUZZ_MUST(again_n == n && memcmp(again, data, n) == 0);
	FUZZ_MUST(crypto_sha256(data, n, &d) == 0);
	FUZZ_MUST(digest_equal(&d, &m->digest));
	free(again);
	manifest_free(m);
	return 0;
}
