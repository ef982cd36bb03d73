/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.h - what a request asks for. Pure: text in, a struct out.
 *
 * Nothing that arrives becomes a path: a digest is parsed into its bytes, a
 * server's name is checked, numbers are numbers. Paths are compared as they
 * came; a valid one needs no percent sign, so none is decoded.
 */
#ifndef STAGEFS_ORIGIN_HTTP_ROUTE_H
#define STAGEFS_ORIGIN_HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/crypto.h"
#include "common/err.h"
#include "common/limits.h"

enum route {
	ROUTE_OTHER, /* unknown path */
	ROUTE_CATALOG,
	ROUTE_MANIFEST,
	ROUTE_DATA,
	ROUTE_DESCRIPTOR,
	ROUTE_ORDERS,
	ROUTE_REPORT,
	ROUTE_HEALTH,
	ROUTE_METRICS,
	ROUTE_COUNT
};

enum route_method {
	METHOD_GET = 1,
	METHOD_HEAD = 2,
	METHOD_PUT = 4,
	METHOD_POST = 8,
	METHOD_OTHER = 16,
};

struct route_match {
	enum route route;
	struct digest digest;			       /* manifest, data */
	char server[STAGEFS_SERVER_NAME_MAX_BYTES + 1]; /* descriptor, ... */
	uint64_t number;			       /* report */
	uint64_t since;				       /* catalog */
	uint64_t after;				       /* orders */
	uint64_t revision; /* orders: catalog=REV; */
	bool has_revision; /* not given: never a reason to answer */
	uint32_t wait_s;   /* orders; at most STAGEFS_ORDERS_WAIT_MAX_S */
};

/*
 * `path` and `query` (after the '?'; may be NULL) as they came. -ENOENT: no
 * such place (404); -EINVAL: a known place with wrong arguments (400).
 * Unknown arguments are ignored (room for later versions).
 */
int route_parse(const char *path, const char *query, struct route_match *ret,
		struct err *e);

const char *route_name(enum route r);	   /* "catalog", ... in metrics */
unsigned route_methods(enum route r);	   /* allowed ones */
const char *route_allow(enum route r);	   /* the same, as Allow has it */
size_t route_max_body_bytes(enum route r); /* 0: a body is ignored */

#endif
