/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view.c - reads the database into the arrays of schedule().
 *
 * Recurrences are walked only when they have to be: an entry that has a row
 * of a date beyond `ahead` has rows of all dates before. With twenty entries
 * on each of a thousand servers that is the difference between a second and
 * a few hundredths.
 */
#include "origin/schedule/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/limits.h"
#include "common/units.h"
#include "origin/db/origindb.h"
#include "origin/servers/servers.h"
#include "origin/store/store.h"

#define DAY_S 86400
#define OCCURRENCES_MAX 64 /* of one entry in one run */

struct named_server {
	char name[64];
	size_t index;
	UT_hash_handle hh;
};

struct named_image {
	char *name;
	uint64_t id, size_bytes; /* id 0: there is none */
	UT_hash_handle hh;
};

struct held {
	struct {
		uint64_t id;
		int64_t until_s;
		size_t server;
	} key;
	UT_hash_handle hh;
};

struct named_rates {
	char key[256];
	struct rates rates;
	UT_hash_handle hh;
};

struct view_data {
	struct sched_server *server;
	size_t n_servers, servers_room;
	struct sched_want *want;
	size_t n_wants, wants_room;
	struct sched_order *order;
	size_t n_orders, orders_room;
	struct sched_image *image;
	size_t n_images, images_room;
	struct job_row *job;
	size_t n_jobs, jobs_room, over_room;
	struct rates rates;
	struct named_server *servers;
	struct named_image *images;
	struct named_rates *tables;
	struct held *held;
};

/* Room for one more; -ENOMEM. */
static int grow(void *array, size_t n, size_t *room, size_t size)
{
	void **p = array, *more;

	if (n < *room)
		return 0;
	*room = *room ? *room * 2 : 64;
	more = realloc(*p, *room * size);
	if (!more)
		return -ENOMEM;
	*p = more;
	return 0;
}

/* ---- settings ------------------------------------------------------------ */

/* The daemon notes what it was not given as "". */
static int setting(struct db *db, const char *name, const char *fallback,
		   char **ret, struct err *e)
{
	int r = origindb_setting(db, name, ret);

	if (r == 0 && **ret == '\0') {
		free(*ret);
		r = -ENOENT;
	}
	if (r == -ENOENT) {
		*ret = strdup(fallback);
		r = *ret ? 0 : -ENOMEM;
	}
	return r ? err_set(e, -r, "setting %s: cannot be read", name) : 0;
}

static int setting_span(struct db *db, const char *name, const char *fallback,
			int64_t *ret_s, struct err *e)
{
	char *text;
	uint64_t ms = 0;
	int r = setting(db, name, fallback, &text, e);

	if (r)
		return r;
	r = units_parse_span(text, &ms, e);
	free(text);
	if (!r && ms / 1000 > 366 * (uint64_t)DAY_S)
		r = err_set(e, ERANGE, "more than a year");
	if (r)
		return err_prefix(e, -r, "setting %s", name);
	*ret_s = (int64_t)(ms / 1000);
	return 0;
}

static int setting_rate(struct db *db, const char *name, const char *fallback,
			uint64_t *ret, struct err *e)
{
	char *text, *rate;
	int r = setting(db, name, fallback, &text, e);

	if (r)
		return r;
	rate = strrchr(text, '='); /* eth0=10Gbit/s */
	rate = rate ? rate + 1 : text;
	*ret = 0;
	if (*rate)
		r = units_parse_rate(rate, ret, e);
	if (*ret == RATE_UNLIMITED)
		*ret = 0;
	free(text);
	return r ? err_prefix(e, -r, "setting %s", name) : 0;
}

/* "20%" */
static int setting_part(struct db *db, const char *name, const char *fallback,
			double *ret, struct err *e)
{
	char *text, *end;
	double v;
	int r = setting(db, name, fallback, &text, e);

	if (r)
		return r;
	v = strtod(text, &end);
	if (end == text || (*end && strcmp(end, "%") != 0) || !(v >= 0) ||
	    v > 1000)
		r = err_set(e, EINVAL, "setting %s: '%s' is not like 20%%",
			    name, text);
	else
		*ret = v / 100;
	free(text);
	return r;
}

