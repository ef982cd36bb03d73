/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_catalog.c - one page of the catalog.
 *
 *	{"format": 1, "kind": "catalog", "store": UUID,
 *	 "since": 0, "revision": 7, "more": false,
 *	 "entries": [
 *	   {"id": 2, "parent": 1, "name": "win11", "mtime": T, "dir": true},
 *	   {"id": 3, "parent": 2, "name": "base.wim", "mtime": T,
 *	    "size": BYTES, "block": BYTES, "digest": HEX}],
 *	 "removed": [{"id": 4, "parent": 1, "name": "old.iso"}]}
 *
 * Whether the parents exist and what is removed was there is the tree's
 * business (fs/catalog); what can be seen from the page alone is checked here.
 */
#include "common/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/manifest.h"
#include "common/names.h"
#include "common/wire_json.h"

#define KIND "catalog"
/* An entry weighs at most 5 + 8, and later versions may add to it. */
#define WEIGHT_MAX (STAGEFS_CATALOG_PAGE_ENTRIES * 2 * 32)

static bool put_entry(json_t *list, const struct wire_entry *w)
{
	json_t *o = json_object();

	return json_array_append_new(list, o) == 0 &&
	       put_u64(o, "id", w->id) && put_u64(o, "parent", w->parent) &&
	       put_text(o, "name", w->name) &&
	       put_time(o, "mtime", w->mtime_s) &&
	       (w->is_dir ? put_bool(o, "dir", true)
			  : put_u64(o, "size", w->size_bytes) &&
				    put_u64(o, "block", w->block_bytes) &&
				    put_digest(o, "digest", &w->digest));
}

static bool put_removed(json_t *list, const struct wire_removed *w)
{
	json_t *o = json_object();

	return json_array_append_new(list, o) == 0 &&
	       put_u64(o, "id", w->id) && put_u64(o, "parent", w->parent) &&
	       put_text(o, "name", w->name);
}

int wire_catalog_encode(const struct wire_catalog *c, char **ret, size_t *ret_n)
{
	json_t *o = wire_head(KIND), *entries, *removed;
	bool ok = put_text(o, "store", c->store) &&
		  put_u64(o, "since", c->since) &&
		  put_u64(o, "revision", c->revision) &&
		  put_bool(o, "more", c->more);

	entries = put_list(o, "entries");
	removed = put_list(o, "removed");
	for (size_t i = 0; ok && i < c->n_entries; i++)
		ok = put_entry(entries, &c->entry[i]);
	for (size_t i = 0; ok && i < c->n_removed; i++)
		ok = put_removed(removed, &c->removed[i]);
	return wire_print(o, ok && entries && removed, ret, ret_n);
}

/* The three members of both kinds of item. */
static int get_place(const json_t *o, uint64_t *id, uint64_t *parent,
		     char **name, struct err *e)
{
	const char *text;
	int r;

	r = jget_u64(o, "id", INT64_MAX, id, e);
	if (r == 0)
		r = jget_u64(o, "parent", INT64_MAX, parent, e);
	if (r == 0)
		r = jget_text(o, "name", STAGEFS_NAME_MAX_BYTES, &text, e);
	if (r < 0)
		return r;
	if (*id < 2 || *parent < 1 || *id == *parent)
		return err_set(e, EPROTO, "id %llu in folder %llu cannot be",
			       (unsigned long long)*id,
			       (unsigned long long)*parent);
	if (name_check_part(text, e) < 0)
		return -EPROTO;
	*name = strdup(text);
	return *name ? 0 : err_set(e, ENOMEM, "out of memory");
}

static int get_content(const json_t *o, struct wire_entry *w, struct err *e)
{
	uint64_t block;
	int r;

	r = jget_u64(o, "size", STAGEFS_IMAGE_MAX_BYTES, &w->size_bytes, e);
	if (r == 0)
		r = jget_u64(o, "block", STAGEFS_BLOCK_MAX_BYTES, &block, e);
	if (r == 0)
		r = get_digest(o, "digest", &w->digest, e);
	if (r < 0)
		return r;
	if (block < STAGEFS_BLOCK_MIN_BYTES || (block & (block - 1)) ||
	    manifest_block_count(w->size_bytes, (uint32_t)block) >
		    STAGEFS_MAX_BLOCKS)
		return err_set(e, EPROTO, "%llu is not a possible block size",
			       (unsigned long long)block);
	w->block_bytes = (uint32_t)block;
	return 0;
}

