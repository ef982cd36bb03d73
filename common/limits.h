/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.h - the upper bound of everything that a peer, a file or a person
 * controls. One place, so that a reviewer can see that nothing is unbounded.
 */
#ifndef STAGEFS_COMMON_LIMITS_H
#define STAGEFS_COMMON_LIMITS_H

#include <stdint.h>

/* Blocks: a power of two between these; 1 MiB unless the image is huge. */
#define STAGEFS_BLOCK_MIN_BYTES (64u << 10)
#define STAGEFS_BLOCK_DEFAULT_BYTES (1u << 20)
#define STAGEFS_BLOCK_MAX_BYTES (16u << 20)
/* Blocks of one version. `image add` doubles the block size to stay below. */
#define STAGEFS_MAX_BLOCKS (1u << 20)
#define STAGEFS_IMAGE_MAX_BYTES \
	((uint64_t)STAGEFS_MAX_BLOCKS * STAGEFS_BLOCK_MAX_BYTES)

/* Names: what NFS, SMB and ext4 all take. */
#define STAGEFS_NAME_MAX_BYTES 255  /* one part */
#define STAGEFS_PATH_MAX_BYTES 1023 /* a whole image name */
#define STAGEFS_PATH_MAX_DEPTH 64
#define STAGEFS_SERVER_NAME_MAX_BYTES 63

/* Catalog: live entries a server accepts, and those in one page. */
#define STAGEFS_CATALOG_MAX_ENTRIES 200000u
#define STAGEFS_CATALOG_PAGE_ENTRIES 5000u
#define STAGEFS_CATALOG_PAGE_MAX_BYTES (16u << 20)

#define STAGEFS_MANIFEST_MAX_BYTES (64u + STAGEFS_MAX_BLOCKS * 32u)

#define STAGEFS_ORDERS_MAX 1000u
#define STAGEFS_ORDERS_MAX_BYTES (2u << 20)
#define STAGEFS_ORDERS_WAIT_MAX_S 60u
#define STAGEFS_REPORT_MAX_BYTES (64u << 10)
#define STAGEFS_REPORT_MESSAGE_MAX_BYTES 512u

#define STAGEFS_DESCRIPTOR_MAX_IMAGES STAGEFS_CATALOG_MAX_ENTRIES
#define STAGEFS_DESCRIPTOR_MAX_BYTES (64u << 20)

/* Times in documents: seconds since 1970, the years -9999 to 9999. */
#define STAGEFS_TIME_MAX_S INT64_C(253402300799)

/* JSON: nesting, and what a parsed document may weigh (common/jget.h). */
#define STAGEFS_JSON_MAX_DEPTH 16u
#define STAGEFS_JSON_MAX_WEIGHT (4u << 20)

#define STAGEFS_SERVERS_MAX 10000u

#endif
