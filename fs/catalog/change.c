/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change.c - applies pages to the tree, all or nothing.
 *
 *	mark	go through the pages: make nodes, turn nodes into ghosts; each
 *		step is noted in a journal
 *	plan	for each folder with a change, make its new array of children
 *		beside the old one; check names, parents, depth, count
 *	then	either put the new arrays in place and let old ghosts go
 *		(commit), or walk the journal back (undo)
 *
 * What a page says is final for its moment only, so parents and names are
 * checked after the last page: a row that changed while pages were fetched
 * comes twice. Rejected: a copy of the whole tree per change (simple, but an
 * added image would cost as much as 200,000).
 */
#include "fs/catalog/tree.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/limits.h"

/* A folder whose children change. */
struct edit {
	struct node *dir;
	struct node **added;
	size_t n_added, cap_added;
	struct node **fresh; /* the children to be */
	size_t n_fresh;
	uint32_t n_dirs;
	struct edit *next;
};

enum did { MADE, GHOSTED, REVIVED, TOUCHED };

struct step {
	enum did did;
	struct node *node;
	int64_t old_mtime_s;
};

struct change {
	struct tree *t;
	struct err *e;
	struct edit *edits;
	struct step *step;
	size_t n_steps, cap_steps;
	size_t n_live;
};

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "catalog: out of memory");
}

/* Room for one more in a growing array. */
static bool grow(void *array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 16;
	void *p;

	if (n < *cap)
		return true;
	p = reallocarray(*(void **)array, want, size);
	if (!p)
		return false;
	*(void **)array = p;
	*cap = want;
	return true;
}

static int note(struct change *c, enum did did, struct node *n,
		int64_t old_mtime_s)
{
	if (!grow(&c->step, c->n_steps, &c->cap_steps, sizeof(*c->step)))
		return no_memory(c->e);
	c->step[c->n_steps++] = (struct step){did, n, old_mtime_s};
	return 0;
}

static struct edit *edit_of(struct change *c, struct node *dir)
{
	struct edit *ed = dir->edit;

	if (ed)
		return ed;
	ed = calloc(1, sizeof(*ed));
	if (!ed)
		return NULL;
	ed->dir = dir;
	dir->edit = ed;
	LL_PREPEND(c->edits, ed);
	return ed;
}

/* ---- mark -------------------------------------------------------------- */

static int ghost(struct change *c, struct node *n)
{
	struct node *dir = tree_find(c->t, n->parent);
	int r = note(c, GHOSTED, n, 0);

	if (r)
		return r;
	n->ghost = true;
	c->n_live--;
	/* Its parent may not have come yet, if the node itself is new. */
	if ((dir && !edit_of(c, dir)) || (n->is_dir && !edit_of(c, n)))
		return no_memory(c->e);
	return 0;
}

static bool same_content(const struct node *n, const struct wire_entry *w)
{
	if (n->is_dir != w->is_dir || n->parent != w->parent ||
	    strcmp(n->name, w->name) != 0)
		return false;
	return n->is_dir || (n->size_bytes == w->size_bytes &&
			     n->block_bytes == w->block_bytes &&
			     digest_equal(&n->digest, &w->digest));
}

static int meet_again(struct change *c, struct node *n,
		      const struct wire_entry *w)
{
	int r = 0;

	if (!same_content(n, w))
		return err_set(c->e, EPROTO, "catalog: id %" PRIu64
			       " ('%s') has become something else: was the "
			       "origin's database restored? give this mount a "
			       "new cache=", w->id, w->name);
	if (n->mtime_s != w->mtime_s) {
		r = note(c, TOUCHED, n, n->mtime_s);
		if (r)
			return r;
		n->mtime_s = w->mtime_s;
	}
	if (n->ghost) {
		r = note(c, REVIVED, n, 0);
		if (r)
			return r;
		n->ghost = false;
		c->n_live++;
	}
	n->seen = true;
	return 0;
}

static int make(struct change *c, struct wire_entry *w)
{
	struct node *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return no_memory(c->e);
	r = note(c, MADE, n, 0);
	if (r) {
		free(n);
		return r;
	}
	n->id = w->id;
	n->parent = w->parent;
	n->name = w->name;
	w->name = NULL;
	n->is_dir = w->is_dir;
	n->mtime_s = w->mtime_s;
	if (!n->is_dir) {
		n->size_bytes = w->size_bytes;
		n->block_bytes = w->block_bytes;
		n->digest = w->digest;
	}
	n->seen = true;
	HASH_ADD(hh, c->t->by_id, id, sizeof(n->id), n);
	c->n_live++;
	return 0;
}

/* What is removed is gone for good, so it goes first: its name may have been
 * given to another id in the same revision. */
