/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view.c - reads the database into the arrays of schedule(), all in one
 * transaction, and calls it.
 */
#include "origin/schedule/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "origin/schedule/view_impl.h"

static int read_all(struct db *db, struct view *v, int64_t ahead_s,
		    struct err *e)
{
	struct view_data *d = v->data;
	int r = view_read_settings(db, v, e);

	if (!r)
		r = view_read_servers(db, v, e);
	if (!r)
		r = view_read_wants(db, v,
				    ahead_s > v->in.lead_s ? ahead_s
							   : v->in.lead_s,
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
	struct named_folder *f, *f2;
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
	HASH_ITER (hh, d->folders, f, f2) {
		HASH_DEL(d->folders, f);
		free(f->image);
		free(f);
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
	free(d->member);
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
	free(v->gone);
	data_free(v->data);
	free(v);
}
