/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders.c - what the servers were told to do.
 *
 *	 orders_add           orders_report          orders_report
 *	----------> PENDING ----------------> RUNNING -------------> DONE
 *		       |      running            |    done, failed   FAILED
 *		       +----- orders_cancel -----+-----------------> CANCELLED
 *
 * An order is open until it is final, and a server that asks is given all that
 * are open: delivery needs no state of its own, a lost answer costs nothing
 * and a repeated one does no harm. What was sent when is kept for people only.
 * Nothing leaves a final state: the first result stands.
 */
#include "origin/servers/servers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "origin/db/origindb.h"

/* The SQL here and the index orders_open say "open" as state < 2. */
_Static_assert(ORDER_DONE == 2, "open orders are those with state < 2");

static const char *const state_name[ORDER_STATE_COUNT] = {
	[ORDER_PENDING] = "pending",	 [ORDER_RUNNING] = "running",
	[ORDER_DONE] = "done",		 [ORDER_FAILED] = "failed",
	[ORDER_CANCELLED] = "cancelled",
};

const char *order_state_name(enum order_state s)
{
	assert(s < ORDER_STATE_COUNT);
	return state_name[s];
}

void order_clear(struct order *o)
{
	wire_order_clear(&o->o);
}

void orders_free(struct order *o, size_t n)
{
	for (size_t i = 0; i < n; i++)
		order_clear(&o[i]);
	free(o);
}

/* ---- reading ----------------------------------------------------------- */

#define WIRE_COLUMNS                                                     \
	"number,kind,id,digest,name,size,bytes,cancels,hold_until_s,"    \
	"deadline_s,job"
#define COLUMNS                                                          \
	WIRE_COLUMNS ",server,state,created_s,sent_s,updated_s,sent_count," \
	"stored,message"

static int read_wire(struct sqlite3_stmt *q, void *ret)
{
	struct wire_order *o = ret;
	const void *digest;
	size_t n;

	memset(o, 0, sizeof(*o));
	o->number = db_col_u64(q, 0);
	o->kind = (enum wire_order_kind)db_col_int(q, 1);
	o->id = db_col_u64(q, 2);
	digest = db_col_blob(q, 3, &n);
	if (n == DIGEST_BYTES)
		memcpy(o->digest.b, digest, n);
	o->size_bytes = db_col_u64(q, 5);
	o->bytes = db_col_u64(q, 6);
	o->cancels = db_col_u64(q, 7);
	o->hold_until_s = db_col_int(q, 8);
	o->deadline_s = db_col_int(q, 9);
	o->job = db_col_u64(q, 10);
	o->name = db_col_dup(q, 4);
	return o->name ? 0 : -ENOMEM;
}

static void clear_wire(void *order)
{
	wire_order_clear(order);
}

static int read_order(struct sqlite3_stmt *q, void *ret)
{
	struct order *o = ret;

	memset(o, 0, sizeof(*o));
	db_col_copy(q, 11, o->server, sizeof(o->server));
	o->state = (enum order_state)db_col_int(q, 12);
	o->created_s = db_col_int(q, 13);
	o->sent_s = db_col_int(q, 14);
	o->updated_s = db_col_int(q, 15);
	o->sent_count = db_col_u64(q, 16);
	o->stored_bytes = db_col_u64(q, 17);
	db_col_copy(q, 18, o->message, sizeof(o->message));
	return read_wire(q, &o->o);
}

static void clear_order(void *order)
{
	order_clear(order);
}

static int unknown(uint64_t number, struct err *e)
{
	return err_set(e, ENOENT,
		       "no order %llu: see `stagefs-origin order list --all`",
		       (unsigned long long)number);
}

int orders_get(struct db *db, uint64_t number, struct order *ret,
	       struct err *e)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT " COLUMNS " FROM orders WHERE number=?", "u",
		     number);
	if (r)
		return r;
	r = db_next(db, q, e);
	if (r == 1) {
		struct order o;

		r = read_order(q, &o);
		if (!r)
			*ret = o;
		else
			err_set(e, -r, "out of memory");
	} else if (r == 0) {
		r = unknown(number, e);
	}
	db_done(q);
	return r;
}