static int get_entry(const json_t *o, struct wire_entry *w, struct err *e)
{
	int r = get_place(o, &w->id, &w->parent, &w->name, e);

	if (r == 0)
		r = jget_bool_opt(o, "dir", &w->is_dir, e);
	if (r == 0)
		r = get_time_opt(o, "mtime", &w->mtime_s, e);
	if (r == 0 && !w->is_dir)
		r = get_content(o, w, e);
	return r;
}

static int get_entries(const json_t *list, struct wire_catalog *c,
		       struct err *e)
{
	size_t n = json_array_size(list);
	CLEAN_FREE uint64_t *id = calloc(n + 1, sizeof(*id));
	int r;

	c->entry = calloc(n + 1, sizeof(*c->entry));
	if (!id || !c->entry)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		c->n_entries = i + 1; /* what wire_catalog_free has to free */
		r = get_entry(json_array_get(list, i), &c->entry[i], e);
		if (r < 0)
			return err_prefix(e, -r, "entry %zu", i);
		id[i] = c->entry[i].id;
	}
	return check_unique(id, n, "entry with id", e);
}

static int get_removed(const json_t *list, struct wire_catalog *c,
		       struct err *e)
{
	size_t n = json_array_size(list);
	int r;

	c->removed = calloc(n + 1, sizeof(*c->removed));
	if (!c->removed)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		struct wire_removed *w = &c->removed[i];

		c->n_removed = i + 1;
		r = get_place(json_array_get(list, i), &w->id, &w->parent,
			      &w->name, e);
		if (r < 0)
			return err_prefix(e, -r, "removed %zu", i);
	}
	return 0;
}

static int get_all(const json_t *o, struct wire_catalog *c, struct err *e)
{
	json_t *entries = NULL, *removed = NULL;
	int r;

	r = get_uuid(o, "store", c->store, e);
	if (r == 0)
		r = jget_u64(o, "since", INT64_MAX, &c->since, e);
	if (r == 0)
		r = jget_u64(o, "revision", INT64_MAX, &c->revision, e);
	if (r == 0)
		r = jget_bool_opt(o, "more", &c->more, e);
	if (r == 0)
		r = jget_list_opt(o, "entries", STAGEFS_CATALOG_PAGE_ENTRIES,
				  &entries, e);
	if (r == 0)
		r = jget_list_opt(o, "removed", STAGEFS_CATALOG_PAGE_ENTRIES,
				  &removed, e);
	if (r < 0)
		return r;
	/* A last page that leads back is how an origin that lost its newest
	 * revisions answers: whoever applies it refuses it as such. */
	if (c->more && c->revision < c->since)
		return err_set(e, EPROTO, "revision %llu is before %llu",
			       (unsigned long long)c->revision,
			       (unsigned long long)c->since);
	/* A reader that follows such a page would never end. */
	if (c->more && c->revision == c->since)
		return err_set(e, EPROTO, "a page that leads nowhere");
	if (c->since == 0 && json_array_size(removed) > 0)
		return err_set(e, EPROTO,
			       "nothing can be removed from nothing");
	r = get_entries(entries, c, e);
	return r < 0 ? r : get_removed(removed, c, e);
}

int wire_catalog_decode(const char *json, size_t n, struct wire_catalog *ret,
			struct err *e)
{
	struct wire_catalog c = {0};
	CLEAN_JSON json_t *o = NULL;
	int r;

	r = wire_open(json, n, STAGEFS_CATALOG_PAGE_MAX_BYTES, WEIGHT_MAX, KIND,
		      &o, e);
	if (r < 0)
		return r;
	r = get_all(o, &c, e);
	if (r < 0) {
		wire_catalog_free(&c);
		return err_prefix(e, -r, KIND);
	}
	*ret = c;
	return 0;
}

void wire_catalog_free(struct wire_catalog *c)
{
	for (size_t i = 0; i < c->n_entries; i++)
		free(c->entry[i].name);
	for (size_t i = 0; i < c->n_removed; i++)
		free(c->removed[i].name);
	free(c->entry);
	free(c->removed);
	memset(c, 0, sizeof(*c));
}
