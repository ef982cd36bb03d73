/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops.c - the table of requests, and the small ones.
 *
 * Every answer here comes from memory (R8): a client that is killed while its
 * LOOKUP, GETATTR or OPEN waits stays in D state until the answer, so these
 * never wait for anything. A node id needs no table of lookups, so FORGET is
 * left to libfuse, which drops it. By id, "unknown" is ESTALE; by name ENOENT.
 *
 * The mount is read-only, but `mount -o remount,rw` would let writes come as
 * far as this: they get EROFS all the same.
 *
 * Left out on purpose, so that the kernel does it itself and asks no more
 * after the first ENOSYS: FLUSH, FSYNC, LSEEK, POLL, locks, ACCESS (mounted
 * with default_permissions).
 */
#include "fs/kernel/ops.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/limits.h"

#define STATFS_UNIT_BYTES 4096

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS |
			      FUSE_CAP_EXPORT_SUPPORT |
			      FUSE_CAP_READDIRPLUS |
			      FUSE_CAP_READDIRPLUS_AUTO;

	(void)userdata;
	/* Not libfuse's defaults: an id's content never changes, so pages
	 * are never dropped because of a date. */
	conn->want = conn->capable & want;
	conn->max_read = KERNEL_READ_MAX_BYTES;
	conn->max_readahead = KERNEL_READ_MAX_BYTES;
	conn->max_background = KERNEL_BACKGROUND_MAX;
	conn->congestion_threshold = KERNEL_BACKGROUND_MAX;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct kernel *k = kernel_of(req);
	struct fuse_entry_param e = {.entry_timeout = KERNEL_ABSENT_S};
	struct catalog_node node;
	int r = catalog_lookup(k->cfg.catalog, parent, name, &node);

	/* What the kernel asks of a handle's inode that it does not know. */
	if (r == -ENOENT && strcmp(name, ".") == 0 &&
	    node_get(k, parent, &node) == 0)
		r = 0;
	if (r == 0)
		attr_entry(k, &node, &e);
	/* ino 0 is "not there", with a time that one may believe it. A handle
	 * that is looked up by "." must not leave such a memory. */
	if (r == 0 || (r == -ENOENT && name[0] != '.'))
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, -r);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct kernel *k = kernel_of(req);
	struct catalog_node node;
	struct stat st;

	(void)fi;
	if (node_get(k, ino, &node) < 0) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	attr_fill(k, &node, &st);
	fuse_reply_attr(req, &st, KERNEL_VALID_S);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct kernel *k = kernel_of(req);
	struct cache_stats s;
	uint64_t taken;

	(void)ino;
	cache_stats(k->cfg.cache, &s);
	taken = s.used_bytes + s.reserved_bytes;
	if (taken > s.capacity_bytes)
		taken = s.capacity_bytes;

	struct statvfs v = {
		.f_bsize = STATFS_UNIT_BYTES,
		.f_frsize = STATFS_UNIT_BYTES,
		.f_blocks = s.capacity_bytes / STATFS_UNIT_BYTES,
		.f_bfree = (s.capacity_bytes - taken) / STATFS_UNIT_BYTES,
		.f_bavail = s.free_bytes / STATFS_UNIT_BYTES,
		.f_files = catalog_count(k->cfg.catalog),
		.f_namemax = STAGEFS_NAME_MAX_BYTES,
	};
	fuse_reply_statfs(req, &v);
}

/* ---- everything that would change something --------------------------- */

static void rofs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
			 int to_set, struct fuse_file_info *fi)
{
	(void)ino, (void)attr, (void)to_set, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void rofs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		       mode_t mode, dev_t rdev)
{
	(void)parent, (void)name, (void)mode, (void)rdev;
	fuse_reply_err(req, EROFS);
}

static void rofs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		       mode_t mode)
{
	(void)parent, (void)name, (void)mode;
	fuse_reply_err(req, EROFS);
}

static void rofs_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

static void rofs_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
			 const char *name)
{
	(void)link, (void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

static void rofs_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
			fuse_ino_t new_parent, const char *new_name,
			unsigned flags)
{
	(void)parent, (void)name, (void)new_parent, (void)new_name;
	(void)flags;
	fuse_reply_err(req, EROFS);
}

static void rofs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent,
		      const char *new_name)
{
	(void)ino, (void)new_parent, (void)new_name;
	fuse_reply_err(req, EROFS);
}

static void rofs_create(fuse_req_t req, fuse_ino_t parent, const char *name,
			mode_t mode, struct fuse_file_info *fi)
{
	(void)parent, (void)name, (void)mode, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void rofs_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
		       size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino, (void)buf, (void)size, (void)off, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void rofs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode,
			   off_t offset, off_t length,
			   struct fuse_file_info *fi)
{
	(void)ino, (void)mode, (void)offset, (void)length, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void rofs_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			  const char *value, size_t size, int flags)
{
	(void)ino, (void)name, (void)value, (void)size, (void)flags;
	fuse_reply_err(req, EROFS);
}

static void rofs_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	(void)ino, (void)name;
	fuse_reply_err(req, EROFS);
}

const struct fuse_lowlevel_ops kernel_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.statfs = op_statfs,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.open = op_open,
	.read = op_read,
	.release = op_release,

	.setattr = rofs_setattr,
	.mknod = rofs_mknod,
	.mkdir = rofs_mkdir,
	.unlink = rofs_remove,
	.rmdir = rofs_remove,
	.symlink = rofs_symlink,
	.rename = rofs_rename,
	.link = rofs_link,
	.create = rofs_create,
	.write = rofs_write,
	.fallocate = rofs_fallocate,
	.setxattr = rofs_setxattr,
	.removexattr = rofs_removexattr,
};
