/* SPDX-License-Identifier: Apache-2.0 */
/* xattr.h - user.stagefs.*: what a person or a script may ask of one file. */
#ifndef STAGEFS_FS_KERNEL_XATTR_H
#define STAGEFS_FS_KERNEL_XATTR_H

#include <stdbool.h>
#include <stddef.h>

#include "fs/cache/cache.h"
#include "fs/catalog/catalog.h"

#define XATTR_VALUE_MAX_BYTES 128
#define XATTR_LIST_MAX_BYTES 512

/* A node as its attributes see it. */
struct xattr_facts {
	const struct catalog_node *node;
	const struct version_info *info; /* NULL: nothing is stored */
	bool active;			 /* being fetched */
};

/* Length of the value (no end byte), or -ENODATA. */
int xattr_value(const struct xattr_facts *f, const char *name,
		char out[XATTR_VALUE_MAX_BYTES]);
/* The names that have a value, each with its end byte; length in all. */
size_t xattr_list(const struct xattr_facts *f, char out[XATTR_LIST_MAX_BYTES]);

#endif
