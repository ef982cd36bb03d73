/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.h - block size, length and one SHA-256 per block of a version.
 *
 * Binary form, little-endian, version 1:
 *
 *	offset  size
 *	     0     8  "STGMANI1"
 *	     8     4  block size in bytes (power of two, 64 KiB to 16 MiB)
 *	    12     4  reserved, 0
 *	    16     8  length of the image in bytes
 *	    24  32*n  SHA-256 of each block, n = ceil(length / block size);
 *		      the last block is hashed at its own length, not padded
 *
 * The SHA-256 of these bytes is the version's digest (DESIGN.md section 3).
 * Block i is compared with hash i only, so right bytes at a wrong place are
 * wrong (R1). An image of length 0 has no blocks.
 *
 * A manifest is immutable after it is built: any number of threads may read.
 */
#ifndef STAGEFS_COMMON_MANIFEST_H
#define STAGEFS_COMMON_MANIFEST_H

#include <stdint.h>

#include "common/crypto.h"

struct manifest {
	uint64_t length_bytes;
	uint32_t block_bytes;
	uint64_t n_blocks;
	struct digest digest; /* of the binary form */
	struct digest *hash;  /* n_blocks */
};

/* Smallest block size, 1 MiB or more, that keeps the count below
 * STAGEFS_MAX_BLOCKS. 0 if the image is too large. */
uint32_t manifest_block_size_for(uint64_t length_bytes);
uint64_t manifest_block_count(uint64_t length_bytes, uint32_t block_bytes);
/* Length of block i: block_bytes, or less for the last. i < n_blocks. */
uint32_t manifest_block_length(uint64_t length_bytes, uint32_t block_bytes,
			       uint64_t i);

/* Takes over `hash` (malloc'd, n_blocks long) on success only; computes the
 * digest. */
int manifest_build(uint64_t length_bytes, uint32_t block_bytes,
		   struct digest *hash, struct manifest **ret);
/* The binary form, malloc'd. */
int manifest_encode(const struct manifest *m, void **ret_data, size_t *ret_n);
/*
 * Strict: -EBADMSG with the reason for anything that is not exactly the form
 * above. If `expect` is not NULL the digest has to be that.
 */
int manifest_decode(const void *data, size_t n, const struct digest *expect,
		    struct manifest **ret, struct err *e);
void manifest_free(struct manifest *m);

/* Does the data of block `i` match? `n` has to be the block's length. */
bool manifest_block_ok(const struct manifest *m, uint64_t i, const void *data,
		       size_t n);

#endif
