/* SPDX-License-Identifier: Apache-2.0 */
/*
 * descriptor.c - what changed since the origin was told last.
 *
 * The cache says which ids may have changed; whether they did is found by
 * comparing with what was told, so a callback too many costs nothing. Two
 * things change without a callback: that an image is open, and that nothing
 * fetches it any more. So what was told as open or being fetched is looked at
 * again every two seconds, and everything every half minute.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "fs/agent/state.h"

static struct told *find_told(const struct agent *a, uint64_t id)
{
	struct told *t;

	HASH_FIND(hh, a->told, &id, sizeof(id), t);
	return t;
}

static enum wire_image_state state_of(struct agent *a,
				      const struct version_info *v)
{
	if (v->complete)
		return IMAGE_COMPLETE;
	return reader_active(a->cfg.reader, v->ident.id) ? IMAGE_FETCHING
							 : IMAGE_PARTIAL;
}

static bool differs(const struct told *t, const struct wire_image *i)
{
	return !t || t->stored_bytes != i->stored_bytes ||
	       t->held_until_s != i->held_until_s || t->state != i->state ||
	       t->open != i->open;
}

static int add_image(struct agent *a, const struct version_info *v, bool full,
		     struct wire_descriptor *d)
{
	struct told *t = find_told(a, v->ident.id);
	struct wire_image i = {
		.id = v->ident.id,
		.digest = v->ident.digest,
		.size_bytes = v->ident.size_bytes,
		.stored_bytes = v->complete ? v->ident.size_bytes
					    : v->stored_bytes,
		.state = state_of(a, v),
		.stored_seq = v->stored_seq,
		.stored_at_s = v->stored_at_s,
		.held_until_s = v->held_until_s,
		.open = v->opens > 0,
	};

	if (t)
		t->seen = true;
	if (!full && !differs(t, &i))
		return 0;
	i.name = strdup(v->ident.name);
	if (!i.name)
		return -ENOMEM;
	d->image[d->n_images++] = i;
	return 0;
}

/* All of the cache; what was told and is not in it is gone. */
static int add_all(struct agent *a, bool full, struct wire_descriptor *d)
{
	CLEAN_FREE struct version_info *list = NULL;
	struct told *t, *next;
	size_t n = 0;
	int r = cache_list(a->cfg.cache, &list, &n);

	if (r)
		return r;
	d->image = calloc(n + 1, sizeof(*d->image));
	d->gone = calloc(HASH_COUNT(a->told) + 1, sizeof(*d->gone));
	if (!d->image || !d->gone)
		return -ENOMEM;
	HASH_ITER(hh, a->told, t, next)
		t->seen = false;
	for (size_t i = 0; i < n && !r; i++)
		r = add_image(a, &list[i], full, d);
	if (!full)
		HASH_ITER(hh, a->told, t, next)
			if (!t->seen)
				d->gone[d->n_gone++] = t->id;
	return r;
}

static int add_some(struct agent *a, const uint64_t *id, size_t n,
		    struct wire_descriptor *d)
{
	struct version_info info;
	int r = 0;

	d->image = calloc(n + 1, sizeof(*d->image));
	d->gone = calloc(n + 1, sizeof(*d->gone));
	if (!d->image || !d->gone)
		return -ENOMEM;
	for (size_t i = 0; i < n && !r; i++) {
		if (cache_info(a->cfg.cache, id[i], &info) == 0)
			r = add_image(a, &info, false, d);
		else if (find_told(a, id[i]))
			d->gone[d->n_gone++] = id[i];
	}
	return r;
}

static void set_figures(struct agent *a, struct wire_descriptor *d)
{
	struct cache_stats s;

	catalog_store(a->cfg.catalog, d->store);
	snprintf(d->name, sizeof(d->name), "%s", a->name);
	memcpy(d->boot, a->boot, sizeof(d->boot));
	snprintf(d->version, sizeof(d->version), "%s", STAGEFS_VERSION);
	memcpy(d->time_zone, a->time_zone, sizeof(d->time_zone));
	d->time_s = clock_unix_s();
	d->catalog_revision = catalog_revision(a->cfg.catalog);
	cache_stats(a->cfg.cache, &s);
	d->capacity_bytes = s.capacity_bytes;
	d->used_bytes = s.used_bytes;
	d->reserved_bytes = s.reserved_bytes;
	d->free_bytes = s.free_bytes;
	d->evictable_bytes = s.evictable_bytes;
	d->bad_blocks = s.bad_blocks;
	d->repaired_blocks = s.repaired_blocks;
}

