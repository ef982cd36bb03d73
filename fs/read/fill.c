/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fill.c - fills that no reader of this process began: of a version that an
 * earlier one was filling (R7 goes on over restarts), and of one that had been
 * complete until a block of it was found bad (C7).
 *
 * That a version is wanted whole stands in the cache's index, and stays there
 * as long as the version: which of them still has something missing is all
 * that a start needs to know. What does not fit, or is not to be had any more,
 * stops as any fill does, and is tried again at the next start.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "fs/read/stream.h"

int reader_fill(struct reader *r, const struct version_ident *ident)
{
	struct stream *s;
	int error = reader_open(r, ident, &s);

	if (error)
		return error;
	lock_take(&s->lock);
	fill_start_locked(s);
	lock_give(&s->lock);
	stream_ring(s);
	reader_close(s);
	return 0;
}

void reader_resume(struct reader *r)
{
	CLEAN_FREE struct version_info *list = NULL;
	size_t n = 0, begun = 0;
	int error = cache_list(r->cfg.cache, &list, &n);

	for (size_t i = 0; i < n; i++)
		if (list[i].wanted && !list[i].complete &&
		    reader_fill(r, &list[i].ident) == 0)
			begun++;
	if (error)
		log_warn("read", "unfinished fills are not gone on with: %s",
			 strerror(-error));
	else if (begun)
		log_info("read", "going on with %zu unfinished fills", begun);
}
