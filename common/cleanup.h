/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cleanup.h - resources that end with their scope.
 *
 *	CLEAN_FREE char *s = strdup(...);
 *	CLEAN_FD int fd = open(...);
 *	return TAKE(s);		// hand it to the caller instead
 */
#ifndef STAGEFS_COMMON_CLEANUP_H
#define STAGEFS_COMMON_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define CLEAN(fn) __attribute__((cleanup(fn)))
#define CLEAN_FREE CLEAN(cleanup_free)
#define CLEAN_FD CLEAN(cleanup_fd)
#define CLEAN_FILE CLEAN(cleanup_file)

/* The value of a scoped pointer, which the scope then no longer owns. */
#define TAKE(p)                       \
	({                            \
		__typeof__(p) t_ = (p); \
		(p) = NULL;           \
		t_;                   \
	})
/* The same for a descriptor. */
#define TAKE_FD(fd)       \
	({                \
		int t_ = (fd); \
		(fd) = -1; \
		t_;       \
	})

#endif