int orders_open(struct db *db, const char *server, uint64_t after,
		struct wire_orders *ret, struct err *e)
{
	const struct db_row row = {sizeof(*ret->order), read_wire, clear_wire};
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT " WIRE_COLUMNS " FROM orders"
		     " WHERE server=? AND state<2 AND number>?"
		     " ORDER BY number LIMIT ?",
		     "sui", server, after, (int64_t)STAGEFS_ORDERS_MAX);
	/* The rest of the answer is the caller's to fill. */
	return r ? r
		 : db_rows(db, q, &row, &ret->order, &ret->n_orders, e);
}

int orders_list(struct db *db, const char *server, bool all,
		struct order **ret, size_t *ret_n, struct err *e)
{
	const struct db_row row = {sizeof(**ret), read_order, clear_order};
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT " COLUMNS " FROM orders"
		     " WHERE (?1 IS NULL OR server=?1) AND (?2 OR state<2)"
		     " ORDER BY number",
		     "si", server, (int64_t)all);
	return r ? r : db_rows(db, q, &row, ret, ret_n, e);
}

/* ---- giving ------------------------------------------------------------ */

static bool has_image(enum wire_order_kind k)
{
	return k == ORDER_PREFETCH || k == ORDER_DELETE || k == ORDER_HOLD ||
	       k == ORDER_RELEASE;
}

static int insert(struct db *db, const char *server, struct wire_order *o,
		  int64_t now_s, struct err *e)
{
	const char *name = o->name ? o->name : "";
	int r;

	r = db_run(db, e,
		   "INSERT INTO orders(server,kind,id,digest,name,size,bytes,"
		   "cancels,hold_until_s,deadline_s,job,created_s,updated_s)"
		   " VALUES(?,?,?,?,?,?,?,?,?,?,?,?12,?12)",
		   "siubsuuuiiui", server, (int64_t)o->kind, o->id,
		   o->digest.b, (size_t)DIGEST_BYTES, name, o->size_bytes,
		   o->bytes, o->cancels, o->hold_until_s, o->deadline_s,
		   o->job, now_s);
	if (r)
		return r;
	o->number = (uint64_t)db_last_id(db);
	return origindb_log(db, e, now_s, "ordered", server, o->number,
			    has_image(o->kind) ? name : NULL, "%s",
			    wire_order_kind_name(o->kind));
}

int orders_add_within(struct db *db, const char *server, struct wire_order *o,
		      int64_t now_s, struct err *e)
{
	assert(o->kind < ORDER_KIND_COUNT);
	return insert(db, server, o, now_s, e);
}

int orders_add(struct db *db, const char *server, struct wire_order *o,
	       int64_t now_s, struct err *e)
{
	int r = db_begin(db, e);

	if (r)
		return r;
	r = orders_add_within(db, server, o, now_s, e);
	return db_end(db, r, e);
}

static int note_sent(struct db *db, const char *server,
		     const struct wire_order *o, int64_t now_s)
{
	int64_t count;
	int r;

	r = db_get_int(db, NULL, &count,
		       "SELECT sent_count FROM orders WHERE number=?", "u",
		       o->number);
	if (!r)
		r = db_run(db, NULL,
			   "UPDATE orders SET sent_count=sent_count+1,"
			   "sent_s=CASE sent_s WHEN 0 THEN ?1 ELSE sent_s END"
			   " WHERE number=?2",
			   "iu", now_s, o->number);
	if (!r && count == 0)
		r = origindb_log(db, NULL, now_s, "sent", server, o->number,
				 has_image(o->kind) ? o->name : NULL, "%s",
				 wire_order_kind_name(o->kind));
	return r;
}

