/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_random.h - random documents that are right, and their comparison. The
 * generator is a plain xorshift: the same seed gives the same document.
 */
#ifndef STAGEFS_TESTS_WIRE_RANDOM_H
#define STAGEFS_TESTS_WIRE_RANDOM_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/wire.h"
#include "tests/unit/xorshift.h"

struct random {
	uint64_t x; /* not 0 */
};

static inline uint64_t random_next(struct random *r)
{
	return xorshift(&r->x);
}

/* 0 to n - 1 */
static inline uint64_t random_below(struct random *r, uint64_t n)
{
	return random_next(r) % n;
}

/* Small ones, large ones, and the bounds. */
static inline uint64_t random_number(struct random *r, uint64_t min,
				     uint64_t max)
{
	switch (random_below(r, 4)) {
	case 0:
		return min;
	case 1:
		return max;
	case 2:
		return min + random_below(r, max - min < 100 ? max - min + 1
							      : 100);
	default:
		return min + random_next(r) % (max - min + 1);
	}
}

static inline int64_t random_time(struct random *r)
{
	return (int64_t)random_number(r, 0, 2 * STAGEFS_TIME_MAX_S) -
	       STAGEFS_TIME_MAX_S;
}

static inline void random_digest(struct random *r, struct digest *d)
{
	for (int i = 0; i < DIGEST_BYTES; i++)
		d->b[i] = (uint8_t)random_next(r);
}

static inline void random_uuid(struct random *r, char out[UUID_TEXT])
{
	snprintf(out, UUID_TEXT, "%08x-%04x-4%03x-8%03x-%012llx",
		 (unsigned)random_below(r, UINT64_C(1) << 32),
		 (unsigned)random_below(r, 65536),
		 (unsigned)random_below(r, 4096),
		 (unsigned)random_below(r, 4096),
		 (unsigned long long)random_below(r, UINT64_C(1) << 48));
}

/* One part of a name, 1 to 255 bytes. */
static inline void random_part(struct random *r, char *out)
{
	static const char *const piece[] = {
		"a", "Z", "0", "-", "_", "+", " x", "'", ".y", "#", "{}", "~",
		"\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "&", "%", "=",
	};
	size_t n = 1 + random_below(r, random_below(r, 20) ? 8 : 60);

	out[0] = 0;
	while (n--)
		strcat(out, piece[random_below(
				    r, sizeof(piece) / sizeof(*piece))]);
}

static inline char *random_image_name(struct random *r)
{
	char path[1024] = "";
	size_t parts = random_below(r, 4); /* 0: "" */

	for (size_t i = 0; i < parts; i++) {
		random_part(r, path + strlen(path));
		if (i + 1 < parts)
			strcat(path, "/");
	}
	return strdup(path);
}

static inline void random_server(struct random *r, char out[64])
{
	static const char letters[] = "aZ09-_.";
	size_t n = random_below(r, 10) ? random_below(r, 12) : 62;

	out[0] = 'k';
	for (size_t i = 1; i <= n; i++)
		out[i] = letters[random_below(r, 7)];
	out[n + 1] = 0;
}

static inline void random_catalog(struct random *r, size_t most,
				  struct wire_catalog *c)
{
	uint64_t id = 1;

	memset(c, 0, sizeof(*c));
	random_uuid(r, c->store);
	c->since = random_below(r, 2) * random_number(r, 1, 1 << 20);
	c->revision = random_number(r, c->since + 1, INT64_MAX);
	c->more = random_below(r, 2);
	c->n_entries = random_below(r, most + 1);
	c->entry = calloc(c->n_entries + 1, sizeof(*c->entry));
	for (size_t i = 0; i < c->n_entries; i++) {
		struct wire_entry *w = &c->entry[i];
		char part[256];

		w->id = id += 1 + random_below(r, 1000);
		w->parent = 1 + random_below(r, w->id - 1);
		random_part(r, part);
		w->name = strdup(part);
		w->mtime_s = random_time(r);
		w->is_dir = random_below(r, 3) == 0;
		if (w->is_dir)
			continue;
		w->block_bytes = STAGEFS_BLOCK_MIN_BYTES
				 << random_below(r, 9);
		w->size_bytes = random_number(
			r, 0, (uint64_t)STAGEFS_MAX_BLOCKS * w->block_bytes);
		random_digest(r, &w->digest);
	}
	c->n_removed = c->since ? random_below(r, most + 1) : 0;
	c->removed = calloc(c->n_removed + 1, sizeof(*c->removed));
	for (size_t i = 0; i < c->n_removed; i++) {
		char part[256];

		c->removed[i].id = 2 + random_below(r, 1000);
		c->removed[i].parent = 1;
		random_part(r, part);
		c->removed[i].name = strdup(part);
	}
}

