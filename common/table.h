/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h - what list verbs print: columns as lsblk's, or JSON; the only user
 * of libsmartcols.
 *
 *	static const struct table_column cols[] = {
 *		{"NAME", "image name", TABLE_TEXT, true},
 *		{"SIZE", "size", TABLE_SIZE, true}, {0}};
 *	table_new(cols, &opt, &t);
 *	row = table_row(t);
 *	table_u64(t, row, SIZE, n);
 *
 * In a table a size is "1.5G" (with --bytes: a number), a time is local with
 * its zone; in JSON a size is a number of bytes, a time is RFC 3339 with its
 * offset, a missing value is null. JSON: {"NAME_OF_TABLE": [{...}]} with
 * lower-case keys, '-' as '_', always valid (also when there are no rows).
 */
#ifndef STAGEFS_COMMON_TABLE_H
#define STAGEFS_COMMON_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum table_type {
	TABLE_TEXT,
	TABLE_NUMBER,
	TABLE_SIZE,
	TABLE_RATE,
	TABLE_TIME,
	TABLE_PERCENT,
	TABLE_BOOL /* table: yes/no, JSON: true/false */
};

struct table_column {
	const char *name;
	const char *help; /* for the column list in --help */
	enum table_type type;
	bool shown; /* without -o */
};

struct table_options {
	bool json, no_headings, bytes, raw;
	const char *columns; /* -o A,B,... or +A,B; NULL: the shown ones */
};

struct table;

/* `name` is the JSON key of the list. -EINVAL for an unknown column (the
 * message lists the known ones). */
int table_new(const char *name, const struct table_column *cols,
	      const struct table_options *o, struct table **ret, struct err *e);
void table_free(struct table *t);

static inline void cleanup_table(struct table **t)
{
	table_free(*t);
}
#define CLEAN_TABLE __attribute__((cleanup(cleanup_table)))

void *table_row(struct table *t);
/* `col` is the index in `cols`; a column that is not shown is skipped. A cell
 * that is not set is empty (null). Control characters are shown as '?'. */
void table_text(struct table *t, void *row, size_t col, const char *text);
void table_u64(struct table *t, void *row, size_t col, uint64_t v);
void table_time(struct table *t, void *row, size_t col, int64_t unix_s);
/* 0..1 */
void table_percent(struct table *t, void *row, size_t col, double part);
void table_bool(struct table *t, void *row, size_t col, bool v);

/* To stdout. -EPIPE and friends are returned. */
int table_print(struct table *t);

#endif
