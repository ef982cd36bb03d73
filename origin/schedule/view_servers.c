/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_servers.c - servers as they described themselves, and their orders.
 * Rows come in one query for all servers: a thousand queries take longer than
 * all of the schedule.
 *
 * It runs twice a second while servers report, beside months of orders that
 * are over. So the queries name their index, without which SQLite does not take
 * them at all; left to itself it read the whole table.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "origin/schedule/view_impl.h"
#include "origin/servers/servers.h"

#define CLOCK_SLACK_S 60 /* the desk's clock may be read after the schedule's */

static int add_server(struct view_data *d, const char *name, size_t *ret)
{
	struct named_server *n;
	int r = array_grow(&d->server, d->n_servers, &d->servers_room,
			       sizeof(*d->server));

	n = r ? NULL : calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->index = d->n_servers;
	HASH_ADD_STR(d->servers, name, n);
	d->server[d->n_servers] = (struct sched_server){.name = n->name};
	*ret = d->n_servers++;
	return 0;
}

int view_find_server(struct view_data *d, const char *name, size_t *ret)
{
	struct named_server *n;

	HASH_FIND_STR(d->servers, name, n);
	if (!n)
		return add_server(d, name, ret);
	*ret = n->index;
	return 0;
}

/*
 * One struct for all servers with the same table and zone. A table that cannot
 * be read counts as none: one server must not stop the others.
 */
static int table_of(struct view_data *d, const struct server *s,
		    const struct rates **ret)
{
	struct named_rates *n;
	char key[sizeof(n->key)];

	if (*s->prefetch_rate == '\0')
		return 0;
	snprintf(key, sizeof(key), "%s %s", s->time_zone, s->prefetch_rate);
	HASH_FIND_STR(d->tables, key, n);
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			return -ENOMEM;
		strcpy(n->key, key);
		if (rates_of_server(s->prefetch_rate, s->time_zone, &n->rates))
			n->rates.n = 0;
		HASH_ADD_STR(d->tables, key, n);
	}
	*ret = n->rates.n ? &n->rates : NULL;
	return 0;
}

static int read_servers(struct db *db, struct view_data *d, struct err *e)
{
	struct server *s;
	size_t n, at;
	int r = servers_list(db, &s, &n, e);

	if (r)
		return r;
	for (size_t i = 0; i < n && !r; i++) {
		const struct rates *rates = NULL;

		r = add_server(d, s[i].name, &at);
		if (!r)
			r = table_of(d, &s[i], &rates);
		if (r)
			break;
		d->server[at].known = true;
		d->server[at].seen_s = s[i].last_seen_s;
		d->server[at].capacity_bytes = s[i].capacity_bytes;
		d->server[at].free_bytes = s[i].free_bytes;
		d->server[at].reserved_bytes = s[i].reserved_bytes;
		d->server[at].rates = rates;
	}
	free(s);
	return r;
}

/* Which holds were given by orders of jobs. */
static int read_holds(struct db *db, struct view_data *d, int64_t now_s,
		      struct err *e)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT DISTINCT server,id,hold_until_s FROM orders"
		     " INDEXED BY orders_hold"
		     " WHERE hold_until_s>?1 AND hold_until_s>0 AND job>0"
		     " AND kind IN (?2,?3)",
		     "iii", now_s, (int64_t)ORDER_PREFETCH,
		     (int64_t)ORDER_HOLD);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) > 0) {
		struct held *h = calloc(1, sizeof(*h));

		r = h ? view_find_server(d, db_col_text(q, 0), &h->key.server)
		      : -ENOMEM;
		if (r) {
			free(h);
			break;
		}
		h->key.id = db_col_u64(q, 1);
		h->key.until_s = db_col_int(q, 2);
		HASH_ADD(hh, d->held, key, sizeof(h->key), h);
	}
	db_done(q);
	return r;
}

static bool held_by_plan(struct view_data *d, size_t server, uint64_t id,
			 int64_t until_s)
{
	struct held *h, key;

	if (until_s == 0)
		return false;
	memset(&key, 0, sizeof(key));
	key.key.server = server;
	key.key.id = id;
	key.key.until_s = until_s;
	HASH_FIND(hh, d->held, &key.key, sizeof(key.key), h);
	return h != NULL;
}