static inline void random_orders(struct random *r, size_t most,
				 struct wire_orders *s)
{
	uint64_t number = 0;

	memset(s, 0, sizeof(*s));
	random_uuid(r, s->store);
	random_server(r, s->server);
	s->catalog_revision = random_number(r, 0, INT64_MAX);
	s->n_orders = random_below(r, most + 1);
	s->order = calloc(s->n_orders + 1, sizeof(*s->order));
	for (size_t i = 0; i < s->n_orders; i++) {
		struct wire_order *w = &s->order[i];

		w->number = number += 1 + random_below(r, 1 << 30);
		w->kind = (enum wire_order_kind)random_below(r,
							     ORDER_KIND_COUNT);
		w->name = random_image_name(r);
		w->deadline_s = random_time(r);
		w->job = random_number(r, 0, INT64_MAX);
		if (w->kind == ORDER_RECLAIM) {
			w->bytes = random_number(r, 1, INT64_MAX);
			continue;
		}
		if (w->kind == ORDER_CANCEL) {
			w->cancels = random_number(r, 1, INT64_MAX);
			continue;
		}
		w->id = random_number(r, 2, INT64_MAX);
		random_digest(r, &w->digest);
		w->size_bytes = random_number(r, 0, STAGEFS_IMAGE_MAX_BYTES);
		w->hold_until_s = random_time(r);
		if (w->kind == ORDER_HOLD && w->hold_until_s == 0)
			w->hold_until_s = 1;
	}
}

static inline void random_report(struct random *r, struct wire_report *w)
{
	memset(w, 0, sizeof(*w));
	w->number = random_number(r, 1, INT64_MAX);
	w->state = (enum wire_report_state)random_below(r, REPORT_STATE_COUNT);
	w->stored_bytes = random_number(r, 0, INT64_MAX);
	w->size_bytes = random_number(r, 0, INT64_MAX);
	random_part(r, w->message);
	random_part(r, w->message + strlen(w->message));
}

static inline void random_descriptor(struct random *r, size_t most,
				     struct wire_descriptor *d)
{
	uint64_t id = 1;

	memset(d, 0, sizeof(*d));
	random_uuid(r, d->store);
	random_uuid(r, d->boot);
	random_server(r, d->name);
	strcpy(d->version, "0.1.0");
	strcpy(d->time_zone, random_below(r, 2) ? "Europe/Berlin" : "");
	d->base = random_below(r, 2) * random_number(r, 1, 1 << 20);
	d->seq = random_number(r, d->base + 1, INT64_MAX);
	d->time_s = random_time(r);
	d->catalog_revision = random_number(r, 0, INT64_MAX);
	d->capacity_bytes = random_number(r, 0, INT64_MAX);
	d->used_bytes = random_number(r, 0, INT64_MAX);
	d->reserved_bytes = random_number(r, 0, INT64_MAX);
	d->free_bytes = random_number(r, 0, INT64_MAX);
	d->evictable_bytes = random_number(r, 0, INT64_MAX);
	d->bad_blocks = random_number(r, 0, INT64_MAX);
	d->repaired_blocks = random_number(r, 0, INT64_MAX);
	d->n_images = random_below(r, most + 1);
	d->image = calloc(d->n_images + 1, sizeof(*d->image));
	for (size_t i = 0; i < d->n_images; i++) {
		struct wire_image *w = &d->image[i];

		w->id = id += 1 + random_below(r, 1000);
		w->name = random_image_name(r);
		random_digest(r, &w->digest);
		w->size_bytes = random_number(r, 0, STAGEFS_IMAGE_MAX_BYTES);
		w->state = (enum wire_image_state)random_below(
			r, IMAGE_STATE_COUNT);
		w->stored_bytes = w->state == IMAGE_COMPLETE
					  ? w->size_bytes
					  : random_number(r, 0, w->size_bytes);
		w->stored_seq = random_number(r, 0, INT64_MAX);
		w->stored_at_s = random_time(r);
		w->held_until_s = random_time(r);
		w->open = random_below(r, 2);
	}
	d->n_gone = d->base ? random_below(r, most + 1) : 0;
	d->gone = calloc(d->n_gone + 1, sizeof(*d->gone));
	for (size_t i = 0; i < d->n_gone; i++)
		d->gone[i] = random_number(r, 2, INT64_MAX);
}

