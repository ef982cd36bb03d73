/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.c - a thin layer over libsmartcols: which columns, and how each type
 * is written in a table and in JSON.
 *
 * Text is cleaned before the library sees it: names come from the network,
 * and neither a terminal nor a JSON parser should get control characters or
 * broken UTF-8. A table without rows is printed by hand in JSON, as the
 * library prints nothing at all for it. Memory that runs out while cells are
 * filled is remembered and returned by table_print, so that the callers' loops
 * stay plain.
 */
#include "common/table.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "common/utf8.h"

#define HIDDEN SIZE_MAX

struct table {
	const struct table_column *cols;
	size_t n_cols;
	size_t *shown_at; /* by our column: the library's number, or HIDDEN */
	size_t n_shown;
	struct table_options opt;
	char *name;
	struct libscols_table *scols;
	bool no_memory;
};

/* ---- columns ----------------------------------------------------------- */

static int unknown_column(const struct table *t, const char *what, size_t n,
			  struct err *e)
{
	char known[512] = "";
	size_t used = 0;

	for (size_t i = 0; i < t->n_cols && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used,
					 "%s%s", i ? "," : "",
					 t->cols[i].name);
	return err_set(e, EINVAL, "no column '%.*s': the columns are %s",
		       (int)(n > 64 ? 64 : n), what, known);
}

static void show(struct table *t, size_t col)
{
	/* Once only: twice the same key would be bad JSON. */
	if (t->shown_at[col] == HIDDEN)
		t->shown_at[col] = t->n_shown++;
}

/* The list of -o: "A,B" instead of, "+A,B" after the usual ones. */
static int choose_columns(struct table *t, const char *list, struct err *e)
{
	if (!list || *list == '+')
		for (size_t i = 0; i < t->n_cols; i++)
			if (t->cols[i].shown)
				show(t, i);
	if (!list)
		return 0;
	if (*list == '+')
		list++;
	for (;;) {
		size_t n = strcspn(list, ","), i = 0;

		while (i < t->n_cols && (strlen(t->cols[i].name) != n ||
					 strncasecmp(t->cols[i].name, list, n)))
			i++;
		if (i == t->n_cols)
			return unknown_column(t, list, n, e);
		show(t, i);
		if (!list[n])
			return 0;
		list += n + 1;
	}
}

static int json_type(enum table_type type)
{
	switch (type) {
	case TABLE_NUMBER:
	case TABLE_SIZE:
	case TABLE_RATE:
	case TABLE_PERCENT:
	/* "Number" means printed as it is, and null if there is none; the
	 * library's own boolean would print false then. */
	case TABLE_BOOL:
		return SCOLS_JSON_NUMBER;
	case TABLE_TEXT:
	case TABLE_TIME:
		break;
	}
	return SCOLS_JSON_STRING;
}

static bool to_the_right(enum table_type type)
{
	return json_type(type) == SCOLS_JSON_NUMBER && type != TABLE_BOOL;
}

static int add_column(struct table *t, const struct table_column *col)
{
	struct libscols_column *c;
	CLEAN_FREE char *name = strdup(col->name);

	if (!name)
		return -ENOMEM;
	if (t->opt.json) /* the library makes it lower case */
		for (char *p = name; (p = strchr(p, '-')); p++)
			*p = '_';
	c = scols_table_new_column(t->scols, name, 0,
				   to_the_right(col->type) ? SCOLS_FL_RIGHT
							   : 0);
	if (!c)
		return -ENOMEM;
	return scols_column_set_json_type(c, json_type(col->type));
}

/* The library's columns, in the order that was asked for. */
static int add_columns(struct table *t)
{
	int r = 0;

	for (size_t at = 0; at < t->n_shown && !r; at++)
		for (size_t i = 0; i < t->n_cols && !r; i++)
			if (t->shown_at[i] == at)
				r = add_column(t, &t->cols[i]);
	return r;
}