static int read_image(struct view_data *d, struct sqlite3_stmt *q)
{
	struct sched_image *m;
	struct sched_server *s;
	size_t server;
	int r = view_find_server(d, db_col_text(q, 0), &server);

	if (!r)
		r = array_grow(&d->image, d->n_images, &d->images_room,
			       sizeof(*d->image));
	if (r)
		return r;
	m = &d->image[d->n_images];
	*m = (struct sched_image){
		.id = db_col_u64(q, 1),
		.name = db_col_dup(q, 2),
		.size_bytes = db_col_u64(q, 3),
		.stored_bytes = db_col_u64(q, 4),
		.stored_seq = db_col_u64(q, 6),
		.held_until_s = db_col_int(q, 7),
		.open = db_col_int(q, 8),
		.complete = db_col_int(q, 5) == IMAGE_COMPLETE &&
			    db_col_int(q, 9),
	};
	m->held_by_plan = held_by_plan(d, server, m->id, m->held_until_s);
	if (!m->name)
		return -ENOMEM;
	d->n_images++;
	s = &d->server[server];
	/* They come by server; the array may move yet, so: an index. */
	if (s->n_images++ == 0)
		s->image = (void *)(uintptr_t)d->n_images; /* 1-based */
	return 0;
}

static int read_images(struct db *db, struct view_data *d, int64_t now_s,
		       struct err *e)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT i.server,i.id,i.name,i.size,i.stored,i.state,"
		     "i.stored_seq,i.held_until_s,i.open,"
		     "n.digest IS NOT NULL AND i.digest=n.digest"
		     " FROM server_image i LEFT JOIN node n ON n.id=i.id"
		     " WHERE i.server IN"
		     " (SELECT server FROM plan WHERE removed_s=0 UNION"
		     "  SELECT g.server FROM plan p JOIN server_group g"
		     "  ON p.server='@'||g.name WHERE p.removed_s=0)"
		     " OR i.held_until_s>? ORDER BY i.server",
		     "i", now_s);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) > 0) {
		r = read_image(d, q);
		if (r)
			break;
	}
	db_done(q);
	for (size_t i = 0; i < d->n_servers; i++)
		if (d->server[i].n_images)
			d->server[i].image =
				&d->image[(uintptr_t)d->server[i].image - 1];
	return r;
}

/* ---- orders ------------------------------------------------------------ */

static int sched_state(int64_t s)
{
	switch (s) {
	case ORDER_DONE:
		return SCHED_DONE;
	case ORDER_FAILED:
		return SCHED_FAILED;
	case ORDER_CANCELLED:
		return SCHED_CANCELLED;
	default:
		return SCHED_OPEN;
	}
}

/* A moment that is still to come is of a clock that was set back since: long
 * ago, as far as anybody knows. */
static int64_t in_the_past(int64_t unix_s, int64_t now_s)
{
	return unix_s > now_s + CLOCK_SLACK_S ? 0 : unix_s;
}

static int read_order(struct view_data *d, struct sqlite3_stmt *q,
		      int64_t now_s)
{
	struct sched_order *o;
	size_t server;
	char *message;
	int r = view_find_server(d, db_col_text(q, 1), &server);

	if (!r)
		r = array_grow(&d->order, d->n_orders, &d->orders_room,
			       sizeof(*d->order));
	if (r)
		return r;
	message = db_col_dup(q, 10);
	if (!message)
		return -ENOMEM;
	o = &d->order[d->n_orders++];
	*o = (struct sched_order){
		.number = db_col_u64(q, 0),
		.server = server,
		.kind = (enum wire_order_kind)db_col_int(q, 2),
		.id = db_col_u64(q, 3),
		.sent = db_col_int(q, 5) > 0,
		.job = db_col_u64(q, 6),
		.hold_until_s = db_col_int(q, 7),
		.bytes = db_col_u64(q, 8),
		.stored_bytes = db_col_u64(q, 9),
		.message = message,
		.created_s = db_col_int(q, 11),
		.updated_s = in_the_past(db_col_int(q, 12), now_s),
	};
	o->state = sched_state(db_col_int(q, 4));
	return 0;
}

#define ORDER_COLUMNS                                                 \
	"number,server,kind,id,state,sent_s,job,hold_until_s,bytes,stored," \
	"message,created_s,updated_s"

static int read_orders(struct db *db, struct view_data *d, int64_t now_s,
		       struct err *e)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT " ORDER_COLUMNS " FROM orders"
		     " INDEXED BY orders_open WHERE state<2 UNION ALL "
		     "SELECT " ORDER_COLUMNS " FROM orders"
		     " INDEXED BY orders_final WHERE state>=2 AND updated_s>?"
		     " ORDER BY number",
		     "i", now_s - SCHED_ORDERS_KEPT_S);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) > 0) {
		r = read_order(d, q, now_s);
		if (r)
			break;
	}
	db_done(q);
	return r;
}

int view_read_servers(struct db *db, struct view *v, struct err *e)
{
	int64_t now = v->in.now_s;
	int r = read_servers(db, v->data, e);

	if (!r)
		r = read_holds(db, v->data, now, e);
	if (!r)
		r = read_images(db, v->data, now, e);
	return r ? r : read_orders(db, v->data, now, e);
}
