/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_add.c - `plan add`, `plan import`, `plan export`: entries in and out.
 * Import checks every line first and adds all of them or none.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/clock.h"
#include "origin/cli/plan.h"

#define LINE_MAX_BYTES 4096

const struct cli_option plan_add_options[] = {
	{"server", 's', "NAME",
	 "production server, or @GROUP: each that is in the group then"},
	{"image", 'i', "NAME",
	 "image: the version that has the name then; or FOLDER/: all images "
	 "that are in it then"},
	{"at", 'a', "TIME", "when it has to be complete there"},
	{"until", 'u', "TIME",
	 "how long it has to stay; also from --at on: +12h, 18:00 (default: "
	 "the store's setting `hold`, 24h)"},
	{"repeat", 'R', "RULE",
	 "RFC 5545 recurrence, like \"FREQ=WEEKLY;BYDAY=MO,TU\""},
	{"priority", 'p', "NUMBER",
	 "-1000 to 1000, higher goes first if due at the same time (default: "
	 "0)"},
	{"force", 'f', NULL, "also for a server that has not reported yet"},
	{0},
};

const struct cli_option plan_import_options[] = {
	{"force", 'f', NULL, "also for servers that have not reported yet"},
	{0},
};

/* ---- add --------------------------------------------------------------- */

/* In words what becomes of each; of many, of those that need a look. */
static void print_verdict(const struct view *v, int64_t entry)
{
	char verdict[VERDICT_TEXT], at[WHEN_TEXT];
	const struct plan_entry *p = NULL;
	size_t n = 0, n_well = 0;

	for (size_t i = 0; i < v->in.n_wants; i++) {
		if (v->in.want[i].entry != entry || !plan_is_next(v, i))
			continue;
		p = &v->entry[v->entry_of[i]];
		n++;
		n_well += plan_verdict(v, i, verdict);
		when_text(v->in.want[i].at_s, p->zone, at);
	}
	if (n == 1)
		printf("entry %" PRId64 ": %s needs %s at %s: %s\n", entry,
		       p->server, p->image, at, verdict);
	else if (n > 1)
		printf("entry %" PRId64 ": %s needs %s at %s: %zu images on "
		       "servers, %zu in time\n", entry, p->server, p->image,
		       at, n, n_well);
	for (size_t i = 0; i < v->in.n_wants && n > 1; i++) {
		const struct sched_want *w = &v->in.want[i];

		if (w->entry == entry && plan_is_next(v, i) &&
		    !plan_verdict(v, i, verdict))
			printf("  %s %s: %s\n", v->in.server[w->server].name,
			       w->image, verdict);
	}
}

static int add_and_tell(struct cli_context *c, struct db *db,
			struct plan_entry *p)
{
	struct view *v;
	struct err e;
	int r;

	if (plan_add(db, p, clock_unix_s(), &e))
		return cli_fail(c, "%s", e.text);
	r = plan_view(c, db, 0, &v);
	if (r) {
		printf("entry %" PRId64 "\n", p->entry);
		return r;
	}
	print_verdict(v, p->entry);
	view_free(v);
	return 0;
}

static const char *text_of(const struct cli_context *c, const char *option)
{
	const char *v = cli_value(c, option);

	return v ? v : "";
}

int plan_add_run(struct cli_context *c)
{
	struct plan_texts x = {text_of(c, "server"), text_of(c, "image"),
			  text_of(c, "at"),	text_of(c, "until"),
			  text_of(c, "repeat"), text_of(c, "priority"),
			  cli_flag(c, "force")};
	struct plan_entry p;
	struct db *db;
	struct err e;
	int r;

	if (!*x.server || !*x.image || !*x.at)
		return cli_usage(c, "--server, --image and --at are needed");
	r = verb_open_db(c, &db);
	if (r)
		return r;
	r = plan_read_entry(db, &x, clock_unix_s(), &p, &e);
	if (r) {
		r = r == -EINVAL || r == -ERANGE ? cli_usage(c, "%s", e.text)
						 : cli_fail(c, "%s", e.text);
	} else {
		r = add_and_tell(c, db, &p);
		plan_entry_clear(&p);
	}
	db_close(db);
	return r;
}

