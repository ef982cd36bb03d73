/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.c - Prometheus text format 0.0.4.
 *
 * Server names need no escaping: name_check_server lets nothing through that
 * would. A rate without a limit is +Inf.
 */
#include "origin/http/metrics.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/units.h"
#include "origin/servers/servers.h"
#include "origin/store/store.h"

#define P "stagefs_origin_"

static void head(FILE *out, const char *name, const char *type,
		 const char *help)
{
	fprintf(out, "# HELP " P "%s %s\n# TYPE " P "%s %s\n", name, help,
		name, type);
}

static void one(FILE *out, const char *name, const char *type,
		const char *help, uint64_t v)
{
	head(out, name, type, help);
	fprintf(out, P "%s %" PRIu64 "\n", name, v);
}

static void rate(FILE *out, const char *name, const char *help, uint64_t bps)
{
	head(out, name, "gauge", help);
	if (bps == RATE_UNLIMITED)
		fprintf(out, P "%s +Inf\n", name);
	else
		fprintf(out, P "%s %" PRIu64 "\n", name, bps);
}

static void write_requests(const struct metrics *m, FILE *out)
{
	head(out, "requests_total", "counter", "requests answered");
	for (int r = 0; r < ROUTE_COUNT; r++)
		fprintf(out, P "requests_total{route=\"%s\"} %" PRIu64 "\n",
			route_name((enum route)r),
			metrics_get(&m->requests[r]));
	head(out, "sent_bytes_total", "counter",
	     "bytes sent, heads included");
	for (int r = 0; r < ROUTE_COUNT; r++)
		fprintf(out, P "sent_bytes_total{route=\"%s\"} %" PRIu64 "\n",
			route_name((enum route)r), metrics_get(&m->bytes[r]));
	head(out, "responses_total", "counter", "answers by status");
	for (int s = 0; s < METRICS_STATUS_MAX; s++)
		if (metrics_get(&m->status[s]))
			fprintf(out,
				P "responses_total{code=\"%d\"} %" PRIu64 "\n",
				s, metrics_get(&m->status[s]));
	head(out, "data_requests_total", "counter",
	     "requests for bytes of images, by class");
	for (int c = 0; c < CLASS_COUNT; c++)
		fprintf(out,
			P "data_requests_total{class=\"%s\"} %" PRIu64 "\n",
			wire_class_name((enum wire_class)c),
			metrics_get(&m->data_requests[c]));
	head(out, "data_bytes_total", "counter",
	     "bytes of images sent, by class");
	for (int c = 0; c < CLASS_COUNT; c++)
		fprintf(out, P "data_bytes_total{class=\"%s\"} %" PRIu64 "\n",
			wire_class_name((enum wire_class)c),
			metrics_get(&m->data_bytes[c]));
}

static void write_connections(const struct metrics *m, FILE *out)
{
	one(out, "connections", "gauge", "open connections",
	    metrics_get(&m->connections));
	one(out, "input_bytes", "gauge", "kept of requests that come",
	    metrics_get(&m->input_bytes));
	one(out, "connections_total", "counter", "connections accepted",
	    metrics_get(&m->accepted));
	one(out, "connections_refused_total", "counter",
	    "connections answered 503: too many", metrics_get(&m->refused));
	one(out, "connections_cut_total", "counter",
	    "connections cut: too slow or too much", metrics_get(&m->cut));
}

static void write_pacing(const struct pacing_stats *p, FILE *out)
{
	rate(out, "prefetch_table_bytes_per_second",
	     "rate that the time table gives prefetch now", p->table_bps);
	rate(out, "prefetch_allotted_bytes_per_second",
	     "rate that prefetch may use now", p->budget_bps);
	rate(out, "prefetch_bytes_per_second",
	     "prefetch sent over the last second", p->prefetch_bps);
	rate(out, "demand_bytes_per_second",
	     "demand, look-ahead and fill over the last second",
	     p->reader_bps);
	one(out, "prefetch_transfers", "gauge", "prefetch answers in work",
	    p->n_prefetch);
	one(out, "prefetch_queueing_servers", "gauge",
	    "servers to which prefetch backs off: packets queue on the way",
	    p->n_queueing);
	one(out, "prefetch_yielding", "gauge",
	    "1 while prefetch gives way to readers", p->yielding);
	if (!p->link_known)
		return;
	rate(out, "interface_bytes_per_second",
	     "sent by the interface over the last second", p->interface_bps);
	rate(out, "interface_other_bytes_per_second",
	     "the same without our own", p->other_bps);
}

