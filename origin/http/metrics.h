/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - what the daemon counts. All counters are atomic and only grow;
 * no lock. Times and sizes are in seconds and bytes, as Prometheus has it.
 */
#ifndef STAGEFS_ORIGIN_HTTP_METRICS_H
#define STAGEFS_ORIGIN_HTTP_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "common/db.h"
#include "common/wire.h"
#include "origin/http/pacing.h"
#include "origin/http/route.h"

#define METRICS_STATUS_MAX 600

struct metrics {
	uint64_t requests[ROUTE_COUNT]; /* answered */
	uint64_t status[METRICS_STATUS_MAX];
	uint64_t data_requests[CLASS_COUNT];
	/* What left by route, heads included; data_bytes is bodies of data
	 * answers only, which is what an image costs. */
	uint64_t bytes[ROUTE_COUNT];
	uint64_t data_bytes[CLASS_COUNT];
	uint64_t connections; /* open ones: this and the next also sink */
	uint64_t input_bytes; /* of requests that are not complete */
	uint64_t accepted, refused, cut;
};

static inline void metrics_add(uint64_t *counter, uint64_t n)
{
	__atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

static inline void metrics_sub(uint64_t *counter, uint64_t n)
{
	__atomic_sub_fetch(counter, n, __ATOMIC_RELAXED);
}

static inline uint64_t metrics_get(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* The text of GET /metrics. `db` is read: servers, orders, images. */
int metrics_write(const struct metrics *m, const struct pacing_stats *p,
		  struct db *db, int64_t now_s, FILE *out, struct err *e);

#endif