static int read_settings(struct db *db, struct view *v, struct err *e)
{
	char *text;
	int r;

	r = setting_span(db, "lead", "24h", &v->in.lead_s, e);
	if (!r)
		r = setting_span(db, "margin_time", "5m", &v->in.margin_s, e);
	if (!r)
		r = setting_span(db, "hold", "24h", &v->hold_s, e);
	if (!r)
		r = setting_part(db, "margin", "20%", &v->in.margin, e);
	if (!r)
		r = setting_rate(db, "link", "", &v->in.link_bps, e);
	if (!r)
		r = setting_rate(db, "assumed_rate", "100M/s",
				 &v->in.assumed_bps, e);
	if (!r)
		r = setting(db, "prefetch_rate", "", &text, e);
	if (r)
		return r;
	r = rates_parse(text, "", &v->data->rates, e);
	free(text);
	v->in.rates = &v->data->rates;
	return r ? err_prefix(e, -r, "setting prefetch_rate") : 0;
}

/* ---- servers --------------------------------------------------------------- */

static int add_server(struct view_data *d, const char *name, size_t *ret)
{
	struct named_server *n;
	int r = grow(&d->server, d->n_servers, &d->servers_room,
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

static int find_server(struct view_data *d, const char *name, size_t *ret)
{
	struct named_server *n;

	HASH_FIND_STR(d->servers, name, n);
	if (!n)
		return add_server(d, name, ret);
	*ret = n->index;
	return 0;
}

/*
 * One struct for all servers with the same table; its times are of this
 * machine's zone, as the pacing has them. A table that cannot be read (an
 * older program wrote it) counts as none: one server must not stop the others.
 */
static int table_of(struct view_data *d, const struct server *s,
		    const struct rates **ret)
{
	struct named_rates *n;

	if (*s->prefetch_rate == '\0')
		return 0;
	HASH_FIND_STR(d->tables, s->prefetch_rate, n);
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			return -ENOMEM;
		snprintf(n->key, sizeof(n->key), "%s", s->prefetch_rate);
		if (rates_parse(n->key, "", &n->rates, NULL))
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
		     " WHERE hold_until_s>?1 AND hold_until_s>0 AND job>0"
		     " AND kind IN (?2,?3)",
		     "iii", now_s, (int64_t)ORDER_PREFETCH,
		     (int64_t)ORDER_HOLD);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) > 0) {
		struct held *h = calloc(1, sizeof(*h));

		r = h ? find_server(d, db_col_text(q, 0), &h->key.server)
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
	int r = find_server(d, db_col_text(q, 0), &server);

	if (!r)
		r = grow(&d->image, d->n_images, &d->images_room,
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
		     " (SELECT server FROM plan WHERE removed_s=0)"
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

/* ---- orders ----------------------------------------------------------------- */

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

static int read_order(struct view_data *d, struct sqlite3_stmt *q)
{
	struct sched_order *o;
	size_t server;
	char *message;
	int r = find_server(d, db_col_text(q, 1), &server);

	if (!r)
		r = grow(&d->order, d->n_orders, &d->orders_room,
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
		.updated_s = db_col_int(q, 12),
	};
	o->state = sched_state(db_col_int(q, 4));
	return 0;
}

static int read_orders(struct db *db, struct view_data *d, int64_t now_s,
		       struct err *e)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT number,server,kind,id,state,sent_s,job,"
		     "hold_until_s,bytes,stored,message,created_s,updated_s"
		     " FROM orders WHERE state<2"
		     " OR (state>=2 AND updated_s>?) ORDER BY number",
		     "i", now_s - SCHED_ORDERS_KEPT_S);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) > 0) {
		r = read_order(d, q);
		if (r)
			break;
	}
	db_done(q);
	return r;
}

/* ---- wants ------------------------------------------------------------------ */

static int find_image(struct db *db, struct view_data *d, const char *name,
		      const struct named_image **ret)
{
	struct named_image *n;
	struct node node;
	int r;

	HASH_FIND_STR(d->images, name, n);
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			return -ENOMEM;
		n->name = strdup(name);
		if (!n->name) {
			free(n);
			return -ENOMEM;
		}
		HASH_ADD_KEYPTR(hh, d->images, n->name, strlen(n->name), n);
		r = node_find(db, name, &node, NULL);
		if (r && r != -ENOENT && r != -EINVAL && r != -ENAMETOOLONG)
			return r;
		if (!r && !node.is_dir) {
			n->id = node.id;
			n->size_bytes = node.size_bytes;
		}
	}
	*ret = n;
	return 0;
}

