/* SPDX-License-Identifier: Apache-2.0 */
/*
 * array.h - arrays that grow as they are filled: `*array` has `n` things of
 * `size` bytes and room for `*room`.
 */
#ifndef STAGEFS_COMMON_ARRAY_H
#define STAGEFS_COMMON_ARRAY_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_FIRST 64

/* Room for one more; `array` is the address of the pointer. -ENOMEM: all is as
 * it was. */
static inline int array_grow(void *array, size_t n, size_t *room, size_t size)
{
	size_t more = *room ? *room * 2 : ARRAY_FIRST;
	void *old, *p;

	if (n < *room)
		return 0;
	memcpy(&old, array, sizeof(old)); /* of whatever type it points to */
	p = reallocarray(old, more, size);
	if (!p)
		return -ENOMEM;
	memcpy(array, &p, sizeof(p));
	*room = more;
	return 0;
}

#endif