/* ---- from the database ------------------------------------------------- */

static int write_orders(struct db *db, FILE *out, struct err *e)
{
	uint64_t count[ORDER_STATE_COUNT] = {0};
	struct sqlite3_stmt *q;
	int r;

	/* Final ones are many and only grow; the log has them. */
	r = db_query(db, &q, e,
		     "SELECT state,count(*) FROM orders WHERE state<2"
		     " GROUP BY state", "");
	if (r)
		return r;
	while ((r = db_next(db, q, e)) == 1) {
		int64_t state = db_col_int(q, 0);

		if (state >= 0 && state < ORDER_DONE)
			count[state] = db_col_u64(q, 1);
	}
	db_done(q);
	if (r)
		return r;
	head(out, "orders_open", "gauge", "orders without a final result");
	for (int s = 0; s < ORDER_DONE; s++)
		fprintf(out, P "orders_open{state=\"%s\"} %" PRIu64 "\n",
			order_state_name((enum order_state)s), count[s]);
	return 0;
}

/* One gauge or counter of each server; `at` is the field's place. */
static void of_servers(FILE *out, const struct server *s, size_t n,
		       const char *name, const char *type, const char *help,
		       size_t at)
{
	head(out, name, type, help);
	for (size_t i = 0; i < n; i++)
		fprintf(out, P "%s{server=\"%s\"} %" PRIu64 "\n", name,
			s[i].name,
			*(const uint64_t *)((const char *)&s[i] + at));
}

static int write_servers(struct db *db, int64_t now_s, FILE *out,
			 struct err *e)
{
	struct server *s;
	size_t n;
	int r;

	r = servers_list(db, &s, &n, e);
	if (r)
		return r;
	head(out, "server_seen_age_seconds", "gauge",
	     "time since a server was last heard of");
	for (size_t i = 0; i < n; i++)
		fprintf(out,
			P "server_seen_age_seconds{server=\"%s\"} %" PRId64
			  "\n",
			s[i].name, now_s - s[i].last_seen_s);
	of_servers(out, s, n, "server_used_bytes", "gauge",
		   "used of its cache", offsetof(struct server, used_bytes));
	of_servers(out, s, n, "server_capacity_bytes", "gauge",
		   "its cache may use",
		   offsetof(struct server, capacity_bytes));
	of_servers(out, s, n, "server_bad_blocks_total", "counter",
		   "stored blocks that its disk lost, since its worker started",
		   offsetof(struct server, bad_blocks));
	of_servers(out, s, n, "server_repaired_blocks_total", "counter",
		   "of them, blocks that it fetched again",
		   offsetof(struct server, repaired_blocks));
	free(s);
	return 0;
}

static int write_store(struct db *db, FILE *out, struct err *e)
{
	int64_t images, bytes;
	int r;

	r = db_get_int(db, e, &images,
		       "SELECT count(*) FROM node WHERE removed=0 AND"
		       " is_dir=0", "");
	if (!r)
		r = db_get_int(db, e, &bytes,
			       "SELECT coalesce(sum(size),0) FROM"
			       " (SELECT DISTINCT digest,size FROM node"
			       "  WHERE removed=0 AND is_dir=0)", "");
	if (r)
		return r;
	one(out, "catalog_revision", "gauge", "revision of the catalog",
	    node_revision(db));
	one(out, "images", "gauge", "images published", (uint64_t)images);
	one(out, "object_bytes", "gauge",
	    "bytes of published images, each content once", (uint64_t)bytes);
	return 0;
}

int metrics_write(const struct metrics *m, const struct pacing_stats *p,
		  struct db *db, int64_t now_s, FILE *out, struct err *e)
{
	int r;

	head(out, "info", "gauge", "the version that runs");
	fprintf(out, P "info{version=\"%s\"} 1\n", STAGEFS_VERSION);
	write_requests(m, out);
	write_connections(m, out);
	write_pacing(p, out);
	r = write_store(db, out, e);
	if (!r)
		r = write_orders(db, out, e);
	if (!r)
		r = write_servers(db, now_s, out, e);
	return r;
}