static int mark_page(struct change *c, struct wire_catalog *page)
{
	int r = 0;

	for (size_t i = 0; i < page->n_removed && !r; i++) {
		struct node *n = tree_find(c->t, page->removed[i].id);

		if (n == c->t->root)
			return err_set(c->e, EPROTO,
				       "catalog: removes the root");
		if (n && !n->ghost)
			r = ghost(c, n);
	}
	for (size_t i = 0; i < page->n_entries && !r; i++) {
		struct wire_entry *w = &page->entry[i];
		struct node *n = tree_find(c->t, w->id);

		r = n ? meet_again(c, n, w) : make(c, w);
	}
	return r;
}

static int ghost_unseen(struct change *c)
{
	struct node *n, *next;
	int r = 0;

	HASH_ITER(hh, c->t->by_id, n, next)
	{
		if (!r && !n->seen && !n->ghost && n != c->t->root)
			r = ghost(c, n);
	}
	return r;
}

/* ---- plan -------------------------------------------------------------- */

static int add_to_parent(struct change *c, struct node *n)
{
	struct node *dir = tree_find(c->t, n->parent);
	struct edit *ed;

	if (!dir || !dir->is_dir || dir->ghost)
		return err_set(c->e, EPROTO, "catalog: '%s' (%" PRIu64
			       ") is in %" PRIu64 ", which is no folder",
			       n->name, n->id, n->parent);
	ed = edit_of(c, dir);
	if (!ed || !grow(&ed->added, ed->n_added, &ed->cap_added,
			 sizeof(*ed->added)))
		return no_memory(c->e);
	ed->added[ed->n_added++] = n;
	return 0;
}

