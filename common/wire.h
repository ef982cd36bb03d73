/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - the documents of protocol version 1 as C structs, and their JSON.
 *
 * Encoders cannot fail but for memory. Decoders are strict: wrong types,
 * missing members, numbers out of range, more than the limits of limits.h, bad
 * names or digests give -EPROTO and a line that says what; unknown members are
 * ignored (room for later versions); "format" above 1 is -EPROTONOSUPPORT.
 * No pointer in a decoded struct outlives its wire_*_free. Times are seconds
 * since 1970, and between the years -9999 and 9999: encoders cut what is
 * beyond, so INT64_MAX may stand for "for ever". wire_*.c are the only users of
 * jansson besides common/jget.h.
 */
#ifndef STAGEFS_COMMON_WIRE_H
#define STAGEFS_COMMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/crypto.h"
#include "common/err.h"

/* HTTP header names of data requests. */
#define WIRE_HEADER_CLASS "X-Stagefs-Class"
#define WIRE_HEADER_SERVER "X-Stagefs-Server"
#define WIRE_HEADER_ORDER "X-Stagefs-Order"

/* Why bytes are fetched; lower goes first (R5). */
enum wire_class {
	CLASS_DEMAND,
	CLASS_LOOKAHEAD,
	CLASS_FILL,
	CLASS_PREFETCH,
	CLASS_COUNT
};
const char *wire_class_name(enum wire_class c); /* "demand", ... */
int wire_class_parse(const char *name, enum wire_class *ret);

/* ---- catalog ---------------------------------------------------------- */

struct wire_entry {
	uint64_t id;	 /* > 1; the root is 1 and is never listed */
	uint64_t parent; /* id of a directory, 1 for the root */
	char *name;	 /* one part */
	bool is_dir;
	int64_t mtime_s;
	/* images only */
	uint64_t size_bytes;
	uint32_t block_bytes;
	struct digest digest;
};

struct wire_removed {
	uint64_t id, parent;
	char *name;
};

/*
 * One page. `since` is the revision it starts from (0: from nothing),
 * `revision` the one it leads to. With `more` the next page starts at
 * `revision`. Entries come in an order in which parents precede children.
 * A page that starts from nothing lists no removed entries.
 */
struct wire_catalog {
	char store[UUID_TEXT];
	uint64_t since, revision;
	bool more;
	struct wire_entry *entry;
	size_t n_entries;
	struct wire_removed *removed;
	size_t n_removed;
};

int wire_catalog_encode(const struct wire_catalog *c, char **ret,
			size_t *ret_n);
int wire_catalog_decode(const char *json, size_t n, struct wire_catalog *ret,
			struct err *e);
void wire_catalog_free(struct wire_catalog *c);

/* ---- orders ----------------------------------------------------------- */

enum wire_order_kind {
	ORDER_PREFETCH, /* id, digest, name, size; hold_until_s, deadline_s */
	ORDER_DELETE,	/* id, digest, name */
	ORDER_RECLAIM,	/* bytes: so many have to become free */
	ORDER_HOLD,	/* id, digest; hold_until_s */
	ORDER_RELEASE,	/* id, digest */
	ORDER_CANCEL,	/* cancels: number of an order */
	ORDER_KIND_COUNT
};
const char *wire_order_kind_name(enum wire_order_kind k);
int wire_order_kind_parse(const char *name, enum wire_order_kind *ret);

struct wire_order {
	uint64_t number; /* > 0, grows, never reused on one origin */
	enum wire_order_kind kind;
	uint64_t id;
	struct digest digest;
	char *name; /* "" if none; for messages, never a path to open */
	uint64_t size_bytes;
	uint64_t bytes; /* reclaim */
	uint64_t cancels;
	int64_t hold_until_s; /* 0: none */
	int64_t deadline_s;   /* 0: none */
	uint64_t job;	      /* 0: by hand */
};

/*
 * Answer to GET orders: all orders of this server that have no final result
 * yet and a number above `after`, lowest first, and the catalog's revision.
 * Sealed in an envelope like the catalog.
 */
struct wire_orders {
	char store[UUID_TEXT];
	char server[64];
	uint64_t catalog_revision;
	struct wire_order *order;
	size_t n_orders;
};

int wire_orders_encode(const struct wire_orders *o, char **ret, size_t *ret_n);
int wire_orders_decode(const char *json, size_t n, struct wire_orders *ret,
		       struct err *e);
void wire_orders_free(struct wire_orders *o);
void wire_order_clear(struct wire_order *o);

/* Body of POST orders/N: progress or result. `done` and `failed` are final. */
enum wire_report_state {
	REPORT_RUNNING,
	REPORT_DONE,
	REPORT_FAILED,
	REPORT_STATE_COUNT
};
const char *wire_report_state_name(enum wire_report_state s);

struct wire_report {
	uint64_t number;
	enum wire_report_state state;
	uint64_t stored_bytes; /* prefetch: verified, stored; reclaim: freed */
	uint64_t size_bytes;
	char message[513]; /* why it failed, or "" */
};

int wire_report_encode(const struct wire_report *r, char **ret, size_t *ret_n);
int wire_report_decode(const char *json, size_t n, struct wire_report *ret,
		       struct err *e);

/* ---- descriptor ------------------------------------------------------- */

enum wire_image_state {
	IMAGE_PARTIAL,	/* some blocks stored, nothing is fetching it */
	IMAGE_FETCHING, /* being filled or prefetched */
	IMAGE_COMPLETE, /* every block stored and verified */
	IMAGE_STATE_COUNT
};
const char *wire_image_state_name(enum wire_image_state s);

struct wire_image {
	uint64_t id;
	char *name;
	struct digest digest;
	uint64_t size_bytes, stored_bytes;
	enum wire_image_state state;
	uint64_t stored_seq; /* stored order */
	int64_t stored_at_s; /* when first stored */
	int64_t held_until_s;
	bool open;
};

/*
 * `base` 0: a full descriptor. Else: changes since the one with seq `base`
 * (images that changed, ids that are gone); the origin answers 409 if the
 * last one it has is not `base`, and the server sends a full one. `seq` starts
 * at 1 and grows within one `boot` (random per start of the worker).
 */
struct wire_descriptor {
	char store[UUID_TEXT];
	char name[64];
	char boot[UUID_TEXT];
	char version[32];   /* of the program */
	char time_zone[64]; /* "Europe/Berlin" */
	uint64_t seq, base;
	int64_t time_s; /* the server's clock */
	uint64_t catalog_revision;
	uint64_t capacity_bytes, used_bytes, reserved_bytes;
	uint64_t free_bytes;	 /* what can be stored without any eviction */
	uint64_t evictable_bytes; /* neither open, just read nor held */
	/* Stored blocks that its disk lost, since the start of the worker, and
	 * those of them that were fetched again (C7). 0 from older servers. */
	uint64_t bad_blocks, repaired_blocks;
	struct wire_image *image;
	size_t n_images;
	uint64_t *gone;
	size_t n_gone;
};

int wire_descriptor_encode(const struct wire_descriptor *d, char **ret,
			   size_t *ret_n);
int wire_descriptor_decode(const char *json, size_t n,
			   struct wire_descriptor *ret, struct err *e);
void wire_descriptor_free(struct wire_descriptor *d);
void wire_image_clear(struct wire_image *i);

#endif