static int read_jobs(struct db *db, struct view *v, struct err *e)
{
	struct view_data *d = v->data;
	struct sqlite3_stmt *q;
	int64_t span = v->hold_s;
	int r;

	for (size_t i = 0; i < v->n_entries; i++) {
		const struct plan_entry *p = &v->entry[i];

		if (p->until_s && p->until_s - p->at_s + DAY_S > span)
			span = p->until_s - p->at_s + DAY_S;
	}
	/* Rows of long ago are of use only if nobody has closed them yet. */
	r = db_query(db, &q, e,
		     "SELECT job,entry,at_s,id,state,start_s,expected_s,"
		     "staged_s,stored,size,message FROM job"
		     " WHERE (at_s>?1 OR state IN (0,1,3)) AND entry IN"
		     " (SELECT entry FROM plan WHERE removed_s=0)"
		     " ORDER BY entry,at_s",
		     "i", v->in.now_s - span);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) > 0) {
		struct job_row *j;

		r = grow(&d->job, d->n_jobs, &d->jobs_room, sizeof(*d->job));
		if (r)
			break;
		j = &d->job[d->n_jobs++];
		*j = (struct job_row){
			.job = db_col_u64(q, 0),
			.entry = db_col_int(q, 1),
			.at_s = db_col_int(q, 2),
			.id = db_col_u64(q, 3),
			.state = (enum job_state)db_col_int(q, 4),
			.start_s = db_col_int(q, 5),
			.expected_s = db_col_int(q, 6),
			.staged_s = db_col_int(q, 7),
			.stored_bytes = db_col_u64(q, 8),
			.size_bytes = db_col_u64(q, 9),
		};
		snprintf(j->message, sizeof(j->message), "%s",
			 db_col_text(q, 10));
	}
	db_done(q);
	return r;
}

static int64_t hold_end(const struct view *v, const struct repeat *rep,
			int64_t at_s)
{
	return rep->until_s ? repeat_until(rep, at_s) : at_s + v->hold_s;
}

static int add_want(struct view *v, size_t entry, size_t server,
		    const struct named_image *image, int64_t at_s,
		    int64_t until_s, const struct job_row *row)
{
	struct view_data *d = v->data;
	const struct plan_entry *p = &v->entry[entry];
	struct sched_want *w;
	size_t room[3] = {d->wants_room, d->wants_room, d->wants_room};
	int r;

	r = grow(&d->want, d->n_wants, &room[0], sizeof(*d->want));
	if (!r)
		r = grow(&v->entry_of, d->n_wants, &room[1],
			 sizeof(*v->entry_of));
	if (!r)
		r = grow(&v->row, d->n_wants, &room[2], sizeof(*v->row));
	if (r)
		return r;
	d->wants_room = room[0];
	w = &d->want[d->n_wants];
	*w = (struct sched_want){
		.entry = p->entry,
		.priority = p->priority,
		.at_s = at_s,
		.until_s = until_s,
		.server = server,
		.image = p->image,
		.id = image->id,
		.size_bytes = image->size_bytes,
	};
	v->entry_of[d->n_wants] = entry;
	memset(&v->row[d->n_wants], 0, sizeof(*v->row));
	if (row) {
		v->row[d->n_wants] = *row;
		w->job = row->job;
		/* Of another version nothing is true any more. */
		if (row->id == image->id) {
			w->start_s = row->start_s;
			w->staged_s = row->staged_s;
		}
	}
	d->n_wants++;
	return 0;
}

static int add_over(struct view *v, const struct job_row *row)
{
	int r;

	if (row->state == JOB_STAGED || row->state == JOB_FAILED)
		return 0;
	r = grow(&v->over, v->n_over, &v->data->over_room, sizeof(*v->over));
	if (!r)
		v->over[v->n_over++] = *row;
	return r;
}

/* jobs: the rows of this entry, by time. */
static int entry_wants(struct db *db, struct view *v, size_t entry,
		       int64_t ahead_s, const struct job_row *job, size_t n)
{
	const struct plan_entry *p = &v->entry[entry];
	struct repeat rep = plan_repeat(p);
	struct occurrence o[OCCURRENCES_MAX];
	const struct named_image *image = NULL;
	int64_t now = v->in.now_s, to = now + ahead_s, from, last = 0;
	size_t server, n_o = 0;
	int r;

	r = find_server(v->data, p->server, &server);
	if (!r)
		r = find_image(db, v->data, p->image, &image);
	for (size_t i = 0; i < n && !r; i++) {
		int64_t until = hold_end(v, &rep, job[i].at_s);

		last = job[i].at_s;
		r = until > now ? add_want(v, entry, server, image, last, until,
					   &job[i])
				: add_over(v, &job[i]);
	}
	if (r || last > to || (n && !*p->repeat))
		return r;
	/* From the last known on; at first, from what is not over. */
	from = last ? last + 1
		    : now - (rep.until_s ? rep.until_s - rep.at_s + DAY_S
					 : v->hold_s);
	n_o = repeat_list(&rep, from, to, o, OCCURRENCES_MAX);
	for (size_t i = 0; i < n_o && !r; i++) {
		int64_t until = hold_end(v, &rep, o[i].at_s);

		if (until > now)
			r = add_want(v, entry, server, image, o[i].at_s, until,
				     NULL);
	}
	return r;
}

