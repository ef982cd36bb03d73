/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_names.c - what the names of an entry stand for: a server or all of a
 * group, an image or all of a folder. Each is looked up once per view.
 *
 * A group without servers stands for itself, as a server that nobody has seen
 * ("@hall1"), and an empty folder for an image that is not there ("win11/"):
 * so they are listed, checked and foretold like anything else that is missing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/cleanup.h"
#include "origin/schedule/view_impl.h"
#include "origin/store/store.h"

int view_image_named(struct view_data *d, const char *name,
		       struct named_image **ret)
{
	struct named_image *n;

	HASH_FIND_STR(d->images, name, n);
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			return -ENOMEM;
		n->id = UINT64_MAX;
		n->name = strdup(name);
		if (!n->name) {
			free(n);
			return -ENOMEM;
		}
		HASH_ADD_KEYPTR(hh, d->images, n->name, strlen(n->name), n);
	}
	*ret = n;
	return 0;
}

static int find_image(struct db *db, struct view_data *d, const char *name,
		      struct named_image **ret)
{
	struct node node;
	int r = view_image_named(d, name, ret);

	if (r || (*ret)->id != UINT64_MAX)
		return r;
	(*ret)->id = 0;
	r = node_find(db, name, &node, NULL);
	if (r)
		return r == -ENOENT || r == -EINVAL ? 0 : r;
	if (!node.is_dir) {
		(*ret)->id = node.id;
		(*ret)->size_bytes = node.size_bytes;
	}
	return 0;
}

struct filling {
	struct view_data *d;
	struct named_folder *f;
};

static int add_to_folder(const struct node *n, void *arg)
{
	struct filling *x = arg;
	struct named_folder *f = x->f;
	struct named_image *image;
	int r;

	if (n->is_dir)
		return 0;
	r = array_grow(&f->image, f->n, &f->room, sizeof(struct named_image *));
	if (!r)
		r = view_image_named(x->d, n->name, &image);
	if (r)
		return r;
	image->id = n->id;
	image->size_bytes = n->size_bytes;
	f->image[f->n++] = image;
	return 0;
}

static int fill_folder(struct db *db, struct view_data *d,
		       struct named_folder *f)
{
	CLEAN_FREE char *name = strndup(f->name, strlen(f->name) - 1);
	struct filling x = {d, f};
	struct node dir;
	int r;

	if (!name)
		return -ENOMEM;
	r = node_find(db, name, &dir, NULL);
	if (!r && dir.is_dir)
		r = node_each_in(db, &dir, add_to_folder, &x, NULL);
	return r == -ENOENT || r == -EINVAL ? 0 : r;
}

int view_images_of(struct db *db, struct view_data *d, const char *name,
		     struct named_folder **ret)
{
	struct named_folder *f;
	int r = 0;

	HASH_FIND_STR(d->folders, name, f);
	if (!f) {
		f = calloc(1, sizeof(*f));
		if (!f)
			return -ENOMEM;
		f->name = name;
		HASH_ADD_KEYPTR(hh, d->folders, f->name, strlen(f->name), f);
		if (plan_is_folder(name))
			r = fill_folder(db, d, f);
		if (!r && f->n == 0) { /* an image, or an empty folder */
			r = array_grow(&f->image, 0, &f->room,
				      sizeof(struct named_image *));
			if (!r)
				r = find_image(db, d, name, &f->image[0]);
			f->n = !r;
		}
	}
	*ret = f;
	return r;
}

size_t view_first_member(const struct view_data *d, const char *group)
{
	size_t from = 0, to = d->n_members;

	while (from < to) {
		size_t at = from + (to - from) / 2;

		if (strcmp(d->member[at].group, group) < 0)
			from = at + 1;
		else
			to = at;
	}
	return from < d->n_members && strcmp(d->member[from].group, group) == 0
		       ? from
		       : d->n_members;
}

const char *view_server_of(const struct view_data *d,
			   const struct plan_entry *p, size_t first, size_t k)
{
	size_t at = first + k;

	if (first == d->n_members)
		return k == 0 ? p->server : NULL;
	return at < d->n_members &&
			       strcmp(d->member[at].group, p->server + 1) == 0
		       ? d->member[at].server
		       : NULL;
}
