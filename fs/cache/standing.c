/* SPDX-License-Identifier: Apache-2.0 */
/*
 * standing.c - why a version is here or not: its place among those that may
 * have to go, and what became of the last one of its id.
 */
#include <errno.h>

#include "fs/cache/internal.h"

int cache_evicted(struct cache *c, uint64_t id, struct evicted *ret)
{
	return index_evicted(c->index, id, ret);
}

/* By the rules of C4 for a reader, who may take held ones: these come last. */
int cache_standing(struct cache *c, uint64_t id, struct standing *ret)
{
	struct victim_rules rules = rules_now(c, RESERVE_READER);
	struct standing s = {0};
	const struct place *p, *own;
	struct version *v;

	LOCK_SCOPE(&c->lock);
	HASH_FIND(hh, c->table, &id, sizeof(id), v);
	if (!v || (v->state != VERSION_ROW && v->state != VERSION_LIVE))
		return -ENOENT;
	own = &v->place;
	s.passed_over = victims_passed_over(own, &rules);
	s.held = victims_held(own, &rules);
	for (p = c->order; p; p = p->next) {
		bool held = victims_held(p, &rules);
		bool first = held == s.held ? p->seq < own->seq : s.held;

		if (!first || victims_passed_over(p, &rules))
			continue;
		s.before++;
		s.before_bytes += p->bytes;
	}
	*ret = s;
	return 0;
}
