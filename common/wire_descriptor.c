/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_descriptor.c - a server's own account of itself.
 *
 *	{"format": 1, "kind": "descriptor", "store": UUID, "name": "line3",
 *	 "boot": UUID, "version": "0.1.0", "time_zone": "Europe/Berlin",
 *	 "seq": 4, "base": 3, "time": T, "catalog_revision": 7,
 *	 "capacity": BYTES, "used": BYTES, "reserved": BYTES, "free": BYTES,
 *	 "evictable": BYTES, "bad_blocks": N, "repaired_blocks": N,
 *	 "images": [
 *	   {"id": 3, "name": "win11/base.wim", "digest": HEX, "size": BYTES,
 *	    "stored": BYTES, "state": "complete", "stored_seq": 9,
 *	    "stored_at": T, "held_until": T, "open": true}],
 *	 "gone": [5, 6]}
 *
 * seq starts at 1. Of what a server says about itself only the form can be
 * checked, and that it does not contradict itself: "complete" with bytes
 * missing would let the origin call an image staged that is not.
 */
#include "common/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/wire_json.h"

#define KIND "descriptor"
/* An image weighs at most 5 + 10; one that is gone weighs 1. */
#define WEIGHT_MAX (STAGEFS_DESCRIPTOR_MAX_IMAGES * 18)

static const char *const states[IMAGE_STATE_COUNT] = {
	[IMAGE_PARTIAL] = "partial",
	[IMAGE_FETCHING] = "fetching",
	[IMAGE_COMPLETE] = "complete",
};

const char *wire_image_state_name(enum wire_image_state s)
{
	return s < IMAGE_STATE_COUNT ? states[s] : "unknown";
}

static bool put_image(json_t *list, const struct wire_image *w)
{
	json_t *o = json_object();

	return json_array_append_new(list, o) == 0 &&
	       put_u64(o, "id", w->id) && put_text(o, "name", w->name) &&
	       put_digest(o, "digest", &w->digest) &&
	       put_u64(o, "size", w->size_bytes) &&
	       put_u64(o, "stored", w->stored_bytes) &&
	       put_text(o, "state", wire_image_state_name(w->state)) &&
	       put_u64(o, "stored_seq", w->stored_seq) &&
	       put_time(o, "stored_at", w->stored_at_s) &&
	       (w->held_until_s == 0 ||
		put_time(o, "held_until", w->held_until_s)) &&
	       (!w->open || put_bool(o, "open", true));
}

static bool put_figures(json_t *o, const struct wire_descriptor *d)
{
	return put_u64(o, "seq", d->seq) && put_u64(o, "base", d->base) &&
	       put_time(o, "time", d->time_s) &&
	       put_u64(o, "catalog_revision", d->catalog_revision) &&
	       put_u64(o, "capacity", d->capacity_bytes) &&
	       put_u64(o, "used", d->used_bytes) &&
	       put_u64(o, "reserved", d->reserved_bytes) &&
	       put_u64(o, "free", d->free_bytes) &&
	       put_u64(o, "evictable", d->evictable_bytes) &&
	       put_u64(o, "bad_blocks", d->bad_blocks) &&
	       put_u64(o, "repaired_blocks", d->repaired_blocks);
}

int wire_descriptor_encode(const struct wire_descriptor *d, char **ret,
			   size_t *ret_n)
{
	json_t *o = wire_head(KIND), *images, *gone;
	bool ok = put_text(o, "store", d->store) &&
		  put_text(o, "name", d->name) &&
		  put_text(o, "boot", d->boot) &&
		  put_text(o, "version", d->version) &&
		  put_text(o, "time_zone", d->time_zone) && put_figures(o, d);

	images = put_list(o, "images");
	gone = put_list(o, "gone");
	for (size_t i = 0; ok && i < d->n_images; i++)
		ok = put_image(images, &d->image[i]);
	for (size_t i = 0; ok && i < d->n_gone; i++)
		ok = json_array_append_new(
			     gone, json_integer((json_int_t)d->gone[i])) == 0;
	return wire_print(o, ok && images && gone, ret, ret_n);
}

static int get_state(const json_t *o, enum wire_image_state *ret, struct err *e)
{
	const char *text;
	int r = jget_text(o, "state", 32, &text, e);

	if (r < 0)
		return r;
	for (int i = 0; i < IMAGE_STATE_COUNT; i++)
		if (strcmp(text, states[i]) == 0) {
			*ret = (enum wire_image_state)i;
			return 0;
		}
	return err_set(e, EPROTO, "unknown state '%s'", text);
}

static int get_image(const json_t *o, struct wire_image *w, struct err *e)
{
	int r = jget_u64(o, "id", INT64_MAX, &w->id, e);

	if (r == 0 && w->id < 2)
		r = err_set(e, EPROTO, "no image has id %llu",
			    (unsigned long long)w->id);
	if (r == 0)
		r = get_image_name_opt(o, "name", &w->name, e);
	if (r == 0)
		r = get_digest(o, "digest", &w->digest, e);
	if (r == 0)
		r = jget_u64(o, "size", STAGEFS_IMAGE_MAX_BYTES,
			     &w->size_bytes, e);
	if (r == 0)
		r = jget_u64(o, "stored", w->size_bytes, &w->stored_bytes, e);
	if (r == 0)
		r = get_state(o, &w->state, e);
	if (r == 0 && w->state == IMAGE_COMPLETE &&
	    w->stored_bytes != w->size_bytes)
		r = err_set(e, EPROTO, "complete, but bytes are missing");
	if (r == 0)
		r = jget_u64_opt(o, "stored_seq", INT64_MAX, &w->stored_seq, e);
	if (r == 0)
		r = get_time_opt(o, "stored_at", &w->stored_at_s, e);
	if (r == 0)
		r = get_time_opt(o, "held_until", &w->held_until_s, e);
	if (r == 0)
		r = jget_bool_opt(o, "open", &w->open, e);
	return r;
}

