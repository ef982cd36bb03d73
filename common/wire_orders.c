/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_orders.c - what a server is to do, and what it says became of it.
 *
 *	{"format": 1, "kind": "orders", "store": UUID, "server": "line3",
 *	 "catalog_revision": 7,
 *	 "orders": [
 *	   {"number": 12, "kind": "prefetch", "id": 3, "digest": HEX,
 *	    "name": "win11/base.wim", "size": BYTES, "hold_until": T,
 *	    "deadline": T, "job": 5},
 *	   {"number": 13, "kind": "reclaim", "bytes": BYTES},
 *	   {"number": 14, "kind": "cancel", "cancels": 12}]}
 *
 *	{"format": 1, "kind": "report", "number": 12, "state": "running",
 *	 "stored": BYTES, "size": BYTES, "message": TEXT}
 *
 * A kind of order that is not known is refused, with the whole document: a
 * server that skipped it would look as if it were still to be done for ever.
 */
#include "common/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/utf8.h"
#include "common/wire_json.h"

#define KIND "orders"
#define REPORT_KIND "report"
/* An order weighs at most 5 + 11, and later versions may add to it. */
#define WEIGHT_MAX (STAGEFS_ORDERS_MAX * 64)
#define REPORT_WEIGHT_MAX 256

/* Which members an order of this kind has to have. */
enum needs {
	NEEDS_VERSION = 1, /* id and digest */
	NEEDS_SIZE = 2,
	NEEDS_BYTES = 4,
	NEEDS_CANCELS = 8,
	NEEDS_HOLD = 16,
};

static const struct {
	const char *name;
	unsigned needs;
} kinds[ORDER_KIND_COUNT] = {
	[ORDER_PREFETCH] = {"prefetch", NEEDS_VERSION | NEEDS_SIZE},
	[ORDER_DELETE] = {"delete", NEEDS_VERSION},
	[ORDER_RECLAIM] = {"reclaim", NEEDS_BYTES},
	[ORDER_HOLD] = {"hold", NEEDS_VERSION | NEEDS_HOLD},
	[ORDER_RELEASE] = {"release", NEEDS_VERSION},
	[ORDER_CANCEL] = {"cancel", NEEDS_CANCELS},
};

static const char *const report_states[REPORT_STATE_COUNT] = {
	[REPORT_RUNNING] = "running",
	[REPORT_DONE] = "done",
	[REPORT_FAILED] = "failed",
};

const char *wire_order_kind_name(enum wire_order_kind k)
{
	return k < ORDER_KIND_COUNT ? kinds[k].name : "unknown";
}

int wire_order_kind_parse(const char *name, enum wire_order_kind *ret)
{
	for (int i = 0; i < ORDER_KIND_COUNT; i++)
		if (strcmp(name, kinds[i].name) == 0) {
			*ret = (enum wire_order_kind)i;
			return 0;
		}
	return -EINVAL;
}

const char *wire_report_state_name(enum wire_report_state s)
{
	return s < REPORT_STATE_COUNT ? report_states[s] : "unknown";
}

/* ---- orders ------------------------------------------------------------- */

static bool put_nonzero(json_t *o, const char *name, uint64_t v)
{
	return v == 0 || put_u64(o, name, v);
}

static bool put_order(json_t *list, const struct wire_order *w)
{
	json_t *o = json_object();
	unsigned needs;

	assert((unsigned)w->kind < ORDER_KIND_COUNT);
	needs = kinds[w->kind].needs;
	return json_array_append_new(list, o) == 0 &&
	       put_u64(o, "number", w->number) &&
	       put_text(o, "kind", kinds[w->kind].name) &&
	       (!(needs & NEEDS_VERSION) ||
		(put_u64(o, "id", w->id) &&
		 put_digest(o, "digest", &w->digest))) &&
	       (!w->name || !w->name[0] || put_text(o, "name", w->name)) &&
	       (needs & NEEDS_SIZE ? put_u64(o, "size", w->size_bytes)
				   : put_nonzero(o, "size", w->size_bytes)) &&
	       put_nonzero(o, "bytes", w->bytes) &&
	       put_nonzero(o, "cancels", w->cancels) &&
	       (w->hold_until_s == 0 ||
		put_time(o, "hold_until", w->hold_until_s)) &&
	       (w->deadline_s == 0 || put_time(o, "deadline", w->deadline_s)) &&
	       put_nonzero(o, "job", w->job);
}

