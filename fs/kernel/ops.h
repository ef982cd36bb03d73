/* SPDX-License-Identifier: Apache-2.0 */
/* ops.h - inside fs/kernel only: the session's state and its requests. */
#ifndef STAGEFS_FS_KERNEL_OPS_H
#define STAGEFS_FS_KERNEL_OPS_H

#include <fuse_lowlevel.h>

#include "common/lock.h"
#include "fs/kernel/backing.h"
#include "fs/kernel/channel.h"
#include "fs/kernel/handles.h"
#include "fs/kernel/kernel.h"
#include "fs/kernel/loop.h"
#include "fs/kernel/notify.h"

/*
 * How long the kernel may believe a name or an attribute without asking. A
 * change is told (notify.h); these only bound how long a lost notification
 * matters. A name that is not there is believed for a shorter time.
 */
#define KERNEL_VALID_S 300.0
#define KERNEL_ABSENT_S 5.0

#define KERNEL_READ_MAX_BYTES (1u << 20) /* as the supervisor mounts it */
/* Read-ahead counts as background, parked or not; once so many wait, a read
 * that hits waits too (R4). The kernel lowers it for a worker without
 * CAP_SYS_ADMIN to /sys/module/fuse/parameters/max_user_bgreq, which it
 * derives from the size of memory (1,300 with 4 GiB). */
#define KERNEL_BACKGROUND_MAX 32768

struct parked;

struct kernel {
	struct kernel_config cfg; /* set once, until kernel_free */
	struct channel channel;
	struct fuse_session *session;
	struct loop *loop;
	bool mute; /* atomic: replies go nowhere, the next worker answers */
	struct backing *backing;
	struct handles *handles;
	struct notify *notify;
	bool mum; /* atomic: the notifier has ended, and that is known */

	struct lock parked_lock;
	struct wait_cond parked_none;
	struct parked *parked; /* list */
	uint64_t n_parked;
};

extern const struct fuse_lowlevel_ops kernel_ops;

static inline struct kernel *kernel_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* attr.c: what a node looks like */
/* Of the catalog, or a version that only the cache still has. -ESTALE. */
int node_get(struct kernel *k, uint64_t id, struct catalog_node *ret);
/* What is stored of this version; false: nothing. */
bool attr_stored(struct kernel *k, const struct catalog_node *node,
		 struct version_info *ret);
void attr_fill(struct kernel *k, const struct catalog_node *node,
	       struct stat *ret);
void attr_entry(struct kernel *k, const struct catalog_node *node,
		struct fuse_entry_param *ret);

/* dir.c */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);

/* op_xattr.c */
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		 size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

/* read.c */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* Answers every parked read and waits until they have gone. */
void read_stop(struct kernel *k);

#endif
