/* SPDX-License-Identifier: Apache-2.0 */
/*
 * servers.c - the last descriptor of each production server.
 *
 * A descriptor replaces or changes what is kept in one transaction, so that a
 * reader never sees half of one. Whether a change fits is decided by (boot,
 * seq): `base` has to be the last seq kept, of the same boot. Rejected: to
 * merge what does not fit as far as it goes; the schedule would then reckon
 * with space that is not there, and a full descriptor costs one round trip.
 */
#include "origin/servers/servers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "origin/db/origindb.h"

/* Each sighting is a commit: not more often than this. */
#define SEEN_EVERY_S 5

/* ---- keeping ----------------------------------------------------------- */

struct kept {
	bool known;
	char boot[UUID_TEXT];
	uint64_t seq;
};

static int load_kept(struct db *db, const char *name, struct kept *ret,
		     struct err *e)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e, "SELECT boot,seq FROM server WHERE name=?",
		     "s", name);
	if (r)
		return r;
	memset(ret, 0, sizeof(*ret));
	r = db_next(db, q, e);
	if (r == 1) {
		ret->known = true;
		strncat(ret->boot, db_col_text(q, 0), sizeof(ret->boot) - 1);
		ret->seq = db_col_u64(q, 1);
		r = 0;
	}
	db_done(q);
	return r;
}

static int check_room(struct db *db, struct err *e)
{
	int64_t n;
	int r;

	r = db_get_int(db, e, &n, "SELECT count(*) FROM server", "");
	if (r)
		return r;
	if (n >= STAGEFS_SERVERS_MAX)
		return err_set(e, E2BIG,
			       "%u servers are known, which is the limit: "
			       "remove some with `stagefs-origin server "
			       "remove`", STAGEFS_SERVERS_MAX);
	return 0;
}

static int put_server(struct db *db, const struct wire_descriptor *d,
		      const char *address, int64_t now_s, struct err *e)
{
	return db_run(
		db, e,
		"INSERT INTO server(name,first_seen_s,last_seen_s,boot,seq,"
		"version,time_zone,clock_skew_s,catalog_revision,capacity,"
		"used,reserved,free,evictable,address,bad_blocks,"
		"repaired_blocks) VALUES(?1,?2,?2,?3,?4,?5,?6,?7,?8,?9,?10,"
		"?11,?12,?13,?14,?15,?16)"
		" ON CONFLICT(name) DO UPDATE SET last_seen_s=?2,boot=?3,"
		"seq=?4,version=?5,time_zone=?6,clock_skew_s=?7,"
		"catalog_revision=?8,capacity=?9,used=?10,reserved=?11,"
		"free=?12,evictable=?13,address=?14,bad_blocks=?15,"
		"repaired_blocks=?16",
		"sisussiuuuuuusuu", d->name, now_s, d->boot, d->seq, d->version,
		d->time_zone, d->time_s - now_s, d->catalog_revision,
		d->capacity_bytes, d->used_bytes, d->reserved_bytes,
		d->free_bytes, d->evictable_bytes, address ? address : "",
		d->bad_blocks, d->repaired_blocks);
}

static int put_image(struct db *db, const char *server,
		     const struct wire_image *i, struct err *e)
{
	return db_run(db, e,
		      "INSERT OR REPLACE INTO server_image(server,id,name,"
		      "digest,size,stored,state,stored_seq,stored_at_s,"
		      "held_until_s,open) VALUES(?,?,?,?,?,?,?,?,?,?,?)",
		      "susbuuiuiii", server, i->id, i->name, i->digest.b,
		      (size_t)DIGEST_BYTES, i->size_bytes, i->stored_bytes,
		      (int64_t)i->state, i->stored_seq, i->stored_at_s,
		      i->held_until_s, (int64_t)i->open);
}

static int put_images(struct db *db, const struct wire_descriptor *d,
		      struct err *e)
{
	int64_t n;
	int r = 0;

