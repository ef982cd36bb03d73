/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query.c - questions about the tree. Each takes the lock for a few hash and
 * array look-ups and copies what it found.
 *
 * A directory cookie is the id of the child that was given last. Its name
 * says where to go on, and a ghost still has one, so removals, additions and
 * replacements meanwhile neither repeat nor skip what stayed.
 */
#include <errno.h>
#include <string.h>

#include "common/limits.h"
#include "fs/catalog/state.h"

uint64_t catalog_revision(struct catalog *c)
{
	LOCK_SCOPE(&c->lock);
	return c->revision;
}

void catalog_store(struct catalog *c, char out[UUID_TEXT])
{
	LOCK_SCOPE(&c->lock);
	memcpy(out, c->store, UUID_TEXT);
}

uint64_t catalog_generation(struct catalog *c)
{
	LOCK_SCOPE(&c->lock);
	return c->generation ? c->generation : 1;
}

uint64_t catalog_count(struct catalog *c)
{
	LOCK_SCOPE(&c->lock);
	return c->tree.n_live;
}

bool catalog_key(struct catalog *c, struct sign_public *ret)
{
	LOCK_SCOPE(&c->lock);
	if (c->have_key)
		*ret = c->key;
	return c->have_key;
}

static void copy_node(const struct node *n, struct catalog_node *ret)
{
	*ret = (struct catalog_node){
		.id = n->id,
		.parent = n->parent,
		.is_dir = n->is_dir,
		.ghost = n->ghost,
		.mtime_s = n->mtime_s > n->newest_s ? n->mtime_s
						    : n->newest_s,
		.changed = n->changed,
		.size_bytes = n->size_bytes,
		.block_bytes = n->block_bytes,
		.n_dirs = n->n_dirs,
		.digest = n->digest,
	};
}

int catalog_get(struct catalog *c, uint64_t id, struct catalog_node *ret)
{
	LOCK_SCOPE(&c->lock);
	const struct node *n = tree_find(&c->tree, id);

	if (!n)
		return -ENOENT;
	copy_node(n, ret);
	return 0;
}

int catalog_lookup(struct catalog *c, uint64_t parent, const char *name,
		   struct catalog_node *ret)
{
	LOCK_SCOPE(&c->lock);
	const struct node *dir = tree_find(&c->tree, parent), *n;

	if (strlen(name) > STAGEFS_NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	if (!dir)
		return -ENOENT;
	/* Export support asks for these two of any node. */
	if (strcmp(name, ".") == 0)
		n = dir;
	else if (strcmp(name, "..") == 0)
		n = tree_find(&c->tree, dir->parent);
	else if (!dir->is_dir)
		return -ENOTDIR;
	else
		n = tree_child(dir, name);
	if (!n)
		return -ENOENT;
	copy_node(n, ret);
	return 0;
}

int catalog_find(struct catalog *c, const char *path, struct catalog_node *ret)
{
	LOCK_SCOPE(&c->lock);
	const struct node *n = c->tree.root;
	char part[STAGEFS_NAME_MAX_BYTES + 1];

	while (*path) {
		size_t len = strcspn(path, "/");

		if (!n->is_dir || len == 0 || len >= sizeof(part))
			return -ENOENT;
		memcpy(part, path, len);
		part[len] = 0;
		n = tree_child(n, part);
		if (!n)
			return -ENOENT;
		path += len;
		if (*path == '/' && !*++path)
			return -ENOENT;
	}
	copy_node(n, ret);
	return 0;
}

/* Written from the end to the front. Ghosts have the path they had. */
int catalog_path(struct catalog *c, uint64_t id, char *out, size_t size)
{
	LOCK_SCOPE(&c->lock);
	const struct node *n = tree_find(&c->tree, id);
	char buf[STAGEFS_PATH_MAX_BYTES + 2], *at = buf + sizeof(buf) - 1;

	*at = 0;
	while (n && n != c->tree.root) {
		size_t len = strlen(n->name);

		if (len + 1 > (size_t)(at - buf))
			return -ENAMETOOLONG;
		if (*at)
			*--at = '/';
		at -= len;
		memcpy(at, n->name, len);
		n = tree_find(&c->tree, n->parent);
	}
	if (!n)
		return -ENOENT;
	if (strlen(at) >= size)
		return -ENAMETOOLONG;
	strcpy(out, at);
	return 0;
}

int catalog_readdir(struct catalog *c, uint64_t dir_id, uint64_t cookie,
		    bool (*each)(void *ctx, const char *name,
				 const struct catalog_node *node),
		    void *ctx)
{
	LOCK_SCOPE(&c->lock);
	const struct node *dir = tree_find(&c->tree, dir_id), *last;
	struct catalog_node copy;
	size_t i = 0;

	if (!dir)
		return -ENOENT;
	if (!dir->is_dir)
		return -ENOTDIR;
	if (cookie) {
		last = tree_find(&c->tree, cookie);
		if (!last || last->parent != dir_id || last == dir)
			return -ENOENT;
		i = tree_above(dir, last->name);
	}
	for (; i < dir->n_children; i++) {
		copy_node(dir->child[i], &copy);
		if (!each(ctx, dir->child[i]->name, &copy))
			break;
	}
	return 0;
}
