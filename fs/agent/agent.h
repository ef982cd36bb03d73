/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.h - the production server's side of the origin's plan.
 *
 * Three threads. One keeps the order channel open (a long poll), syncs the
 * catalog whenever the answer names another revision. One carries out orders
 * through the cache and the reader. One reports: the descriptor after
 * every change (at most once a second; changes since the last one the origin
 * has, or a full one), the progress of orders, their results.
 *
 * Nothing is lost and everything is harmless twice: after a reconnect the
 * origin lists all orders that have no final result, those in work are left
 * alone, those finished lately are reported again. An origin out of reach is
 * a state, logged once; nothing that is stored depends on it.
 */
#ifndef STAGEFS_FS_AGENT_AGENT_H
#define STAGEFS_FS_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/crypto.h"
#include "common/err.h"
#include "common/wire.h"
#include "fs/cache/cache.h"
#include "fs/catalog/catalog.h"
#include "fs/fetch/http.h"
#include "fs/fetch/sources.h"
#include "fs/read/reader.h"

struct agent;

struct agent_config {
	/* All outlive the agent. */
	struct sources *sources;
	struct http *http; /* the agent's own: agent_free stops it */
	struct catalog *catalog;
	struct cache *cache;
	struct reader *reader;
	const char *name; /* of this server */
	/* Only orders signed with this key are carried out; NULL: the key that
	 * the catalog trusts (CACHE/key.pub). */
	const struct sign_public *pin;

	/* Names that now point elsewhere. Called on the agent's thread, no
	 * lock held; `ch` is valid during the call. May be NULL. */
	void (*names_changed)(void *ctx, const struct catalog_change *ch,
			      size_t n);
	void *ctx;

	/* For tests; 0: the usual value. */
	uint32_t wait_s;	/* of the long poll: 50 */
	uint32_t report_ms;	/* shortest time between descriptors: 1000 */
};

/* Starts the threads; needs no origin. */
int agent_new(const struct agent_config *cfg, struct agent **ret,
	      struct err *e);
/* Cancels what is in work (without a report: it will be ordered again),
 * stops `http`, joins. NULL is fine. */
void agent_free(struct agent *a);

/* The cache's `changed` callback: cheap, any thread, NULL is fine. */
void agent_changed(struct agent *a, uint64_t id);

/*
 * Waits until the first sync of the catalog succeeded: 0. Else what went wrong
 * with it last (not an origin, forged, ...) once `timeout_ms` have passed or
 * the origin's answer was refused; -ETIMEDOUT if there was no answer.
 */
int agent_wait_catalog(struct agent *a, uint32_t timeout_ms, struct err *e);

/* Orders in work and those ended lately, for `stagefs status`. */
struct agent_order {
	uint64_t number;
	enum wire_order_kind kind;
	enum wire_report_state state;
	char name[256]; /* cut to fit; "" if none */
	uint64_t stored_bytes, size_bytes;
	char message[160];
};
/* Malloc'd array, by number. */
int agent_orders(struct agent *a, struct agent_order **ret, size_t *ret_n);

struct agent_stats {
	bool connected;	     /* the last order request was answered */
	uint64_t catalog_syncs, catalog_refused;
	uint64_t orders, orders_failed, orders_refused; /* answers refused */
	uint64_t descriptors, descriptors_full;
	int64_t catalog_at_s; /* last successful sync, 0: not since start */
	char last_refusal[256]; /* why an answer was refused last, "" never */
};
void agent_stats(struct agent *a, struct agent_stats *ret);

#endif