	if (d->base == 0)
		r = db_run(db, e, "DELETE FROM server_image WHERE server=?",
			   "s", d->name);
	for (size_t i = 0; i < d->n_gone && !r; i++)
		r = db_run(db, e,
			   "DELETE FROM server_image WHERE server=? AND id=?",
			   "su", d->name, d->gone[i]);
	for (size_t i = 0; i < d->n_images && !r; i++)
		r = put_image(db, d->name, &d->image[i], e);
	if (r || d->base == 0)
		return r;
	/* Changes could add up to more than a full descriptor may have. */
	r = db_get_int(db, e, &n,
		       "SELECT count(*) FROM server_image WHERE server=?", "s",
		       d->name);
	if (!r && n > STAGEFS_DESCRIPTOR_MAX_IMAGES)
		r = err_set(e, E2BIG, "server '%s' reports more than %u images",
			    d->name, STAGEFS_DESCRIPTOR_MAX_IMAGES);
	return r;
}

/* 0: keep it, 1: ignore it. */
static int check_sequence(const struct wire_descriptor *d,
			  const struct kept *k, struct err *e)
{
	bool same_boot = k->known && strcmp(d->boot, k->boot) == 0;

	if (same_boot && d->seq <= k->seq)
		return 1; /* a late or repeated one */
	if (d->base != 0 && (!same_boot || d->base != k->seq))
		return err_set(e, ESTALE,
			       "changes since %llu, which is not the last one "
			       "kept: send a full descriptor",
			       (unsigned long long)d->base);
	return 0;
}

static int put_all(struct db *db, const struct wire_descriptor *d,
		      const char *address, int64_t now_s, struct err *e)
{
	struct kept k;
	int r;

	r = load_kept(db, d->name, &k, e);
	if (!r)
		r = check_sequence(d, &k, e);
	if (r)
		return r;
	if (!k.known)
		r = check_room(db, e);
	if (!r)
		r = put_server(db, d, address, now_s, e);
	if (!r)
		r = put_images(db, d, e);
	if (!r && !k.known)
		r = origindb_log(db, e, now_s, "new-server", d->name, 0, NULL,
				 "first descriptor, from %s",
				 address ? address : "-");
	return r;
}

int servers_put(struct db *db, const char *store_uuid,
		const struct wire_descriptor *d, const char *address,
		int64_t now_s, struct err *e)
{
	int r;

	if (strcmp(d->store, store_uuid) != 0)
		return err_set(e, EXDEV,
			       "descriptor for store %s, but this is %s",
			       d->store, store_uuid);
	r = db_begin(db, e);
	if (r)
		return r;
	r = put_all(db, d, address, now_s, e);
	r = db_end(db, r, e);
	return r == 1 ? 0 : r;
}

int servers_seen(struct db *db, const char *name, int64_t now_s)
{
	int64_t due;
	int r;

	/* Look first: an UPDATE that changes nothing still takes the lock. */
	r = db_get_int(db, NULL, &due,
		       "SELECT last_seen_s+?1<=?2 OR last_seen_s>?2 FROM server"
		       " WHERE name=?3",
		       "iis", (int64_t)SEEN_EVERY_S, now_s, name);
	if (r == -ENOENT)
		return 0;
	if (r || !due)
		return r;
	return db_run(db, NULL, "UPDATE server SET last_seen_s=? WHERE name=?",
		      "is", now_s, name);
}

/* ---- asking ------------------------------------------------------------ */

#define COLUMNS                                                            \
	"name,version,time_zone,address,prefetch_rate,first_seen_s,"       \
	"last_seen_s,clock_skew_s,catalog_revision,capacity,used,reserved," \
	"free,evictable,bad_blocks,repaired_blocks"

static int read_server(struct sqlite3_stmt *q, void *ret)
{
	struct server *s = ret;

	memset(s, 0, sizeof(*s));
	db_col_copy(q, 0, s->name, sizeof(s->name));
	db_col_copy(q, 1, s->version, sizeof(s->version));
	db_col_copy(q, 2, s->time_zone, sizeof(s->time_zone));
	db_col_copy(q, 3, s->address, sizeof(s->address));
	db_col_copy(q, 4, s->prefetch_rate, sizeof(s->prefetch_rate));
	s->first_seen_s = db_col_int(q, 5);
	s->last_seen_s = db_col_int(q, 6);
	s->clock_skew_s = db_col_int(q, 7);
	s->catalog_revision = db_col_u64(q, 8);
	s->capacity_bytes = db_col_u64(q, 9);
	s->used_bytes = db_col_u64(q, 10);
	s->reserved_bytes = db_col_u64(q, 11);
	s->free_bytes = db_col_u64(q, 12);
	s->evictable_bytes = db_col_u64(q, 13);
	s->bad_blocks = db_col_u64(q, 14);
	s->repaired_blocks = db_col_u64(q, 15);
	return 0;
}