int table_new(const char *name, const struct table_column *cols,
	      const struct table_options *o, struct table **ret, struct err *e)
{
	struct table *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	t->opt = *o;
	t->cols = cols;
	while (cols[t->n_cols].name)
		t->n_cols++;
	t->shown_at = malloc((t->n_cols + 1) * sizeof(*t->shown_at));
	t->name = strdup(name);
	t->scols = scols_new_table();
	if (!t->shown_at || !t->name || !t->scols) {
		table_free(t);
		return err_set(e, ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < t->n_cols; i++)
		t->shown_at[i] = HIDDEN;
	r = choose_columns(t, o->columns, e);
	if (r) {
		table_free(t);
		return r;
	}
	r = scols_table_set_name(t->scols, name);
	if (!r)
		r = add_columns(t);
	if (r) {
		table_free(t);
		return err_set(e, ENOMEM, "out of memory");
	}
	scols_table_enable_json(t->scols, o->json);
	scols_table_enable_raw(t->scols, o->raw && !o->json);
	scols_table_enable_noheadings(t->scols, o->no_headings);
	*ret = t;
	return 0;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	scols_unref_table(t->scols);
	free(t->shown_at);
	free(t->name);
	free(t);
}

/* ---- cells ------------------------------------------------------------- */

void *table_row(struct table *t)
{
	void *row = scols_table_new_line(t->scols, NULL);

	if (!row)
		t->no_memory = true;
	return row;
}

static void set(struct table *t, void *row, size_t col, const char *text)
{
	assert(col < t->n_cols);
	if (!row || t->shown_at[col] == HIDDEN)
		return;
	if (scols_line_set_data(row, t->shown_at[col], text))
		t->no_memory = true;
}

void table_text(struct table *t, void *row, size_t col, const char *text)
{
	CLEAN_FREE char *clean = NULL;

	if (!text)
		return;
	clean = strdup(text);
	if (!clean) {
		t->no_memory = true;
		return;
	}
	utf8_clean(clean);
	set(t, row, col, clean);
}

void table_u64(struct table *t, void *row, size_t col, uint64_t v)
{
	enum table_type type = t->cols[col].type;
	bool plain = t->opt.json || t->opt.bytes || type == TABLE_NUMBER;
	char text[UNITS_TEXT];

	if (type == TABLE_RATE && v == RATE_UNLIMITED) {
		/* No number says it; in JSON: null, no limit. */
		if (!t->opt.json)
			set(t, row, col, units_rate(v, text));
		return;
	}
	if (plain)
		snprintf(text, sizeof(text), "%" PRIu64, v);
	else if (type == TABLE_RATE)
		units_rate(v, text);
	else
		units_size(v, text);
	set(t, row, col, text);
}

/* RFC 3339, local time with its offset. */
static bool rfc3339(int64_t unix_s, char *out, size_t size)
{
	time_t when = (time_t)unix_s;
	struct tm tm;
	size_t n;

	if (!localtime_r(&when, &tm))
		return false;
	n = strftime(out, size - 1, "%Y-%m-%dT%H:%M:%S%z", &tm);
	if (n < 5)
		return false;
	/* %z is +0100; the RFC has +01:00. */
	memmove(out + n - 1, out + n - 2, 3);
	out[n - 2] = ':';
	return true;
}

void table_time(struct table *t, void *row, size_t col, int64_t unix_s)
{
	char text[UNITS_TIME_TEXT];

	if (unix_s == 0)
		return;
	if (!t->opt.json)
		set(t, row, col, units_time(unix_s, text));
	else if (rfc3339(unix_s, text, sizeof(text)))
		set(t, row, col, text);
}

void table_percent(struct table *t, void *row, size_t col, double part)
{
	unsigned tenths;
	char text[UNITS_TEXT];

	if (!(part > 0)) /* NaN too */
		part = 0;
	if (part > 1)
		part = 1;
	/* Rounded down: 100% means all of it. No %f: its point is the
	 * locale's. */
	tenths = (unsigned)(part * 1000);
	if (t->opt.json)
		snprintf(text, sizeof(text), "%u.%u", tenths / 10, tenths % 10);
	else
		snprintf(text, sizeof(text), "%u%%", tenths / 10);
	set(t, row, col, text);
}

void table_bool(struct table *t, void *row, size_t col, bool v)
{
	if (t->opt.json)
		set(t, row, col, v ? "true" : "false");
	else
		set(t, row, col, v ? "yes" : "no");
}

/* ---- printing ---------------------------------------------------------- */

int table_print(struct table *t)
{
	int r = 0;

	if (t->no_memory)
		return -ENOMEM;
	errno = 0;
	if (t->opt.json && scols_table_get_nlines(t->scols) == 0)
		printf("{\n   \"%s\": []\n}\n", t->name);
	else
		r = scols_print_table(t->scols);
	if (r < 0)
		return r;
	if (fflush(stdout) != 0 || ferror(stdout))
		return errno ? -errno : -EIO;
	return 0;
}
