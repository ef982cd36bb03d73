/* SPDX-License-Identifier: Apache-2.0 */
/* op_xattr.c - GETXATTR and LISTXATTR: the facts of a node, and the protocol
 * of buffer sizes. What the attributes are is in xattr.c. */
#include <errno.h>

#include "fs/kernel/ops.h"
#include "fs/kernel/xattr.h"

struct facts_room {
	struct xattr_facts facts;
	struct catalog_node node;
	struct version_info info;
};

static int learn(struct kernel *k, uint64_t id, struct facts_room *f)
{
	if (node_get(k, id, &f->node) < 0)
		return -ESTALE;
	f->facts = (struct xattr_facts){.node = &f->node};
	if (f->node.is_dir)
		return 0;
	if (attr_stored(k, &f->node, &f->info))
		f->facts.info = &f->info;
	f->facts.active = reader_active(k->cfg.reader, id);
	return 0;
}

/* Size 0 asks how long the answer is; one that does not fit is ERANGE. */
static void reply(fuse_req_t req, const char *data, int n, size_t size)
{
	if (n < 0)
		fuse_reply_err(req, -n);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)n);
	else if (size < (size_t)n)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, data, (size_t)n);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		 size_t size)
{
	char value[XATTR_VALUE_MAX_BYTES];
	struct facts_room f;
	int n = learn(kernel_of(req), ino, &f);

	if (n == 0)
		n = xattr_value(&f.facts, name, value);
	reply(req, value, n, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char list[XATTR_LIST_MAX_BYTES];
	struct facts_room f;
	int n = learn(kernel_of(req), ino, &f);

	if (n == 0)
		n = (int)xattr_list(&f.facts, list);
	reply(req, list, n, size);
}
