/* SPDX-License-Identifier: Apache-2.0 */
/*
 * servers.h - what the origin knows of each production server: the last
 * descriptor, and the orders it was given.
 *
 * All functions run one short transaction on the caller's handle and may be
 * called by the daemon's threads and by the CLI at the same time.
 */
#ifndef STAGEFS_ORIGIN_SERVERS_SERVERS_H
#define STAGEFS_ORIGIN_SERVERS_SERVERS_H

#include "common/db.h"
#include "common/wire.h"

/* ---- descriptors ------------------------------------------------------ */

/*
 * Keeps it. -ESTALE: a full one is wanted (HTTP 409): its base is not the
 * last one kept. An old one (seq not above the last of this boot) is ignored:
 * 0. -EXDEV: of another store. -E2BIG: too many servers.
 */
int servers_put(struct db *db, const char *store_uuid,
		const struct wire_descriptor *d, const char *address,
		int64_t now_s, struct err *e);
/* One that runs asks for orders once a minute at the least: so long without a
 * word, and it is off, or out of reach. */
#define SERVER_SILENT_S 180
/* Seen just now (an order request). Makes no row. */
int servers_seen(struct db *db, const char *name, int64_t now_s);

struct server {
	char name[64], version[32], time_zone[64], address[64];
	int64_t first_seen_s, last_seen_s, clock_skew_s;
	uint64_t catalog_revision;
	uint64_t capacity_bytes, used_bytes, reserved_bytes, free_bytes,
		evictable_bytes;
	uint64_t bad_blocks, repaired_blocks; /* as of the descriptor */
	char prefetch_rate[256]; /* time table, "" none */
};

/* All servers, by name; malloc'd. */
int servers_list(struct db *db, struct server **ret, size_t *ret_n,
		 struct err *e);
/* -ENOENT ("... : see `stagefs-origin server list`"). */
int servers_get(struct db *db, const char *name, struct server *ret,
		struct err *e);
/* Its images in stored order; free each with wire_image_clear, then free. */
int servers_images(struct db *db, const char *name, struct wire_image **ret,
		   size_t *ret_n, struct err *e);
int servers_remove(struct db *db, const char *name, int64_t now_s,
		   struct err *e);
int servers_set_rate(struct db *db, const char *name, const char *table,
		     struct err *e);

/* ---- orders ----------------------------------------------------------- */

enum order_state {
	ORDER_PENDING,	 /* not delivered, or delivered and not answered */
	ORDER_RUNNING,	 /* the server reports progress */
	ORDER_DONE,	 /* final from here on */
	ORDER_FAILED,
	ORDER_CANCELLED,
	ORDER_STATE_COUNT
};
const char *order_state_name(enum order_state s);

struct order {
	struct wire_order o;
	char server[64];
	enum order_state state;
	int64_t created_s, sent_s, updated_s;
	uint64_t sent_count, stored_bytes;
	char message[513];
};
void order_clear(struct order *o);
void orders_free(struct order *o, size_t n);

/* Numbers it, keeps it, logs it. o->number is set. A server without a
 * descriptor yet may be given orders (it will come). */
int orders_add(struct db *db, const char *server, struct wire_order *o,
	       int64_t now_s, struct err *e);
/* The same, and orders_cancel, inside the caller's transaction: for many. */
int orders_add_within(struct db *db, const char *server, struct wire_order *o,
		      int64_t now_s, struct err *e);
int orders_cancel_within(struct db *db, uint64_t number, int64_t now_s,
			 struct err *e);
/* The open ones above `after`, lowest first, at most STAGEFS_ORDERS_MAX. */
int orders_open(struct db *db, const char *server, uint64_t after,
		struct wire_orders *ret, struct err *e);
/* Notes (and logs the first time) that these went out. */
int orders_sent(struct db *db, const struct wire_orders *sent, int64_t now_s);
/*
 * A report. -ENOENT: no such order of this server. A report for an order that
 * is final changes nothing and is 0: orders are harmless twice.
 */
int orders_report(struct db *db, const char *server,
		  const struct wire_report *r, int64_t now_s, struct err *e);
/* Marks them cancelled and, if one was delivered, orders the server to stop.
 * All of them, or nothing. */
int orders_cancel(struct db *db, const uint64_t *number, size_t n,
		  int64_t now_s, struct err *e);
/* All (server NULL) or one server's; `all`: final ones too. Newest last. */
int orders_list(struct db *db, const char *server, bool all,
		struct order **ret, size_t *ret_n, struct err *e);
int orders_get(struct db *db, uint64_t number, struct order *ret,
	       struct err *e);

#endif
