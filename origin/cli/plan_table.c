/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_table.c - `plan import` and `plan export`: the whole plan, groups and
 * all, as a table that a spreadsheet can make.
 *
 * Import reads and checks all lines first, and adds all that they say in one
 * transaction. Rejected: to check within the transaction, which would be
 * simpler where an entry names a group of a line above it. The write lock
 * would be held for as long as a person types.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/names.h"
#include "origin/cli/plan.h"
#include "origin/db/settings.h"

#define LINE_MAX_BYTES 4096
#define FIELDS 6
/* No server's name starts like this. */
#define MEMBER "+@"

const struct cli_option plan_import_options[] = {
	{"force", 'f', NULL, "also for servers that have not reported yet"},
	{0},
};

/* ---- import: reading --------------------------------------------------- */

struct import {
	struct plan_texts common; /* of all lines */
	int64_t now_s;
	struct plan_entry *p;
	size_t n, room;
	struct group_member *member;
	size_t n_members, members_room;
};

static int import_member(char *const field[FIELDS], struct import *im,
			 struct err *e)
{
	const char *group = field[0] + strlen(MEMBER), *server = field[1];
	struct group_member *m;
	int r;

	for (size_t i = 2; i < FIELDS; i++)
		if (*field[i])
			return err_set(e, EINVAL, "more than a group and a "
				       "server");
	r = name_check_server(group, e);
	if (r)
		return err_prefix(e, -r, "group");
	r = name_check_server(server, e);
	if (r)
		return r;
	if (array_grow(&im->member, im->n_members, &im->members_room,
		       sizeof(*im->member)))
		return err_set(e, ENOMEM, "out of memory");
	m = &im->member[im->n_members++];
	snprintf(m->group, sizeof(m->group), "%s", group);
	snprintf(m->server, sizeof(m->server), "%s", server);
	return 0;
}

static int import_entry(struct db *db, char *const field[FIELDS],
			struct import *im, struct err *e)
{
	struct plan_texts x = im->common;
	int r;

	x.server = field[0];
	x.image = field[1];
	x.at = field[2];
	x.until = field[3];
	x.repeat = field[4];
	x.priority = field[5];
	x.member = im->member;
	x.n_members = im->n_members;
	if (array_grow(&im->p, im->n, &im->room, sizeof(*im->p)))
		return err_set(e, ENOMEM, "out of memory");
	r = plan_read_entry(db, &x, im->now_s, &im->p[im->n], e);
	if (!r)
		im->n++;
	return r;
}

static int import_line(struct db *db, char *line, struct import *im,
		       struct err *e)
{
	char none[] = "", *field[FIELDS], *rest = line, *part;
	size_t n = 0;

	for (size_t i = 0; i < FIELDS; i++)
		field[i] = none;
	while ((part = strsep(&rest, "\t"))) {
		if (n == FIELDS)
			return err_set(e, EINVAL, "more than six fields");
		field[n++] = part;
	}
	if (strncmp(line, MEMBER, strlen(MEMBER)) == 0)
		return import_member(field, im, e);
	if (n < 3)
		return err_set(e, EINVAL, "fewer than three fields (server, "
			       "image and at, separated by tabs)");
	return import_entry(db, field, im, e);
}

/* A line without its end: 1, 0 behind the last one, -EINVAL. fgets would let
 * a NUL hide what follows it. */