int servers_list(struct db *db, struct server **ret, size_t *ret_n,
		 struct err *e)
{
	const struct db_row row = {sizeof(**ret), read_server, NULL};
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e, "SELECT " COLUMNS " FROM server ORDER BY name",
		     "");
	return r ? r : db_rows(db, q, &row, ret, ret_n, e);
}

static int unknown(const char *name, struct err *e)
{
	return err_set(e, ENOENT,
		       "server '%s' is not known: see `stagefs-origin server "
		       "list`", name);
}

int servers_get(struct db *db, const char *name, struct server *ret,
		struct err *e)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e, "SELECT " COLUMNS " FROM server WHERE name=?",
		     "s", name);
	if (r)
		return r;
	r = db_next(db, q, e);
	if (r == 1)
		r = read_server(q, ret);
	else if (r == 0)
		r = unknown(name, e);
	db_done(q);
	return r;
}

static int read_image(struct sqlite3_stmt *q, void *ret)
{
	struct wire_image *i = ret;
	const void *digest;
	size_t n;

	memset(i, 0, sizeof(*i));
	i->id = db_col_u64(q, 0);
	digest = db_col_blob(q, 2, &n);
	if (n == DIGEST_BYTES)
		memcpy(i->digest.b, digest, n);
	i->size_bytes = db_col_u64(q, 3);
	i->stored_bytes = db_col_u64(q, 4);
	i->state = (enum wire_image_state)db_col_int(q, 5);
	i->stored_seq = db_col_u64(q, 6);
	i->stored_at_s = db_col_int(q, 7);
	i->held_until_s = db_col_int(q, 8);
	i->open = db_col_int(q, 9) != 0;
	i->name = db_col_dup(q, 1);
	return i->name ? 0 : -ENOMEM;
}

static void clear_image(void *image)
{
	wire_image_clear(image);
}

int servers_images(struct db *db, const char *name, struct wire_image **ret,
		   size_t *ret_n, struct err *e)
{
	const struct db_row row = {sizeof(**ret), read_image, clear_image};
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT id,name,digest,size,stored,state,stored_seq,"
		     "stored_at_s,held_until_s,open FROM server_image"
		     " WHERE server=? ORDER BY stored_seq,id",
		     "s", name);
	return r ? r : db_rows(db, q, &row, ret, ret_n, e);
}

/* ---- changing by hand -------------------------------------------------- */

int servers_remove(struct db *db, const char *name, int64_t now_s,
		   struct err *e)
{
	int r;

	r = db_begin(db, e);
	if (r)
		return r;
	/* Its images go with it (ON DELETE CASCADE). Its orders stay for the
	 * log, but none is left open for a server of that name to come. */
	r = db_run(db, e, "DELETE FROM server WHERE name=?", "s", name);
	if (!r && db_changes(db) == 0)
		r = unknown(name, e);
	if (!r)
		r = db_run(db, e,
			   "UPDATE orders SET state=?,message='server removed',"
			   "updated_s=? WHERE server=? AND state<?",
			   "iisi", (int64_t)ORDER_CANCELLED, now_s, name,
			   (int64_t)ORDER_DONE);
	if (!r)
		r = origindb_log(db, e, now_s, "server-removed", name, 0, NULL,
				 "%lld open orders cancelled",
				 (long long)db_changes(db));
	return db_end(db, r, e);
}

/* The caller has parsed the table: schedule/ stands above this folder. */
int servers_set_rate(struct db *db, const char *name, const char *table,
		     struct err *e)
{
	const size_t max = sizeof(((struct server *)0)->prefetch_rate);
	int r;

	if (strlen(table) >= max)
		return err_set(e, EINVAL,
			       "a time table has up to %zu characters",
			       max - 1);
	r = db_run(db, e, "UPDATE server SET prefetch_rate=? WHERE name=?",
		   "ss", table, name);
	if (!r && db_changes(db) == 0)
		r = unknown(name, e);
	return r;
}