int wire_orders_encode(const struct wire_orders *s, char **ret, size_t *ret_n)
{
	json_t *o = wire_head(KIND), *list;
	bool ok = put_text(o, "store", s->store) &&
		  put_text(o, "server", s->server) &&
		  put_u64(o, "catalog_revision", s->catalog_revision);

	list = put_list(o, "orders");
	for (size_t i = 0; ok && i < s->n_orders; i++)
		ok = put_order(list, &s->order[i]);
	return wire_print(o, ok && list, ret, ret_n);
}

static int get_kind(const json_t *o, enum wire_order_kind *ret, struct err *e)
{
	const char *kind;
	int r = jget_text(o, "kind", 32, &kind, e);

	if (r < 0)
		return r;
	if (wire_order_kind_parse(kind, ret) < 0)
		return err_set(e, EPROTO, "unknown kind of order '%s'", kind);
	return 0;
}

static int get_order_members(const json_t *o, struct wire_order *w,
			     struct err *e)
{
	int r = jget_u64(o, "number", INT64_MAX, &w->number, e);

	if (r == 0)
		r = get_kind(o, &w->kind, e);
	/* Of the others it means nothing. */
	if (r == 0 && kinds[w->kind].needs & NEEDS_VERSION)
		r = jget_u64_opt(o, "id", INT64_MAX, &w->id, e);
	if (r == 0 && kinds[w->kind].needs & NEEDS_VERSION)
		r = get_digest(o, "digest", &w->digest, e);
	if (r == 0)
		r = get_image_name_opt(o, "name", &w->name, e);
	if (r == 0)
		r = jget_u64_opt(o, "size", STAGEFS_IMAGE_MAX_BYTES,
				 &w->size_bytes, e);
	if (r == 0)
		r = jget_u64_opt(o, "bytes", INT64_MAX, &w->bytes, e);
	if (r == 0)
		r = jget_u64_opt(o, "cancels", INT64_MAX, &w->cancels, e);
	if (r == 0)
		r = get_time_opt(o, "hold_until", &w->hold_until_s, e);
	if (r == 0)
		r = get_time_opt(o, "deadline", &w->deadline_s, e);
	if (r == 0)
		r = jget_u64_opt(o, "job", INT64_MAX, &w->job, e);
	return r;
}

static int get_order(const json_t *o, struct wire_order *w, struct err *e)
{
	int r = get_order_members(o, w, e);
	const char *lacks = NULL;
	unsigned needs;

	if (r < 0)
		return r;
	needs = kinds[w->kind].needs;
	if (needs & NEEDS_VERSION && w->id < 2)
		lacks = "id";
	else if (needs & NEEDS_SIZE && !json_object_get(o, "size"))
		lacks = "size";
	else if (needs & NEEDS_BYTES && w->bytes == 0)
		lacks = "bytes";
	else if (needs & NEEDS_CANCELS && w->cancels == 0)
		lacks = "cancels";
	else if (needs & NEEDS_HOLD && w->hold_until_s == 0)
		lacks = "hold_until";
	if (lacks)
		return err_set(e, EPROTO, "a %s order without a right '%s'",
			       kinds[w->kind].name, lacks);
	return 0;
}

static int get_orders(const json_t *list, struct wire_orders *s, struct err *e)
{
	size_t n = json_array_size(list);
	uint64_t last = 0;
	int r;

	s->order = calloc(n + 1, sizeof(*s->order));
	if (!s->order)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		s->n_orders = i + 1; /* what wire_orders_free has to free */
		r = get_order(json_array_get(list, i), &s->order[i], e);
		if (r == 0 && s->order[i].number <= last)
			r = err_set(e, EPROTO, "number %llu after %llu",
				    (unsigned long long)s->order[i].number,
				    (unsigned long long)last);
		if (r < 0)
			return err_prefix(e, -r, "order %zu", i);
		last = s->order[i].number;
	}
	return 0;
}