static int import_next(FILE *f, char line[LINE_MAX_BYTES], struct err *e)
{
	size_t n = 0;
	int ch = 0;

	while ((ch = getc_unlocked(f)) != EOF && ch != '\n') {
		if (ch == '\0')
			return err_set(e, EINVAL, "not a line of text");
		if (n == LINE_MAX_BYTES - 1)
			return err_set(e, EINVAL, "longer than %d characters",
				       LINE_MAX_BYTES - 1);
		line[n++] = (char)ch;
	}
	if (n > 0 && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	return n > 0 || ch != EOF;
}

static int import_read(struct db *db, FILE *f, const char *name,
		       struct import *im, struct err *e)
{
	char line[LINE_MAX_BYTES];
	int r = 1;

	for (unsigned n = 1; r > 0; n++) {
		r = import_next(f, line, e);
		if (r > 0 && *line && *line != '#' &&
		    import_line(db, line, im, e))
			r = -EINVAL;
		if (r < 0)
			return err_prefix(e, EINVAL, "%s, line %u", name, n);
	}
	if (ferror(f))
		return err_set(e, EIO, "%s cannot be read", name);
	return 0;
}

/* ---- import: adding ---------------------------------------------------- */

static int import_add(struct db *db, struct import *im, struct err *e)
{
	int r = db_begin(db, e);

	if (r)
		return r;
	r = groups_add_within(db, im->member, im->n_members, im->now_s, e);
	if (!r)
		r = plan_add_within(db, im->p, im->n, im->now_s, e);
	return db_end(db, r, e);
}

static int import_file(struct cli_context *c, struct db *db, struct import *im,
		       struct err *e)
{
	const char *name = c->arg[0];
	bool in = strcmp(name, "-") == 0;
	CLEAN_FILE FILE *f = in ? fdopen(fcntl(0, F_DUPFD_CLOEXEC, 0), "r")
				: fopen(name, "re");
	int r;

	if (!f)
		return err_set(e, errno, "%s: %s", name, strerror(errno));
	r = setting_span(db, "hold", SETTING_HOLD_DEFAULT, SETTING_SPAN_MAX_S,
			 &im->common.late_s, e);
	if (!r)
		r = import_read(db, f, in ? "standard input" : name, im, e);
	return r ? r : import_add(db, im, e);
}

int plan_import_run(struct cli_context *c)
{
	struct import im = {.common.force = cli_flag(c, "force"),
			    .now_s = clock_unix_s()};
	CLEAN_DB struct db *db = NULL;
	struct err e;
	int r = verb_open_db(c, &db);

	if (r)
		return r;
	if (import_file(c, db, &im, &e)) {
		r = cli_fail(c, "%s; nothing was added", e.text);
	} else {
		if (im.n_members)
			printf("%zu servers put into groups\n", im.n_members);
		printf("%zu entr%s added\n", im.n, im.n == 1 ? "y" : "ies");
	}
	plan_entries_free(im.p, im.n);
	free(im.member);
	return r;
}

/* ---- export ------------------------------------------------------------ */

/* With the zone's name, if it has one: a recurrence depends on it. */
static void print_time(int64_t unix_s, const char *zone)
{
	char text[WHEN_TEXT];
	bool named = *zone && *zone != '+' && *zone != '-';

	if (unix_s)
		printf("%s%s%s", when_rfc3339(unix_s, zone, text),
		       named ? " " : "", named ? zone : "");
}

/* Has it no date that is still to come, or whose span lasts? */
static bool is_over(const struct plan_entry *p, int64_t now_s, int64_t hold_s)
{
	const struct repeat rep = plan_repeat(p);
	int64_t span_s = p->until_s ? p->until_s - p->at_s : hold_s;
	struct occurrence o;

	return repeat_list(&rep, now_s - span_s, now_s, &o, 1) == 0;
}

static void print_entry(const struct plan_entry *p)
{
	printf("%s\t%s\t", p->server, p->image);
	print_time(p->at_s, p->zone);
	putchar('\t');
	print_time(p->until_s, p->zone);
	printf("\t%s\t%" PRId64 "\n", p->repeat, p->priority);
}

static int export_groups(struct db *db, struct err *e)
{
	struct group_member *m;
	size_t n;
	int r = groups_list(db, &m, &n, e);

	if (r)
		return r;
	for (size_t i = 0; i < n; i++)
		printf(MEMBER "%s\t%s\n", m[i].group, m[i].server);
	free(m);
	return 0;
}

static int export_plan(struct db *db, struct err *e)
{
	int64_t now = clock_unix_s(), hold_s;
	struct plan_entry *p;
	size_t n;
	int r;

	r = setting_span(db, "hold", SETTING_HOLD_DEFAULT, SETTING_SPAN_MAX_S,
			 &hold_s, e);
	if (!r)
		r = export_groups(db, e);
	if (!r)
		r = plan_list(db, false, &p, &n, e);
	if (r)
		return r;
	for (size_t i = 0; i < n; i++)
		if (!is_over(&p[i], now, hold_s))
			print_entry(&p[i]);
	plan_entries_free(p, n);
	return 0;
}

int plan_export_run(struct cli_context *c)
{
	CLEAN_DB struct db *db = NULL;
	struct err e;
	int r = verb_open_db(c, &db);

	if (r)
		return r;
	printf("# server\timage\tat\tuntil\trepeat\tpriority\n");
	return export_plan(db, &e) ? cli_fail(c, "%s", e.text) : 0;
}