static bool same_figures(const struct wire_descriptor *a,
			 const struct wire_descriptor *b)
{
	return a->catalog_revision == b->catalog_revision &&
	       a->capacity_bytes == b->capacity_bytes &&
	       a->used_bytes == b->used_bytes &&
	       a->reserved_bytes == b->reserved_bytes &&
	       a->free_bytes == b->free_bytes &&
	       a->evictable_bytes == b->evictable_bytes &&
	       a->bad_blocks == b->bad_blocks &&
	       a->repaired_blocks == b->repaired_blocks;
}

int descriptor_make(struct agent *a, bool full, bool scan, const uint64_t *id,
		    size_t n, struct wire_descriptor *ret)
{
	struct wire_descriptor d = {.seq = a->seq + 1};
	int r;

	full = full || !a->base;
	d.base = full ? 0 : a->base;
	r = full || scan ? add_all(a, full, &d) : add_some(a, id, n, &d);
	/* The lists before the figures: a sum that is newer than its parts
	 * is followed by the next descriptor, the reverse is not. */
	set_figures(a, &d);
	if (!r && !full && !d.n_images && !d.n_gone &&
	    same_figures(&d, &a->last))
		r = -EALREADY;
	if (r) {
		wire_descriptor_free(&d);
		return r;
	}
	a->seq++;
	*ret = d;
	return 0;
}

static void forget_one(struct agent *a, struct told *t)
{
	HASH_DEL(a->told, t);
	free(t);
}

void descriptor_forget(struct agent *a)
{
	struct told *t, *next;

	HASH_ITER(hh, a->told, t, next)
		forget_one(a, t);
	a->base = 0;
}

void descriptor_told(struct agent *a, const struct wire_descriptor *d)
{
	if (d->base == 0)
		descriptor_forget(a);
	for (size_t i = 0; i < d->n_gone; i++) {
		struct told *t = find_told(a, d->gone[i]);

		if (t)
			forget_one(a, t);
	}
	a->base = d->seq;
	for (size_t i = 0; i < d->n_images; i++) {
		const struct wire_image *w = &d->image[i];
		struct told *t = find_told(a, w->id);

		if (!t) {
			t = calloc(1, sizeof(*t));
			if (!t) { /* then it has to be all of it again */
				a->base = 0;
				return;
			}
			t->id = w->id;
			HASH_ADD(hh, a->told, id, sizeof(t->id), t);
		}
		t->stored_bytes = w->stored_bytes;
		t->held_until_s = w->held_until_s;
		t->state = w->state;
		t->open = w->open;
	}
	a->last = *d;
	a->last.image = NULL;
	a->last.gone = NULL;
	a->last.n_images = a->last.n_gone = 0;
}

void descriptor_recheck(struct agent *a)
{
	const struct told *t;

	for (t = a->told; t; t = t->hh.next)
		if (t->open || t->state == IMAGE_FETCHING)
			agent_changed(a, t->id);
}

/* $TZ, else what /etc/localtime points to, else /etc/timezone. */
void descriptor_time_zone(char *out, size_t size)
{
	CLEAN_FREE char *text = NULL;
	const char *tz = getenv("TZ"), *at = NULL;
	char link[256];
	ssize_t n;
	size_t len;

	if (tz && *tz) {
		at = *tz == ':' ? tz + 1 : tz;
	} else {
		n = readlink("/etc/localtime", link, sizeof(link) - 1);
		if (n > 0) {
			link[n] = 0;
			at = strstr(link, "zoneinfo/");
			at = at ? at + strlen("zoneinfo/") : NULL;
		}
	}
	if (!at && file_read("/etc/timezone", 256, &text, &len) == 0) {
		text[strcspn(text, "\r\n")] = 0;
		at = text;
	}
	if (!at || !*at || strlen(at) >= size)
		at = "UTC";
	snprintf(out, size, "%s", at);
}