/* The way to the root: that there is one, not too deep and not too long. */
static int check_path(struct change *c, const struct node *n)
{
	const struct node *at = n;
	size_t bytes = 0;
	unsigned depth = 0;

	while (at && at != c->t->root) {
		bytes += strlen(at->name) + 1;
		if (++depth > STAGEFS_PATH_MAX_DEPTH ||
		    bytes > STAGEFS_PATH_MAX_BYTES + 1)
			return err_set(c->e, EPROTO, "catalog: '%s' (%" PRIu64
				       ") is too deep", n->name, n->id);
		at = tree_find(c->t, at->parent);
	}
	assert(at); /* add_to_parent has seen each parent */
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct node *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* Merges the old children that stay with the added ones. */
static int plan_children(struct change *c, struct edit *ed)
{
	struct node *dir = ed->dir;
	size_t i = 0, k = 0;

	ed->fresh = calloc(dir->n_children + ed->n_added + 1,
			   sizeof(*ed->fresh));
	if (!ed->fresh)
		return no_memory(c->e);
	if (ed->n_added)
		qsort(ed->added, ed->n_added, sizeof(*ed->added), by_name);
	while (i < dir->n_children || k < ed->n_added) {
		struct node *old = i < dir->n_children ? dir->child[i] : NULL;
		struct node *add = k < ed->n_added ? ed->added[k] : NULL;
		struct node *n;

		if (old && old->ghost) {
			i++;
			continue;
		}
		if (!add || (old && by_name(&old, &add) <= 0)) {
			n = old;
			i++;
		} else {
			n = add;
			k++;
		}
		if (ed->n_fresh &&
		    strcmp(ed->fresh[ed->n_fresh - 1]->name, n->name) == 0)
			return err_set(c->e, EPROTO, "catalog: '%s' is twice "
				       "in folder %" PRIu64, n->name, dir->id);
		ed->fresh[ed->n_fresh++] = n;
		ed->n_dirs += n->is_dir;
	}
	if (dir->ghost && ed->n_fresh)
		return err_set(c->e, EPROTO, "catalog: folder %" PRIu64
			       " ('%s') is removed but not empty", dir->id,
			       dir->name);
	return 0;
}

static int plan(struct change *c)
{
	struct edit *ed;
	int r = 0;

	for (size_t i = 0; i < c->n_steps && !r; i++) {
		struct node *n = c->step[i].node;

		if (n->ghost || n->linked || n->planned)
			continue;
		n->planned = true;
		r = add_to_parent(c, n);
	}
	for (size_t i = 0; i < c->n_steps && !r; i++)
		if (c->step[i].node->planned)
			r = check_path(c, c->step[i].node);
	LL_FOREACH(c->edits, ed)
		if (!r)
			r = plan_children(c, ed);
	if (!r && c->n_live > STAGEFS_CATALOG_MAX_ENTRIES)
		r = err_set(c->e, E2BIG, "catalog: more than %u entries",
			    STAGEFS_CATALOG_MAX_ENTRIES);
	return r;
}

/* ---- what changed ------------------------------------------------------ */

struct changes {
	struct catalog_change *ch;
	size_t n, cap;
};

static bool tell(struct changes *l, uint64_t parent, uint64_t id,
		 const char *name)
{
	char *copy;

	if (!grow(&l->ch, l->n, &l->cap, sizeof(*l->ch)))
		return false;
	copy = strdup(name);
	if (!copy)
		return false;
	l->ch[l->n++] = (struct catalog_change){parent, id, copy};
	return true;
}

/* The old children against the new, both by name. */
static bool tell_edit(struct changes *l, const struct edit *ed)
{
	const struct node *dir = ed->dir;
	size_t i = 0, k = 0;
	bool ok = true;

	while (ok && (i < dir->n_children || k < ed->n_fresh)) {
		int d = i == dir->n_children ? 1
			: k == ed->n_fresh   ? -1
			: strcmp(dir->child[i]->name, ed->fresh[k]->name);

		if (d > 0)
			ok = tell(l, dir->id, 0, ed->fresh[k]->name);
		else if (d < 0 || dir->child[i] != ed->fresh[k])
			ok = tell(l, dir->id, dir->child[i]->id,
				  dir->child[i]->name);
		i += d <= 0;
		k += d >= 0;
	}
	return ok;
}

/* A folder that is new itself has no name that anybody could have asked for. */
static int tell_all(struct change *c, struct changes *l)
{
	const struct edit *ed;
	bool ok = true;

	LL_FOREACH(c->edits, ed)
		if (ok && (ed->dir->linked || ed->dir == c->t->root))
			ok = tell_edit(l, ed);
	if (ok)
		return 0;
	catalog_changes_free(l->ch, l->n);
	return no_memory(c->e);
}

/* ---- then -------------------------------------------------------------- */

static void ghost_list(struct tree *t, struct node *n)
{
	bool listed = n->prev;

	if (n->ghost && !listed) {
		DL_APPEND(t->ghosts, n);
		t->n_ghosts++;
	} else if (!n->ghost && listed) {
		DL_DELETE(t->ghosts, n);
		n->prev = n->next = NULL;
		t->n_ghosts--;
	}
}

static void drop_old_ghosts(struct tree *t)
{
	while (t->n_ghosts > TREE_GHOSTS_MAX) {
		struct node *n = t->ghosts;

		DL_DELETE(t->ghosts, n);
		t->n_ghosts--;
		HASH_DEL(t->by_id, n);
		free(n->name);
		free(n->child);
		free(n);
	}
}

static void free_edits(struct change *c)
{
	struct edit *ed, *next;

	LL_FOREACH_SAFE(c->edits, ed, next)
	{
		ed->dir->edit = NULL;
		free(ed->added);
		free(ed->fresh);
		free(ed);
	}
	c->edits = NULL;
}

static void stamp(const struct edit *ed, uint64_t revision)
{
	ed->dir->changed = revision;
	for (size_t i = 0; i < ed->n_added; i++)
		if (ed->added[i]->mtime_s > ed->dir->newest_s)
			ed->dir->newest_s = ed->added[i]->mtime_s;
}

static void commit(struct change *c, uint64_t revision)
{
	struct edit *ed;

	LL_FOREACH(c->edits, ed)
	{
		stamp(ed, revision);
		free(ed->dir->child);
		ed->dir->child = ed->fresh;
		ed->dir->n_children = ed->n_fresh;
		ed->dir->n_dirs = ed->n_dirs;
		ed->fresh = NULL;
	}
	free_edits(c);
	for (size_t i = 0; i < c->n_steps; i++) {
		struct node *n = c->step[i].node;

		n->planned = false;
		n->linked = !n->ghost;
		ghost_list(c->t, n);
	}
	c->t->n_live = c->n_live;
	drop_old_ghosts(c->t);
}

static void undo(struct change *c)
{
	free_edits(c);
	for (size_t i = c->n_steps; i-- > 0;) {
		struct node *n = c->step[i].node;

		n->planned = false;
		switch (c->step[i].did) {
		case MADE:
			HASH_DEL(c->t->by_id, n);
			free(n->name);
			free(n);
			break;
		case GHOSTED:
			n->ghost = false;
			break;
		case REVIVED:
			n->ghost = true;
			break;
		case TOUCHED:
			n->mtime_s = c->step[i].old_mtime_s;
			break;
		}
	}
}

int tree_apply(struct tree *t, struct wire_catalog *page, size_t n_pages,
	       bool full, struct catalog_change **ret_changes, size_t *ret_n,
	       struct err *e)
{
	struct change c = {.t = t, .e = e, .n_live = t->n_live};
	struct changes l = {0};
	struct node *n, *next;
	int r = 0;

	if (full)
		HASH_ITER(hh, t->by_id, n, next)
			n->seen = false;
	for (size_t i = 0; i < n_pages && !r; i++)
		r = mark_page(&c, &page[i]);
	if (!r && full)
		r = ghost_unseen(&c);
	if (!r)
		r = plan(&c);
	if (!r)
		r = tell_all(&c, &l);
	if (r)
		undo(&c);
	else
		commit(&c, page[n_pages - 1].revision);
	free(c.step);
	if (r)
		return r;
	*ret_changes = l.ch;
	*ret_n = l.n;
	return 0;
}
