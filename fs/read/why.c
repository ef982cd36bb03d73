/* SPDX-License-Identifier: Apache-2.0 */
/*
 * why.c - what stopped a prefetch, in words that somebody who plans, or who
 * stands before the server, can act on.
 */
#include <errno.h>
#include <string.h>

#include "common/units.h"
#include "fs/read/reader.h"

static int no_room(struct cache *c, uint64_t missing, struct err *e)
{
	char need[UNITS_TEXT], room[UNITS_TEXT], more[UNITS_TEXT],
		cap[UNITS_TEXT];
	struct cache_stats s;

	cache_stats(c, &s);
	return err_set(e, ENOSPC,
		       "no room: it needs %s more, free are %s and %s can be "
		       "evicted of a capacity of %s; the rest is held, open, "
		       "just read or being fetched",
		       units_size(missing, need),
		       units_size(s.free_bytes, room),
		       units_size(s.evictable_bytes, more),
		       units_size(s.capacity_bytes, cap));
}

int prefetch_why(struct cache *c, uint64_t stored, uint64_t size, int error,
		 struct err *e)
{
	switch (error) {
	case -ENOSPC:
		return no_room(c, size - stored, e);
	case -ENOENT:
		return err_set(e, ENOENT, "the origin does not have this "
			       "version any more");
	case -EIO:
		return err_set(e, EIO, "no source has right bytes of it, or "
			       "the disk of the cache fails: see the server's "
			       "log");
	case -ECANCELED:
		return err_set(e, ECANCELED, "cancelled");
	case -EINVAL:
		return err_set(e, EINVAL, "the cache has its id with other "
			       "content: give the mount a new cache");
	default:
		return err_set(e, -error, "%s", strerror(-error));
	}
}