/* ---- comparison, member by member ---------------------------------------- */

#define SAME(member) (a->member == b->member)
#define SAME_TEXT(member) (strcmp(a->member, b->member) == 0)

static inline bool same_catalog(const struct wire_catalog *x,
				const struct wire_catalog *y)
{
	if (strcmp(x->store, y->store) != 0 || x->since != y->since ||
	    x->revision != y->revision || x->more != y->more ||
	    x->n_entries != y->n_entries || x->n_removed != y->n_removed)
		return false;
	for (size_t i = 0; i < x->n_entries; i++) {
		const struct wire_entry *a = &x->entry[i], *b = &y->entry[i];

		if (!SAME(id) || !SAME(parent) || !SAME_TEXT(name) ||
		    !SAME(is_dir) || !SAME(mtime_s) || !SAME(size_bytes) ||
		    !SAME(block_bytes) || !digest_equal(&a->digest, &b->digest))
			return false;
	}
	for (size_t i = 0; i < x->n_removed; i++) {
		const struct wire_removed *a = &x->removed[i];
		const struct wire_removed *b = &y->removed[i];

		if (!SAME(id) || !SAME(parent) || !SAME_TEXT(name))
			return false;
	}
	return true;
}

static inline bool same_orders(const struct wire_orders *x,
			       const struct wire_orders *y)
{
	if (strcmp(x->store, y->store) != 0 ||
	    strcmp(x->server, y->server) != 0 ||
	    x->catalog_revision != y->catalog_revision ||
	    x->n_orders != y->n_orders)
		return false;
	for (size_t i = 0; i < x->n_orders; i++) {
		const struct wire_order *a = &x->order[i], *b = &y->order[i];

		if (!SAME(number) || !SAME(kind) || !SAME(id) ||
		    !digest_equal(&a->digest, &b->digest) ||
		    !SAME_TEXT(name) || !SAME(size_bytes) || !SAME(bytes) ||
		    !SAME(cancels) || !SAME(hold_until_s) ||
		    !SAME(deadline_s) || !SAME(job))
			return false;
	}
	return true;
}

static inline bool same_report(const struct wire_report *a,
			       const struct wire_report *b)
{
	return SAME(number) && SAME(state) && SAME(stored_bytes) &&
	       SAME(size_bytes) && SAME_TEXT(message);
}

static inline bool same_image(const struct wire_image *a,
			      const struct wire_image *b)
{
	return SAME(id) && SAME_TEXT(name) &&
	       digest_equal(&a->digest, &b->digest) && SAME(size_bytes) &&
	       SAME(stored_bytes) && SAME(state) && SAME(stored_seq) &&
	       SAME(stored_at_s) && SAME(held_until_s) && SAME(open);
}

static inline bool same_descriptor(const struct wire_descriptor *a,
				   const struct wire_descriptor *b)
{
	if (!SAME_TEXT(store) || !SAME_TEXT(name) || !SAME_TEXT(boot) ||
	    !SAME_TEXT(version) || !SAME_TEXT(time_zone) || !SAME(seq) ||
	    !SAME(base) || !SAME(time_s) || !SAME(catalog_revision) ||
	    !SAME(capacity_bytes) || !SAME(used_bytes) ||
	    !SAME(reserved_bytes) || !SAME(free_bytes) ||
	    !SAME(evictable_bytes) || !SAME(bad_blocks) ||
	    !SAME(repaired_blocks) || !SAME(n_images) || !SAME(n_gone))
		return false;
	for (size_t i = 0; i < a->n_images; i++)
		if (!same_image(&a->image[i], &b->image[i]))
			return false;
	for (size_t i = 0; i < a->n_gone; i++)
		if (a->gone[i] != b->gone[i])
			return false;
	return true;
}

#undef SAME
#undef SAME_TEXT

#endif
