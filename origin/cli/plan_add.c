/* SPDX-License-Identifier: Apache-2.0 */
/* plan_add.c - `plan add`: an entry, and in words what becomes of it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "origin/cli/plan.h"

const struct cli_option plan_add_options[] = {
	{"server", 's', "NAME",
	 "production server, or @GROUP: each that is in the group then"},
	{"image", 'i', "NAME",
	 "image: the version that has the name then; or FOLDER/: all images "
	 "that are in it then"},
	{"at", 'a', "TIME", "when it has to be complete there"},
	{"until", 'u', "TIME",
	 "how long it has to stay; also from --at on: +12h, 18:00 (default: "
	 "as --hold of `serve` says, 24h)"},
	{"repeat", 'R', "RULE",
	 "RFC 5545 recurrence, like \"FREQ=WEEKLY;BYDAY=MO,TU\""},
	{"priority", 'p', "NUMBER",
	 "-1000 to 1000, higher goes first if due at the same time (default: "
	 "0)"},
	{"force", 'f', NULL, "also for a server that has not reported yet"},
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
			  .force = cli_flag(c, "force")};
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