/* ---- import ------------------------------------------------------------ */

struct import {
	struct plan_entry *p;
	size_t n, room;
};

static int import_line(struct db *db, char *line, bool force, int64_t now_s,
		       struct import *im, struct err *e)
{
	const char *field[6] = {"", "", "", "", "", ""};
	char *rest = line, *part;
	size_t n = 0;
	struct plan_texts x;
	int r;

	while ((part = strsep(&rest, "\t"))) {
		if (n == 6)
			return err_set(e, EINVAL, "more than six fields");
		field[n++] = part;
	}
	if (n < 3)
		return err_set(e, EINVAL, "fewer than three fields (server, "
			       "image and at, separated by tabs)");
	x = (struct plan_texts){field[0], field[1], field[2], field[3],
			   field[4], field[5], force};
	if (array_grow(&im->p, im->n, &im->room, sizeof(*im->p)))
		return err_set(e, ENOMEM, "out of memory");
	r = plan_read_entry(db, &x, now_s, &im->p[im->n], e);
	if (!r)
		im->n++;
	return r;
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

static int import_read(struct db *db, FILE *f, const char *name, bool force,
		       struct import *im, struct err *e)
{
	char line[LINE_MAX_BYTES];
	int64_t now = clock_unix_s();
	int r = 1;

	for (unsigned n = 1; r > 0; n++) {
		r = import_next(f, line, e);
		if (r > 0 && *line && *line != '#' &&
		    import_line(db, line, force, now, im, e))
			r = -EINVAL;
		if (r < 0)
			return err_prefix(e, EINVAL, "%s, line %u", name, n);
	}
	if (ferror(f))
		return err_set(e, EIO, "%s cannot be read", name);
	return 0;
}

static int import_add(struct cli_context *c, struct db *db, struct import *im)
{
	struct err e;

	for (size_t i = 0; i < im->n; i++)
		if (plan_add(db, &im->p[i], clock_unix_s(), &e))
			return cli_fail(c, "%s (%zu of %zu entries were added)",
					e.text, i, im->n);
	printf("%zu entries added\n", im->n);
	return 0;
}

int plan_import_run(struct cli_context *c)
{
	const char *name = c->arg[0];
	bool in = strcmp(name, "-") == 0;
	struct import im = {0};
	struct db *db;
	struct err e;
	FILE *f;
	int r = verb_open_db(c, &db);

	if (r)
		return r;
	f = in ? stdin : fopen(name, "re");
	if (!f) {
		r = cli_fail(c, "%s: %s", name, strerror(errno));
	} else if (import_read(db, f, in ? "standard input" : name,
			       cli_flag(c, "force"), &im, &e)) {
		r = cli_fail(c, "%s; nothing was added", e.text);
	} else {
		r = import_add(c, db, &im);
	}
	if (f && !in)
		fclose(f);
	plan_entries_free(im.p, im.n);
	db_close(db);
	return r;
}

/* ---- export ------------------------------------------------------------ */

/* With its zone by name if it has one: a recurrence depends on it. */
static void print_time(int64_t unix_s, const char *zone)
{
	char text[WHEN_TEXT];

	if (unix_s)
		printf("%s%s%s", when_rfc3339(unix_s, zone, text),
		       strchr(zone, '/') ? " " : "",
		       strchr(zone, '/') ? zone : "");
}

int plan_export_run(struct cli_context *c)
{
	struct plan_entry *p;
	struct db *db;
	struct err e;
	size_t n;
	int r = verb_open_db(c, &db);

	if (r)
		return r;
	r = plan_list(db, false, &p, &n, &e);
	db_close(db);
	if (r)
		return cli_fail(c, "%s", e.text);
	printf("# server\timage\tat\tuntil\trepeat\tpriority\n");
	for (size_t i = 0; i < n; i++) {
		printf("%s\t%s\t", p[i].server, p[i].image);
		print_time(p[i].at_s, p[i].zone);
		putchar('\t');
		print_time(p[i].until_s, p[i].zone);
		printf("\t%s\t%" PRId64 "\n", p[i].repeat, p[i].priority);
	}
	plan_entries_free(p, n);
	return fflush(stdout) ? cli_fail(c, "cannot write") : 0;
}
