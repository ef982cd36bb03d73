/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - looking things up in the tree; change.c changes it.
 *
 * A folder's children are one sorted array: a binary search finds a name, and
 * a readdir that goes on after a name is one search too, which a hash could
 * not do. A balanced tree was rejected: changes come in batches, and merging
 * a sorted batch into an array is linear and much smaller.
 */
#include "fs/catalog/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void node_free(struct node *n)
{
	free(n->name);
	free(n->child);
	free(n);
}

int tree_init(struct tree *t)
{
	memset(t, 0, sizeof(*t));
	t->root = calloc(1, sizeof(*t->root));
	if (!t->root)
		return -ENOMEM;
	t->root->name = strdup("");
	if (!t->root->name) {
		node_free(t->root);
		t->root = NULL;
		return -ENOMEM;
	}
	t->root->id = t->root->parent = CATALOG_ROOT;
	t->root->is_dir = true;
	HASH_ADD(hh, t->by_id, id, sizeof(t->root->id), t->root);
	return 0;
}

void tree_free(struct tree *t)
{
	struct node *n, *next;

	HASH_ITER(hh, t->by_id, n, next)
	{
		HASH_DEL(t->by_id, n);
		node_free(n);
	}
	memset(t, 0, sizeof(*t));
}

struct node *tree_find(const struct tree *t, uint64_t id)
{
	struct node *n;

	HASH_FIND(hh, t->by_id, &id, sizeof(id), n);
	return n;
}

size_t tree_above(const struct node *dir, const char *name)
{
	size_t low = 0, high = dir->n_children;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(dir->child[mid]->name, name) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct node *tree_child(const struct node *dir, const char *name)
{
	size_t i = tree_above(dir, name);

	if (i == 0 || strcmp(dir->child[i - 1]->name, name) != 0)
		return NULL;
	return dir->child[i - 1];
}
