/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.c - `order ...`: orders by hand. Each is a row that the daemon
 * delivers within a fraction of a second, or whenever the server comes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/names.h"
#include "common/units.h"
#include "origin/cli/order.h"
#include "origin/cli/verbs.h"
#include "origin/plan/when.h"
#include "origin/servers/servers.h"

/* ---- what all of them need --------------------------------------------- */

#define FORCE_OPTION \
	{"force", 'f', NULL, "also if no server of this name was seen yet"}

static int check_server(struct cli_context *c, struct db *db)
{
	const char *name = c->arg[0];
	struct server s;
	struct err e;
	int r;

	if (name_check_server(name, &e))
		return cli_usage(c, "%s", e.text);
	r = servers_get(db, name, &s, &e);
	if (r == -ENOENT && cli_flag(c, "force"))
		return 0;
	if (r == -ENOENT)
		return cli_fail(c, "%s, or order it all the same with --force",
				e.text);
	return r ? cli_fail(c, "%s", e.text) : 0;
}

/* A moment given with option `name`; *ret stays as it is without one. */
static int take_time(struct cli_context *c, const char *name, int64_t *ret)
{
	const char *text = cli_value(c, name);
	char zone[ZONE_MAX];
	int64_t now = clock_unix_s();
	struct err e;

	if (!text)
		return 0;
	if (when_parse(text, "", now, ret, zone, &e))
		return cli_usage(c, "--%s: %s", name, e.text);
	if (*ret <= now)
		return cli_usage(c, "--%s: %s lies in the past", name, text);
	return 0;
}

static int give(struct cli_context *c, struct db *db, struct wire_order *o)
{
	const char *server = c->arg[0];
	char bytes[UNITS_TEXT];
	struct err e;

	if (orders_add(db, server, o, clock_unix_s(), &e))
		return cli_fail(c, "%s", e.text);
	printf("order %llu: %s %s on %s\n", (unsigned long long)o->number,
	       wire_order_kind_name(o->kind),
	       o->kind == ORDER_RECLAIM ? units_size(o->bytes, bytes)
					: o->name,
	       server);
	return 0;
}

/* ---- orders that name an image ----------------------------------------- */

struct target {
	uint64_t id, size_bytes;
	struct digest digest;
};

/* The version that is published under the name now. */
static int find_published(struct db *db, const char *name, struct target *ret,
			  struct err *e)
{
	struct node n;
	int r;

	r = node_find(db, name, &n, e);
	if (r)
		return r;
	if (n.is_dir)
		return err_set(e, EISDIR, "%s is a folder: name an image",
			       name);
	ret->id = n.id;
	ret->size_bytes = n.size_bytes;
	ret->digest = n.digest;
	return 0;
}

static int give_target(struct cli_context *c, struct db *db,
		       enum wire_order_kind kind, const struct target *t,
		       const struct wire_order *more)
{
	struct wire_order o = *more;

	o.kind = kind;
	o.id = t->id;
	o.digest = t->digest;
	o.size_bytes = t->size_bytes;
	o.name = c->arg[1];
	return give(c, db, &o);
}

static int order_published(struct cli_context *c, enum wire_order_kind kind,
			   const struct wire_order *more)
{
	CLEAN_DB struct db *db = NULL;
	struct target t;
	struct err e;
	int r = verb_open_db(c, &db);

	if (!r)
		r = check_server(c, db);
	if (r)
		return r;
	if (find_published(db, c->arg[1], &t, &e))
		return cli_fail(c, "%s", e.text);
	return give_target(c, db, kind, &t, more);
}

static const struct cli_option prefetch_options[] = {
	{"hold-until", 0, "TIME", "do not evict it before"},
	{"deadline", 0, "TIME", "when it is needed: earlier ones go first"},
	FORCE_OPTION,
	{0},
};

static int run_prefetch(struct cli_context *c)
{
	struct wire_order o = {0};
	int r = take_time(c, "hold-until", &o.hold_until_s);

	if (!r)
		r = take_time(c, "deadline", &o.deadline_s);
	return r ? r : order_published(c, ORDER_PREFETCH, &o);
}

static const struct cli_option hold_options[] = {
	{"until", 0, "TIME", "do not evict it before"},
	FORCE_OPTION,
	{0},
};

static int run_hold(struct cli_context *c)
{
	struct wire_order o = {0};
	int r = take_time(c, "until", &o.hold_until_s);

	if (!r && !o.hold_until_s)
		r = cli_usage(c, "say how long: --until TIME");
	return r ? r : order_published(c, ORDER_HOLD, &o);
}

static const struct cli_option force_options[] = {FORCE_OPTION, {0}};

static int run_release(struct cli_context *c)
{
	const struct wire_order o = {0};

	return order_published(c, ORDER_RELEASE, &o);
}

/*
 * A server may have several versions of one name, and the origin none any
 * more: what the server says that it has is what is deleted.
 */
