/* SPDX-License-Identifier: Apache-2.0 */
#include "origin/http/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct text *text_new(char *data, size_t n)
{
	struct text *t = malloc(sizeof(*t));

	if (!t) {
		free(data);
		return NULL;
	}
	t->refs = 1;
	t->n = n;
	t->data = data;
	return t;
}

struct text *text_printf(const char *fmt, ...)
{
	char *data;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&data, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : text_new(data, (size_t)n);
}

struct text *text_ref(struct text *t)
{
	__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

void text_put(struct text *t)
{
	if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	free(t->data);
	free(t);
}
