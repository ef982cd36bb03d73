/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_read.c - from six texts to an entry. A line of a table and the options
 * of `plan add` are the same six, and are understood here alike.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "origin/cli/plan.h"
#include "origin/servers/servers.h"

#define PAST_S 60 /* "--at 06:00" typed at 06:00:20 */

/*
 * The zone of all servers in a group. Two zones are a question for the planner:
 * 06:00 is one moment for an entry.
 */
struct group_zone {
	char *zone; /* "": they differ */
	bool zoned;
	size_t n; /* servers, or their zones */
};

static void add_zone(struct group_zone *g, const char *of)
{
	g->n++;
	if (!of || !*of || zone_check(of, NULL))
		return; /* not seen yet, or not known here */
	if (!g->zoned)
		snprintf(g->zone, ZONE_MAX, "%s", of);
	else if (strcmp(g->zone, of) != 0)
		g->zone[0] = '\0';
	g->zoned = true;
}

static int add_stored_zones(struct db *db, const char *group,
			    struct group_zone *g, struct err *e)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT DISTINCT s.time_zone FROM server_group g LEFT JOIN"
		     " server s ON s.name=g.server WHERE g.name=?", "s", group);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) > 0)
		add_zone(g, db_col_text(q, 0));
	db_done(q);
	return r;
}

static int add_new_zones(struct db *db, const struct plan_texts *x,
			 struct group_zone *g, struct err *e)
{
	struct server s;
	int r = 0;

	for (size_t i = 0; i < x->n_members && !r; i++) {
		if (strcmp(x->member[i].group, x->server + 1) != 0)
			continue;
		r = servers_get(db, x->member[i].server, &s, e);
		add_zone(g, r ? NULL : s.time_zone);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

static int find_group_zone(struct db *db, const struct plan_texts *x,
			   char zone[ZONE_MAX], struct err *e)
{
	struct group_zone g = {.zone = zone};
	int r;

	zone_local(zone);
	r = add_stored_zones(db, x->server + 1, &g, e);
	if (!r)
		r = add_new_zones(db, x, &g, e);
	if (!r && g.n == 0 && !x->force)
		r = err_set(e, ENOENT, "there is no group '%s': see "
			    "`stagefs-origin server group list` (--force plans "
			    "for one that is empty yet)", x->server);
	return r;
}

static int find_zone(struct db *db, const struct plan_texts *x,
		     char zone[ZONE_MAX], struct err *e)
{
	struct server s;
	int r;

	if (plan_is_group(x->server))
		return find_group_zone(db, x, zone, e);
	r = servers_get(db, x->server, &s, e);
	if (r == -ENOENT && x->force) {
		zone_local(zone);
		return 0;
	}
	if (r == -ENOENT)
		return err_set(e, ENOENT,
			       "there is no server '%s': see `stagefs-origin "
			       "server list` (--force plans for one that has "
			       "not reported yet)",
			       x->server);
	if (r)
		return r;
	/* A zone that this machine does not know: its own is as good. */
	if (*s.time_zone == '\0' || zone_check(s.time_zone, NULL))
		zone_local(zone);
	else
		snprintf(zone, ZONE_MAX, "%s", s.time_zone);
	return 0;
}

static int find_image(struct db *db, const char *name, struct err *e)
{
	CLEAN_FREE char *folder = NULL;
	struct node node;
	int r = plan_check_image(name, e);

	if (r)
		return r;
	if (plan_is_folder(name)) {
		folder = strndup(name, strlen(name) - 1);
		if (!folder)
			return err_set(e, ENOMEM, "out of memory");
	}
	r = node_find(db, folder ? folder : name, &node, e);
	if (!r && node.is_dir && !folder)
		r = err_set(e, EISDIR, "%s is a folder: name an image in it, "
			    "or write %s/ for all of them", name, name);
	if (!r && !node.is_dir && folder)
		r = err_set(e, ENOTDIR, "%s is an image, not a folder: write "
			    "it without the '/'", folder);
	return r;
}

/* Does the time mean the same moment wherever it is read? */
static int need_zone(const struct plan_texts *x, int64_t now_s, struct err *e)
{
	char zone[2][ZONE_MAX];
	int64_t at_s[2];
	int r = when_parse(x->at, "UTC", now_s, &at_s[0], zone[0], e);

	if (!r)
		r = when_parse(x->at, "Asia/Kathmandu", now_s, &at_s[1],
			       zone[1], e);
	if (r)
		return err_prefix(e, -r, "at");
	if (at_s[0] != at_s[1])
		return err_set(e, EINVAL, "at: the servers of %s are in "
			       "different time zones: say which, like \"%s "
			       "Europe/Berlin\"", x->server, x->at);
	return 0;
}

static int read_times(const struct plan_texts *x, const char *zone,
		      int64_t now_s, struct plan_entry *p, struct err *e)
{
	char until_zone[ZONE_MAX];
	int64_t end_s;
	int r;

	if (*zone == '\0') {
		/* It has to say it itself: of two readings one is wrong. */
		r = need_zone(x, now_s, e);
		if (r)
			return r;
		zone = "UTC";
	}
	r = when_parse(x->at, zone, now_s, &p->at_s, p->zone, e);
	if (r)
		return err_prefix(e, -r, "at");
	if (*x->until) {
		r = when_parse(x->until, p->zone, p->at_s, &p->until_s,
			       until_zone, e);
		if (r)
			return err_prefix(e, -r, "until");
	}
	end_s = p->until_s ? p->until_s : p->at_s + x->late_s;
	if (!*x->repeat && p->at_s < now_s - PAST_S && end_s <= now_s)
		return err_set(e, EINVAL, "at: '%s' is in the past", x->at);
	return 0;
}

static int read_priority(const char *text, int64_t *ret, struct err *e)
{
	char *end;
	long v = strtol(*text ? text : "0", &end, 10);

	if (*end || v < -PLAN_PRIORITY_MAX || v > PLAN_PRIORITY_MAX)
		return err_set(e, EINVAL,
			       "priority: '%s' is not a number between -%d and "
			       "%d",
			       text, PLAN_PRIORITY_MAX, PLAN_PRIORITY_MAX);
	*ret = v;
	return 0;
}

int plan_read_entry(struct db *db, const struct plan_texts *x, int64_t now_s,
		    struct plan_entry *ret, struct err *e)
{
	struct plan_entry p = {0};
	struct repeat rep;
	char zone[ZONE_MAX];
	int r;

	r = plan_check_server(x->server, e);
	if (!r)
		r = find_zone(db, x, zone, e);
	if (!r)
		r = find_image(db, x->image, e);
	if (!r)
		r = read_priority(x->priority, &p.priority, e);
	if (!r)
		r = read_times(x, zone, now_s, &p, e);
	if (r)
		return r;
	snprintf(p.server, sizeof(p.server), "%s", x->server);
	if (strlen(x->repeat) > REPEAT_TEXT_MAX)
		return err_set(e, EINVAL, "repeat: longer than %d characters",
			       REPEAT_TEXT_MAX);
	snprintf(p.repeat, sizeof(p.repeat), "%s", x->repeat);
	rep = plan_repeat(&p);
	r = repeat_check(&rep, e);
	if (r)
		return err_prefix(e, -r, "repeat");
	p.image = strdup(x->image);
	if (!p.image)
		return err_set(e, ENOMEM, "out of memory");
	r = plan_check(&p, e);
	if (r)
		plan_entry_clear(&p);
	else
		*ret = p;
	return r;
}
