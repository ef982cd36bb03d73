/* SPDX-License-Identifier: Apache-2.0 */
/*
 * point.h - named points where a test may step in: count, kill the process,
 * or make the step fail. NULL in production.
 *
 * The hook returns 0, or -errno that the step then fails with. It is called
 * with no lock held, on whatever thread gets there. The names are the steps of
 * internal.h's invariants:
 *
 *	row.add row.added file.create file.created
 *	store.write store.written
 *	flush.sync flush.synced flush.commit flush.committed
 *	evict.mark evict.marked file.remove file.removed evict.unrow
 *	evict.unrowed
 *	forget.commit forget.punch read.read check.read
 *	file.open file.stat		(start-up work is counted with these)
 */
#ifndef STAGEFS_FS_CACHE_POINT_H
#define STAGEFS_FS_CACHE_POINT_H

extern int (*cache_test_point)(const char *name);

static inline int point(const char *name)
{
	int (*hook)(const char *) =
		__atomic_load_n(&cache_test_point, __ATOMIC_ACQUIRE);

	return __builtin_expect(hook != 0, 0) ? hook(name) : 0;
}

#endif
