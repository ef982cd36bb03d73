/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attr.c - attributes and entries of catalog nodes.
 *
 * st_ino is the node id is the origin's id. Everything is owned by root and
 * readable by all: who may read the images is decided by NFS and SMB in front
 * of the mount. st_blocks tells what is stored here, so `du` shows it.
 *
 * NFS clients, and Ganesha itself, keep a folder's names as long as its times
 * stay the same, so each change of a folder has to give it another time. Whole
 * seconds are too coarse for that: the catalog's revision stands where others
 * have nanoseconds.
 */
#include "fs/kernel/ops.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"

#define BLOCK_UNIT_BYTES 512

/*
 * A handle may be older than what the catalog remembers of replaced versions
 * (it forgets the oldest, and some when the worker starts anew). While there
 * is something of such a version in the cache, it can be opened all the same.
 */
int node_get(struct kernel *k, uint64_t id, struct catalog_node *ret)
{
	struct version_info info;

	if (catalog_get(k->cfg.catalog, id, ret) == 0)
		return 0;
	if (cache_info(k->cfg.cache, id, &info) < 0)
		return -ESTALE;
	*ret = (struct catalog_node){.id = id,
				     .parent = CATALOG_ROOT,
				     .ghost = true,
				     .mtime_s = info.stored_at_s,
				     .size_bytes = info.ident.size_bytes,
				     .block_bytes = info.ident.block_bytes,
				     .digest = info.ident.digest};
	return 0;
}

/* An id that the origin gave out twice may be stored as the other version. */
bool attr_stored(struct kernel *k, const struct catalog_node *node,
		 struct version_info *ret)
{
	return cache_info(k->cfg.cache, node->id, ret) == 0 &&
	       digest_equal(&ret->ident.digest, &node->digest);
}

static uint64_t stored_bytes(struct kernel *k, const struct catalog_node *node)
{
	struct version_info info;

	return attr_stored(k, node, &info) ? info.stored_bytes : 0;
}

void attr_fill(struct kernel *k, const struct catalog_node *node,
	       struct stat *ret)
{
	struct stat st = {.st_ino = node->id, .st_blksize = 1 << 20};

	if (node->is_dir) {
		st.st_mode = S_IFDIR | 0555;
		st.st_nlink = 2 + node->n_dirs;
		st.st_mtim.tv_nsec = (long)(node->changed % NS_PER_S);
	} else {
		st.st_mode = S_IFREG | 0444;
		/* Also for a ghost: NFS takes 0 for "deleted". */
		st.st_nlink = 1;
		st.st_size = (off_t)node->size_bytes;
		st.st_blocks = (blkcnt_t)((stored_bytes(k, node) +
					   BLOCK_UNIT_BYTES - 1) /
					  BLOCK_UNIT_BYTES);
	}
	st.st_mtim.tv_sec = node->mtime_s;
	st.st_atim = st.st_mtim;
	st.st_ctim = st.st_mtim;
	*ret = st;
}

/*
 * The kernel keeps 32 bits of a generation (inode->i_generation) and puts
 * them into NFS handles; the root's is 0 there, whatever is said.
 */
static uint64_t generation(struct kernel *k, uint64_t id)
{
	uint64_t g = catalog_generation(k->cfg.catalog);
	uint32_t folded = (uint32_t)(g ^ g >> 32);

	if (id == CATALOG_ROOT)
		return 0;
	return folded ? folded : 1;
}

void attr_entry(struct kernel *k, const struct catalog_node *node,
		struct fuse_entry_param *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->ino = node->id;
	ret->generation = generation(k, node->id);
	ret->attr_timeout = KERNEL_VALID_S;
	ret->entry_timeout = KERNEL_VALID_S;
	attr_fill(k, node, &ret->attr);
}
