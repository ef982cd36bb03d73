/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir.c - READDIR and READDIRPLUS: sorted by name, cookie = the child's id.
 *
 * An id as cookie stays good when the folder changes and when the worker is
 * another one, because the catalog knows where a removed child was. "." and
 * ".." have the cookies DOT and DOTDOT; an origin's ids start at 2 and stay
 * below them.
 *
 * The catalog hands out children under its lock, so they are only copied
 * there; attributes, which need the cache's lock, are added afterwards.
 */
#include "fs/kernel/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"

#define COOKIE_DOT (INT64_MAX - 1)
#define COOKIE_DOTDOT INT64_MAX
#define LIST_MAX_BYTES (1u << 20)

struct child {
	struct catalog_node node;
	char name[STAGEFS_NAME_MAX_BYTES + 1];
};

struct listing {
	fuse_req_t req;
	struct kernel *k;
	bool plus;
	char *buf;
	size_t size, used;

	struct child *child; /* copied from the catalog */
	size_t n, room;
};

/* Does it still fit? Otherwise the listing is full. */
static bool add(struct listing *l, const char *name,
		const struct catalog_node *node, off_t cookie)
{
	char *to = l->buf + l->used;
	size_t left = l->size - l->used, n;

	if (l->plus) {
		struct fuse_entry_param e;

		attr_entry(l->k, node, &e);
		/* ino 0: the kernel takes no reference on "." and "..". */
		if (name[0] == '.')
			e.ino = 0;
		n = fuse_add_direntry_plus(l->req, to, left, name, &e, cookie);
	} else {
		const struct stat st = {
			.st_ino = node->id,
			.st_mode = node->is_dir ? S_IFDIR : S_IFREG};

		n = fuse_add_direntry(l->req, to, left, name, &st, cookie);
	}
	if (n > left)
		return false;
	l->used += n;
	return true;
}

static bool collect(void *ctx, const char *name,
		    const struct catalog_node *node)
{
	struct listing *l = ctx;
	struct child *c;

	if (l->n == l->room)
		return false;
	c = &l->child[l->n++];
	c->node = *node;
	strncpy(c->name, name, sizeof(c->name) - 1);
	c->name[sizeof(c->name) - 1] = 0;
	return true;
}

/* "." and "..", unless the cookie is behind them. Changes `cookie` to what
 * the catalog takes: 0 is the start. */
static bool add_dots(struct listing *l, const struct catalog_node *dir,
		     uint64_t *cookie)
{
	struct catalog_node up = *dir;

	if (*cookie == 0) {
		if (!add(l, ".", dir, COOKIE_DOT))
			return false;
		*cookie = COOKIE_DOT;
	}
	if (*cookie == COOKIE_DOT) {
		if (dir->id != CATALOG_ROOT)
			catalog_get(l->k->cfg.catalog, dir->parent, &up);
		if (!add(l, "..", &up, COOKIE_DOTDOT))
			return false;
		*cookie = COOKIE_DOTDOT;
	}
	if (*cookie == COOKIE_DOTDOT)
		*cookie = 0;
	return true;
}

static int list(struct listing *l, uint64_t dir, uint64_t cookie)
{
	struct catalog_node node;
	int r;

	r = catalog_get(l->k->cfg.catalog, dir, &node);
	if (r < 0)
		return -ESTALE;
	if (!node.is_dir)
		return -ENOTDIR;
	if (!add_dots(l, &node, &cookie))
		return 0;
	r = catalog_readdir(l->k->cfg.catalog, dir, cookie, collect, l);
	if (r < 0)
		return r;
	for (size_t i = 0; i < l->n; i++)
		if (!add(l, l->child[i].name, &l->child[i].node,
			 (off_t)l->child[i].node.id))
			break;
	return 0;
}

static void answer(fuse_req_t req, uint64_t dir, size_t size, off_t off,
		   bool plus)
{
	struct listing l = {.req = req,
			    .k = kernel_of(req),
			    .plus = plus,
			    .size = size < LIST_MAX_BYTES ? size
							  : LIST_MAX_BYTES};
	CLEAN_FREE char *buf = malloc(l.size);
	CLEAN_FREE struct child *child = NULL;
	int r = -ENOMEM;

	/* As many as fit if their names were one byte long. */
	l.room = l.size / fuse_add_direntry(req, NULL, 0, "a", NULL, 0) + 1;
	if (plus)
		l.room = l.size / fuse_add_direntry_plus(req, NULL, 0, "a",
							 NULL, 0) + 1;
	child = malloc(l.room * sizeof(*child));
	l.buf = buf;
	l.child = child;
	if (buf && child)
		r = list(&l, dir, (uint64_t)off);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_buf(req, buf, l.used);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct catalog_node node;

	if (catalog_get(kernel_of(req)->cfg.catalog, ino, &node) < 0)
		fuse_reply_err(req, ESTALE);
	else
		fuse_reply_open(req, fi);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	(void)fi;
	answer(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)fi;
	answer(req, ino, size, off, true);
}