int orders_sent(struct db *db, const struct wire_orders *sent, int64_t now_s)
{
	int r;

	if (sent->n_orders == 0)
		return 0;
	r = db_begin(db, NULL);
	for (size_t i = 0; i < sent->n_orders && !r; i++)
		r = note_sent(db, sent->server, &sent->order[i], now_s);
	return db_end(db, r, NULL);
}

/* ---- results ----------------------------------------------------------- */

static int apply_report(struct db *db, const struct order *o,
			const struct wire_report *r, int64_t now_s,
			struct err *e)
{
	static const enum order_state state_of[REPORT_STATE_COUNT] = {
		[REPORT_RUNNING] = ORDER_RUNNING,
		[REPORT_DONE] = ORDER_DONE,
		[REPORT_FAILED] = ORDER_FAILED,
	};
	int rc;

	rc = db_run(db, e,
		    "UPDATE orders SET state=?,stored=?,message=?,updated_s=?"
		    " WHERE number=?",
		    "iusiu", (int64_t)state_of[r->state], r->stored_bytes,
		    r->message, now_s, r->number);
	if (rc || r->state == REPORT_RUNNING)
		return rc;
	return origindb_log(db, e, now_s, wire_report_state_name(r->state),
			    o->server, r->number,
			    has_image(o->o.kind) ? o->o.name : NULL, "%s%s%s",
			    wire_order_kind_name(o->o.kind),
			    r->message[0] ? ": " : "", r->message);
}

static int report(struct db *db, const char *server,
		  const struct wire_report *r, int64_t now_s, struct err *e)
{
	struct order o;
	int rc;

	rc = orders_get(db, r->number, &o, e);
	if (rc)
		return rc;
	if (strcmp(o.server, server) != 0)
		rc = unknown(r->number, e);
	else if (o.state < ORDER_DONE)
		rc = apply_report(db, &o, r, now_s, e);
	order_clear(&o);
	return rc;
}

int orders_report(struct db *db, const char *server,
		  const struct wire_report *r, int64_t now_s, struct err *e)
{
	int rc;

	rc = db_begin(db, e);
	if (rc)
		return rc;
	rc = report(db, server, r, now_s, e);
	return db_end(db, rc, e);
}

/* ---- taking back ------------------------------------------------------- */

static int cancel(struct db *db, const struct order *o, int64_t now_s,
		  struct err *e)
{
	struct wire_order stop = {.kind = ORDER_CANCEL,
				  .cancels = o->o.number};
	int r;

	if (o->state >= ORDER_DONE)
		return err_set(e, EALREADY, "order %llu is already %s",
			       (unsigned long long)o->o.number,
			       order_state_name(o->state));
	r = db_run(db, e,
		   "UPDATE orders SET state=?,updated_s=? WHERE number=?",
		   "iiu", (int64_t)ORDER_CANCELLED, now_s, o->o.number);
	if (!r)
		r = origindb_log(db, e, now_s, "cancelled", o->server,
				 o->o.number,
				 has_image(o->o.kind) ? o->o.name : NULL, "%s",
				 wire_order_kind_name(o->o.kind));
	/* One that never left needs nobody to stop. */
	if (!r && o->sent_count > 0 && o->o.kind != ORDER_CANCEL)
		r = insert(db, o->server, &stop, now_s, e);
	return r;
}

int orders_cancel_within(struct db *db, uint64_t number, int64_t now_s,
			 struct err *e)
{
	struct order o;
	int r = orders_get(db, number, &o, e);

	if (r)
		return r;
	r = cancel(db, &o, now_s, e);
	order_clear(&o);
	return r;
}

int orders_cancel(struct db *db, const uint64_t *number, size_t n,
		  int64_t now_s, struct err *e)
{
	int r = db_begin(db, e);

	if (r)
		return r;
	for (size_t i = 0; i < n && !r; i++)
		r = orders_cancel_within(db, number[i], now_s, e);
	return db_end(db, r, e);
}
