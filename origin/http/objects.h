/* SPDX-License-Identifier: Apache-2.0 */
/*
 * objects.h - open files of the store, by digest, so that a thousand windows
 * of one image cost one open. One cache per loop; not thread safe.
 */
#ifndef STAGEFS_ORIGIN_HTTP_OBJECTS_H
#define STAGEFS_ORIGIN_HTTP_OBJECTS_H

#include <event2/buffer.h>

#include "origin/store/store.h"

struct objects;

struct object {
	uint64_t size_bytes;
	struct evbuffer_file_segment *segment; /* NULL for an empty file */
	int fd;				       /* the segment's */
	unsigned refs;
};

int objects_new(struct store *s, struct objects **ret);
/* Objects that are still referred to live on. */
void objects_free(struct objects *o);

/* A reference. -ENOENT: not published, or no longer. */
int objects_get(struct objects *o, const struct digest *d, bool manifest,
		struct object **ret);
void object_put(struct object *o); /* NULL is fine */

/* Closes what was not asked for since the last call. */
void objects_age(struct objects *o);

#endif