static int delete_versions(struct cli_context *c, struct db *db,
			   const struct wire_image *image, size_t n)
{
	const struct wire_order none = {0};
	struct target t;
	unsigned found = 0;
	struct err e;
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		if (strcmp(image[i].name, c->arg[1]) != 0)
			continue;
		t = (struct target){.id = image[i].id,
				    .digest = image[i].digest,
				    .size_bytes = image[i].size_bytes};
		r = give_target(c, db, ORDER_DELETE, &t, &none);
		found++;
	}
	if (found || r)
		return r;
	/* It may have begun to store it since its last descriptor. */
	if (find_published(db, c->arg[1], &t, &e))
		return cli_fail(c, "%s, and %s has none of that name", e.text,
				c->arg[0]);
	return give_target(c, db, ORDER_DELETE, &t, &none);
}

static int run_delete(struct cli_context *c)
{
	CLEAN_DB struct db *db = NULL;
	struct wire_image *image;
	struct err e;
	size_t n;
	int r = verb_open_db(c, &db);

	if (!r)
		r = check_server(c, db);
	if (r)
		return r;
	if (servers_images(db, c->arg[0], &image, &n, &e))
		return cli_fail(c, "%s", e.text);
	r = delete_versions(c, db, image, n);
	for (size_t i = 0; i < n; i++)
		wire_image_clear(&image[i]);
	free(image);
	return r;
}

/* ---- others ------------------------------------------------------------ */

static int run_reclaim(struct cli_context *c)
{
	struct wire_order o = {.kind = ORDER_RECLAIM};
	CLEAN_DB struct db *db = NULL;
	struct err e;
	int r;

	if (units_parse_size(c->arg[1], &o.bytes, &e))
		return cli_usage(c, "%s", e.text);
	if (o.bytes == 0)
		return cli_usage(c, "nothing to reclaim: say how much, as "
				 "100G");
	r = verb_open_db(c, &db);
	if (!r)
		r = check_server(c, db);
	return r ? r : give(c, db, &o);
}

static int parse_number(const char *text, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return *end || errno ? -EINVAL : 0;
}

static int run_cancel(struct cli_context *c)
{
	size_t n = (size_t)c->n_args;
	CLEAN_FREE uint64_t *number = calloc(n, sizeof(*number));
	CLEAN_DB struct db *db = NULL;
	struct err e;
	int r = number ? 0 : cli_fail(c, "out of memory");

	for (size_t i = 0; i < n && !r; i++)
		if (parse_number(c->arg[i], &number[i]))
			r = cli_usage(c, "'%s' is no number of an order: see "
				      "`stagefs-origin order list`", c->arg[i]);
	if (!r)
		r = verb_open_db(c, &db);
	if (r)
		return r;
	if (orders_cancel(db, number, n, clock_unix_s(), &e))
		return cli_fail(c, "%s%s", e.text,
				n > 1 ? "; none was cancelled" : "");
	for (size_t i = 0; i < n; i++)
		printf("order %llu: cancelled\n",
		       (unsigned long long)number[i]);
	return 0;
}

/* ---- the verbs --------------------------------------------------------- */

const struct cli_verb verbs_order[] = {
	{
		.name = "prefetch",
		.args = "SERVER IMAGE",
		.summary = "have a server store an image ahead of its use",
		.option = prefetch_options,
		.run = run_prefetch,
		.min_args = 2,
		.max_args = 2,
		.details = "Starts now. For a date, or again and again, use "
			   "`plan add`.",
	},
	{
		.name = "delete",
		.args = "SERVER IMAGE",
		.summary = "have a server drop what it stored of an image",
		.option = force_options,
		.run = run_delete,
		.min_args = 2,
		.max_args = 2,
		.details = "All versions of that name which the server has. "
			   "The image stays published; a reader fetches it "
			   "anew.",
	},
	{
		.name = "reclaim",
		.args = "SERVER SIZE",
		.summary = "have a server make room",
		.option = force_options,
		.run = run_reclaim,
		.min_args = 2,
		.max_args = 2,
		.details = "It deletes in stored order until SIZE is free; "
			   "open and held images stay.",
	},
	{
		.name = "hold",
		.args = "SERVER IMAGE --until TIME",
		.summary = "keep an image on a server",
		.option = hold_options,
		.run = run_hold,
		.min_args = 2,
		.max_args = 2,
	},
	{
		.name = "release",
		.args = "SERVER IMAGE",
		.summary = "end a hold",
		.option = force_options,
		.run = run_release,
		.min_args = 2,
		.max_args = 2,
	},
	{
		.name = "list",
		.args = "[SERVER]",
		.summary = "list orders that are not finished",
		.option = order_list_options,
		.run = order_list_run,
		.max_args = 1,
		.table = order_list_columns,
	},
	{
		.name = "cancel",
		.args = "NUMBER...",
		.summary = "take orders back",
		.run = run_cancel,
		.min_args = 1,
		.max_args = -1,
		.details = "One that was delivered already is followed by an "
			   "order to stop; what it has stored until then "
			   "stays. All are taken back, or none.",
	},
	{0},
};