static int get_images(const json_t *list, struct wire_descriptor *d,
		      struct err *e)
{
	size_t n = json_array_size(list);
	CLEAN_FREE uint64_t *id = calloc(n + 1, sizeof(*id));
	int r;

	d->image = calloc(n + 1, sizeof(*d->image));
	if (!id || !d->image)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		d->n_images = i + 1; /* what wire_descriptor_free has to free */
		r = get_image(json_array_get(list, i), &d->image[i], e);
		if (r < 0)
			return err_prefix(e, -r, "image %zu", i);
		id[i] = d->image[i].id;
	}
	return check_unique(id, n, "image with id", e);
}

static int get_gone(const json_t *list, struct wire_descriptor *d,
		    struct err *e)
{
	size_t n = json_array_size(list);

	d->gone = calloc(n + 1, sizeof(*d->gone));
	if (!d->gone)
		return err_set(e, ENOMEM, "out of memory");
	d->n_gone = n;
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(list, i);

		if (!json_is_integer(v) || json_integer_value(v) < 2)
			return err_set(e, EPROTO, "gone %zu: not an id", i);
		d->gone[i] = (uint64_t)json_integer_value(v);
	}
	return 0;
}

static int get_figures(const json_t *o, struct wire_descriptor *d,
		       struct err *e)
{
	const struct {
		const char *name;
		uint64_t *to;
	} figure[] = {
		{"seq", &d->seq},
		{"base", &d->base},
		{"catalog_revision", &d->catalog_revision},
		{"capacity", &d->capacity_bytes},
		{"used", &d->used_bytes},
		{"reserved", &d->reserved_bytes},
		{"free", &d->free_bytes},
		{"evictable", &d->evictable_bytes},
	};

	int r;

	for (size_t i = 0; i < sizeof(figure) / sizeof(*figure); i++) {
		r = jget_u64(o, figure[i].name, INT64_MAX, figure[i].to, e);
		if (r < 0)
			return r;
	}
	r = jget_u64_opt(o, "bad_blocks", INT64_MAX, &d->bad_blocks, e);
	if (r == 0)
		r = jget_u64_opt(o, "repaired_blocks", INT64_MAX,
				 &d->repaired_blocks, e);
	if (r < 0)
		return r;
	if (d->seq == 0 || d->base >= d->seq)
		return err_set(e, EPROTO, "seq %llu cannot follow %llu",
			       (unsigned long long)d->seq,
			       (unsigned long long)d->base);
	return get_time_opt(o, "time", &d->time_s, e);
}

static int get_all(const json_t *o, struct wire_descriptor *d, struct err *e)
{
	json_t *images = NULL, *gone = NULL;
	int r;

	r = get_uuid(o, "store", d->store, e);
	if (r == 0)
		r = get_server(o, "name", d->name, e);
	if (r == 0)
		r = get_uuid(o, "boot", d->boot, e);
	if (r == 0)
		r = get_buffer_opt(o, "version", d->version, sizeof(d->version),
				   e);
	if (r == 0)
		r = get_buffer_opt(o, "time_zone", d->time_zone,
				   sizeof(d->time_zone), e);
	if (r == 0)
		r = get_figures(o, d, e);
	if (r == 0)
		r = jget_list_opt(o, "images", STAGEFS_DESCRIPTOR_MAX_IMAGES,
				  &images, e);
	if (r == 0)
		r = jget_list_opt(o, "gone", STAGEFS_DESCRIPTOR_MAX_IMAGES,
				  &gone, e);
	if (r < 0)
		return r;
	if (d->base == 0 && json_array_size(gone) > 0)
		return err_set(e, EPROTO, "a full one has no 'gone'");
	r = get_images(images, d, e);
	return r < 0 ? r : get_gone(gone, d, e);
}

int wire_descriptor_decode(const char *json, size_t n,
			   struct wire_descriptor *ret, struct err *e)
{
	struct wire_descriptor d = {0};
	CLEAN_JSON json_t *o = NULL;
	int r;

	r = wire_open(json, n, STAGEFS_DESCRIPTOR_MAX_BYTES, WEIGHT_MAX, KIND,
		      &o, e);
	if (r < 0)
		return r;
	r = get_all(o, &d, e);
	if (r < 0) {
		wire_descriptor_free(&d);
		return err_prefix(e, -r, KIND);
	}
	*ret = d;
	return 0;
}

void wire_image_clear(struct wire_image *i)
{
	free(i->name);
	memset(i, 0, sizeof(*i));
}

void wire_descriptor_free(struct wire_descriptor *d)
{
	for (size_t i = 0; i < d->n_images; i++)
		wire_image_clear(&d->image[i]);
	free(d->image);
	free(d->gone);
	memset(d, 0, sizeof(*d));
}
