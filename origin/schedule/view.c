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

#include "origin/schedule/view_impl.h"
#include "origin/store/store.h"

#define DAY_S 86400
#define OCCURRENCES_MAX 64 /* of one entry in one run */

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

		r = view_grow(&d->job, d->n_jobs, &d->jobs_room, sizeof(*d->job));
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

	r = view_grow(&d->want, d->n_wants, &room[0], sizeof(*d->want));
	if (!r)
		r = view_grow(&v->entry_of, d->n_wants, &room[1],
			 sizeof(*v->entry_of));
	if (!r)
		r = view_grow(&v->row, d->n_wants, &room[2], sizeof(*v->row));
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
	r = view_grow(&v->over, v->n_over, &v->data->over_room, sizeof(*v->over));
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

	r = view_find_server(v->data, p->server, &server);
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
	int r = view_read_settings(db, v, e);

	if (!r)
		r = view_read_servers(db, v, e);
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