static int read_wants(struct db *db, struct view *v, int64_t ahead_s,
		      struct err *e)
{
	struct view_data *d = v->data;
	size_t at = 0;
	int r;

	r = plan_list(db, false, &v->entry, &v->n_entries, e);
	if (!r)
		r = read_jobs(db, v, e);
	for (size_t i = 0; i < v->n_entries && !r; i++) {
		size_t from;

		while (at < d->n_jobs && d->job[at].entry < v->entry[i].entry)
			at++;
		from = at;
		while (at < d->n_jobs && d->job[at].entry == v->entry[i].entry)
			at++;
		r = entry_wants(db, v, i, ahead_s, &d->job[from], at - from);
	}
	return r;
}

/* ---- all of it --------------------------------------------------------------- */

static int read_all(struct db *db, struct view *v, int64_t ahead_s,
		    struct err *e)
{
	struct view_data *d = v->data;
	int64_t now = v->in.now_s;
	int r = read_settings(db, v, e);

	if (!r)
		r = read_servers(db, d, e);
	if (!r)
		r = read_holds(db, d, now, e);
	if (!r)
		r = read_images(db, d, now, e);
	if (!r)
		r = read_orders(db, d, now, e);
	if (!r)
		r = read_wants(db, v,
			       ahead_s > v->in.lead_s ? ahead_s : v->in.lead_s,
			       e);
	v->in.server = d->server;
	v->in.n_servers = d->n_servers;
	v->in.want = d->want;
	v->in.n_wants = d->n_wants;
	v->in.order = d->order;
	v->in.n_orders = d->n_orders;
	return r;
}

int view_make(struct db *db, int64_t now_s, uint64_t demand_bps,
	      uint64_t other_bps, int64_t ahead_s, struct view **ret,
	      struct err *e)
{
	struct view *v = calloc(1, sizeof(*v));
	int r = 0;

	if (v)
		v->data = calloc(1, sizeof(*v->data));
	if (!v || !v->data) {
		free(v);
		return err_set(e, ENOMEM, "out of memory");
	}
	if (e)
		*e->text = '\0';
	v->in.now_s = now_s;
	v->in.demand_bps = demand_bps;
	v->in.other_bps = other_bps;
	r = db_run(db, e, "BEGIN", "");
	if (!r) {
		r = read_all(db, v, ahead_s, e);
		db_rollback(db);
	}
	if (!r)
		r = schedule(&v->in, &v->out);
	if (r) {
		if (e && !*e->text)
			err_set(e, -r, "the plan cannot be read: %s",
				strerror(-r));
		view_free(v);
		return r;
	}
	*ret = v;
	return 0;
}

static void data_free(struct view_data *d)
{
	struct named_server *s, *s2;
	struct named_image *i, *i2;
	struct named_rates *t, *t2;
	struct held *h, *h2;

	HASH_ITER (hh, d->servers, s, s2) {
		HASH_DEL(d->servers, s);
		free(s);
	}
	HASH_ITER (hh, d->images, i, i2) {
		HASH_DEL(d->images, i);
		free(i->name);
		free(i);
	}
	HASH_ITER (hh, d->tables, t, t2) {
		HASH_DEL(d->tables, t);
		free(t);
	}
	HASH_ITER (hh, d->held, h, h2) {
		HASH_DEL(d->held, h);
		free(h);
	}
	for (size_t k = 0; k < d->n_images; k++)
		free((char *)d->image[k].name);
	for (size_t k = 0; k < d->n_orders; k++)
		free((char *)d->order[k].message);
	free(d->server);
	free(d->want);
	free(d->order);
	free(d->image);
	free(d->job);
	free(d);
}

void view_free(struct view *v)
{
	if (!v)
		return;
	schedule_clear(&v->out);
	plan_entries_free(v->entry, v->n_entries);
	free(v->entry_of);
	free(v->row);
	free(v->over);
	data_free(v->data);
	free(v);
}
