/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_wants.c - from entries of the plan to wants: of each server and image
 * that an entry stands for (view_names.c), its dates, and the rows of jobs that
 * there are already.
 *
 * Rows come sorted as what an entry stands for is walked: by server, image,
 * time. A row that the walk does not meet is of a server that left the group,
 * or of an image that left the folder.
 *
 * Recurrences are walked only when they have to be: what has a row of a date
 * beyond `ahead` has rows of all dates before. With twenty entries on each of
 * a thousand servers that is the difference between a second and a few
 * hundredths.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "origin/schedule/view_impl.h"

#define DAY_S 86400
#define OCCURRENCES_MAX 64 /* of one entry in one run */

/* ---- rows of jobs ------------------------------------------------------ */

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
		     "staged_s,stored,size,message,server,image FROM job"
		     " WHERE (at_s>?1 OR state IN (0,1,3)) AND entry IN"
		     " (SELECT entry FROM plan WHERE removed_s=0)"
		     " ORDER BY entry,server,image,at_s",
		     "i", v->in.now_s - span);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) > 0) {
		struct named_image *image;
		struct job_row *j;
		size_t server;

		r = array_grow(&d->job, d->n_jobs, &d->jobs_room,
			       sizeof(*d->job));
		if (!r)
			r = view_find_server(d, db_col_text(q, 11), &server);
		if (!r)
			r = view_image_named(d, db_col_text(q, 12), &image);
		if (r)
			break;
		j = &d->job[d->n_jobs++];
		*j = (struct job_row){
			.job = db_col_u64(q, 0),
			.server = d->server[server].name,
			.image = image->name,
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

	r = array_grow(&d->want, d->n_wants, &room[0], sizeof(*d->want));
	if (!r)
		r = array_grow(&v->entry_of, d->n_wants, &room[1],
			       sizeof(*v->entry_of));
	if (!r)
		r = array_grow(&v->row, d->n_wants, &room[2], sizeof(*v->row));
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
		.image = image->name,
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
	r = array_grow(&v->over, v->n_over, &v->data->over_room,
		       sizeof(*v->over));
	if (!r)
		v->over[v->n_over++] = *row;
	return r;
}

/* Not final, and of nothing that the entry still stands for. */
static int add_gone(struct view *v, const struct job_row *row)
{
	int r;

	if (row->state == JOB_STAGED || row->state == JOB_FAILED)
		return 0;
	r = array_grow(&v->gone, v->n_gone, &v->data->gone_room,
		      sizeof(*v->gone));
	if (!r)
		v->gone[v->n_gone++] = *row;
	return r;
}

/* ---- dates ------------------------------------------------------------- */

/* Those of one entry that come after `from`, worked out once for all pairs
 * that have rows up to there. */
struct dates {
	struct repeat rep;
	int64_t ahead_s;
	int64_t from_s; /* INT64_MIN: not worked out yet */
	struct occurrence o[OCCURRENCES_MAX];
	size_t n;
};

/* rows: of this server and image, by time. */
static int pair_wants(struct view *v, size_t entry, size_t server,
		      const struct named_image *image, struct dates *d,
		      const struct job_row *row, size_t n)
{
	int64_t now = v->in.now_s, to = now + d->ahead_s, from, last = 0;
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		int64_t until = hold_end(v, &d->rep, row[i].at_s);

		last = row[i].at_s;
		r = until > now ? add_want(v, entry, server, image, last, until,
					   &row[i])
				: add_over(v, &row[i]);
	}
	if (r || last > to || (n && !*d->rep.rule))
		return r;
	/* From the last known on; at first, from what is not over. */
	from = last ? last + 1
		    : now - (d->rep.until_s
				     ? d->rep.until_s - d->rep.at_s + DAY_S
				     : v->hold_s);
	if (from != d->from_s)
		d->n = repeat_list(&d->rep, from, to, d->o, OCCURRENCES_MAX);
	d->from_s = from;
	for (size_t i = 0; i < d->n && !r; i++) {
		int64_t until = hold_end(v, &d->rep, d->o[i].at_s);

		if (until > now)
			r = add_want(v, entry, server, image, d->o[i].at_s,
				     until, NULL);
	}
	return r;
}

/* The rows of one entry, of which the first `at` are done with. */
struct rows {
	const struct job_row *row;
	size_t n, at;
};

static int row_cmp(const struct rows *j, const char *server, const char *image)
{
	int c = strcmp(j->row[j->at].server, server);

	return c ? c : strcmp(j->row[j->at].image, image);
}

static int one_pair(struct view *v, size_t entry, const char *server,
		    const struct named_image *image, struct dates *d,
		    struct rows *j)
{
	size_t index, from;
	int r = view_find_server(v->data, server, &index);

	for (; !r && j->at < j->n && row_cmp(j, server, image->name) < 0;
	     j->at++)
		r = add_gone(v, &j->row[j->at]);
	from = j->at;
	while (j->at < j->n && row_cmp(j, server, image->name) == 0)
		j->at++;
	return r ? r : pair_wants(v, entry, index, image, d, &j->row[from],
				  j->at - from);
}

static int entry_wants(struct db *db, struct view *v, size_t entry,
		       int64_t ahead_s, struct rows *j)
{
	const struct plan_entry *p = &v->entry[entry];
	struct dates d = {.rep = plan_repeat(p), .ahead_s = ahead_s,
			  .from_s = INT64_MIN};
	struct named_folder *images = NULL;
	size_t first = v->data->n_members, left = VIEW_PAIRS_MAX;
	const char *server;
	int r;

	r = view_images_of(db, v->data, p->image, &images);
	if (plan_is_group(p->server))
		first = view_first_member(v->data, p->server + 1);
	for (size_t k = 0;
	     !r && (server = view_server_of(v->data, p, first, k)); k++)
		for (size_t i = 0; i < images->n && !r && left; i++, left--)
			r = one_pair(v, entry, server, images->image[i], &d, j);
	if (!left)
		v->cut_entry = p->entry;
	for (; !r && j->at < j->n; j->at++)
		r = add_gone(v, &j->row[j->at]);
	return r;
}

int view_read_wants(struct db *db, struct view *v, int64_t ahead_s,
		    struct err *e)
{
	struct view_data *d = v->data;
	size_t at = 0;
	int r;

	r = plan_list(db, false, &v->entry, &v->n_entries, e);
	if (!r)
		r = groups_list(db, &d->member, &d->n_members, e);
	if (!r)
		r = read_jobs(db, v, e);
	for (size_t i = 0; i < v->n_entries && !r; i++) {
		struct rows j = {0};

		while (at < d->n_jobs && d->job[at].entry < v->entry[i].entry)
			at++;
		j.row = d->job + at;
		while (at < d->n_jobs && d->job[at].entry == v->entry[i].entry)
			at++;
		j.n = (size_t)(d->job + at - j.row);
		r = entry_wants(db, v, i, ahead_s, &j);
	}
	return r;
}
