/* SPDX-License-Identifier: Apache-2.0 */
/*
 * objects.c - a file stays open while the cache or an answer under way refers
 * to it. A removed image is noticed at the next request by its link count, so
 * that it is gone at once for those that ask, and its space soon after.
 *
 * Rejected: the count that libevent keeps in a file segment. It cannot be
 * taken from outside, and an answer that is fed piece by piece needs one.
 */
#include "origin/http/objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS 128

struct slot {
	struct object *object; /* NULL: free */
	struct digest digest;
	bool manifest, idle;
	uint64_t last; /* request, by the cache's clock */
};

struct objects {
	struct store *store;
	uint64_t clock;
	struct slot slot[SLOTS];
};

/* ---- one file ---------------------------------------------------------- */

void object_put(struct object *o)
{
	if (!o || --o->refs > 0)
		return;
	if (o->segment)
		evbuffer_file_segment_free(o->segment); /* closes fd */
	else
		close(o->fd);
	free(o);
}

static int object_open(struct store *s, const struct digest *d, bool manifest,
		       struct object **ret)
{
	/* No lock: a loop is one thread. No mmap: should sendfile not be
	 * possible, that has to show, not to map 100 GB. */
	const unsigned flags = EVBUF_FS_CLOSE_ON_FREE |
			       EVBUF_FS_DISABLE_MMAP |
			       EVBUF_FS_DISABLE_LOCKING;
	struct object *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->refs = 1;
	o->fd = manifest ? store_open_manifest(s, d, &o->size_bytes)
			 : store_open_object(s, d, &o->size_bytes);
	if (o->fd < 0) {
		int r = o->fd;

		free(o);
		return r;
	}
	if (o->size_bytes > 0) {
		o->segment = evbuffer_file_segment_new(
			o->fd, 0, (ev_off_t)o->size_bytes, flags);
		if (!o->segment) {
			object_put(o);
			return -ENOMEM;
		}
	}
	*ret = o;
	return 0;
}

static bool is_removed(const struct object *o)
{
	struct stat st;

	return fstat(o->fd, &st) || st.st_nlink == 0;
}

/* ---- the cache --------------------------------------------------------- */

int objects_new(struct store *s, struct objects **ret)
{
	struct objects *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->store = s;
	*ret = o;
	return 0;
}

static void slot_clear(struct slot *s)
{
	object_put(s->object);
	memset(s, 0, sizeof(*s));
}

void objects_free(struct objects *o)
{
	if (!o)
		return;
	for (int i = 0; i < SLOTS; i++)
		slot_clear(&o->slot[i]);
	free(o);
}

/* The slot that has it, else the free or oldest one. */
static struct slot *find(struct objects *o, const struct digest *d,
			 bool manifest)
{
	struct slot *oldest = &o->slot[0];

	for (struct slot *s = o->slot; s < o->slot + SLOTS; s++) {
		if (s->object && s->manifest == manifest &&
		    digest_equal(&s->digest, d))
			return s;
		if (s->last < oldest->last)
			oldest = s;
	}
	slot_clear(oldest);
	return oldest;
}

int objects_get(struct objects *o, const struct digest *d, bool manifest,
		struct object **ret)
{
	struct slot *s = find(o, d, manifest);
	int r;

	if (s->object && is_removed(s->object))
		slot_clear(s);
	if (!s->object) {
		r = object_open(o->store, d, manifest, &s->object);
		if (r)
			return r;
		s->digest = *d;
		s->manifest = manifest;
	}
	s->last = ++o->clock;
	s->idle = false;
	s->object->refs++;
	*ret = s->object;
	return 0;
}

void objects_age(struct objects *o)
{
	for (struct slot *s = o->slot; s < o->slot + SLOTS; s++) {
		if (s->object && s->idle)
			slot_clear(s);
		s->idle = true;
	}
}