int wire_orders_decode(const char *json, size_t n, struct wire_orders *ret,
		       struct err *e)
{
	struct wire_orders s = {0};
	CLEAN_JSON json_t *o = NULL;
	json_t *list = NULL;
	int r;

	r = wire_open(json, n, STAGEFS_ORDERS_MAX_BYTES, WEIGHT_MAX, KIND, &o,
		      e);
	if (r < 0)
		return r;
	r = get_uuid(o, "store", s.store, e);
	if (r == 0)
		r = get_server(o, "server", s.server, e);
	if (r == 0)
		r = jget_u64(o, "catalog_revision", INT64_MAX,
			     &s.catalog_revision, e);
	if (r == 0)
		r = jget_list_opt(o, "orders", STAGEFS_ORDERS_MAX, &list, e);
	if (r == 0)
		r = get_orders(list, &s, e);
	if (r < 0) {
		wire_orders_free(&s);
		return err_prefix(e, -r, KIND);
	}
	*ret = s;
	return 0;
}

void wire_order_clear(struct wire_order *o)
{
	free(o->name);
	memset(o, 0, sizeof(*o));
}

void wire_orders_free(struct wire_orders *s)
{
	for (size_t i = 0; i < s->n_orders; i++)
		wire_order_clear(&s->order[i]);
	free(s->order);
	memset(s, 0, sizeof(*s));
}

/* ---- report ------------------------------------------------------------- */

int wire_report_encode(const struct wire_report *w, char **ret, size_t *ret_n)
{
	json_t *o = wire_head(REPORT_KIND);
	bool ok = put_u64(o, "number", w->number) &&
		  put_text(o, "state", wire_report_state_name(w->state)) &&
		  put_u64(o, "stored", w->stored_bytes) &&
		  put_u64(o, "size", w->size_bytes) &&
		  put_text(o, "message", w->message);

	return wire_print(o, ok, ret, ret_n);
}

static int get_report_state(const json_t *o, enum wire_report_state *ret,
			    struct err *e)
{
	const char *text;
	int r = jget_text(o, "state", 32, &text, e);

	if (r < 0)
		return r;
	for (int i = 0; i < REPORT_STATE_COUNT; i++)
		if (strcmp(text, report_states[i]) == 0) {
			*ret = (enum wire_report_state)i;
			return 0;
		}
	return err_set(e, EPROTO, "unknown state '%s'", text);
}

int wire_report_decode(const char *json, size_t n, struct wire_report *ret,
		       struct err *e)
{
	struct wire_report w = {0};
	CLEAN_JSON json_t *o = NULL;
	int r;

	_Static_assert(sizeof(w.message) ==
			       STAGEFS_REPORT_MESSAGE_MAX_BYTES + 1,
		       "the buffer fits its limit");
	r = wire_open(json, n, STAGEFS_REPORT_MAX_BYTES, REPORT_WEIGHT_MAX,
		      REPORT_KIND, &o, e);
	if (r < 0)
		return r;
	r = jget_u64(o, "number", INT64_MAX, &w.number, e);
	if (r == 0 && w.number == 0)
		r = err_set(e, EPROTO, "there is no order 0");
	if (r == 0)
		r = get_report_state(o, &w.state, e);
	if (r == 0)
		r = jget_u64_opt(o, "stored", INT64_MAX, &w.stored_bytes, e);
	if (r == 0)
		r = jget_u64_opt(o, "size", INT64_MAX, &w.size_bytes, e);
	if (r == 0)
		r = get_buffer_opt(o, "message", w.message, sizeof(w.message),
				   e);
	if (r < 0)
		return err_prefix(e, -r, REPORT_KIND);
	*ret = w;
	return 0;
}
