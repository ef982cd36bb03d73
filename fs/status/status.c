/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.c - answers to status and list. The figures are each part's own
 * account, put together here; nothing is computed but ages.
 *
 * Names as the words of DESIGN.md; times are seconds since 1970, ages are
 * milliseconds, sizes bytes. These names are what `stagefs status --json`
 * prints, so they stay.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "fs/status/put.h"
#include "fs/status/serve.h"

static json_t *sources_json(struct sources *s)
{
	json_t *list = json_array();
	uint64_t now = clock_mono_ns();

	for (size_t i = 0; i < sources_count(s); i++) {
		struct source_state st;
		json_t *o = json_object();

		sources_state(s, i, &st);
		put_text(o, "url", st.url);
		put_bool(o, "reachable", st.reachable);
		put_age_ms(o, "since_ms", st.since_ns);
		put(o, "retry_ms",
		    st.retry_ns > now ? (st.retry_ns - now) / NS_PER_MS : 0);
		put(o, "requests", st.requests);
		put(o, "failures", st.failures);
		put(o, "bad_blocks", st.bad_blocks);
		put_text(o, "why", st.why);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *cache_json(struct cache *c)
{
	struct cache_stats s;
	json_t *o = json_object();

	cache_stats(c, &s);
	put(o, "capacity", s.capacity_bytes);
	put(o, "min_free", s.min_free_bytes);
	put(o, "used", s.used_bytes);
	put(o, "reserved", s.reserved_bytes);
	put(o, "free", s.free_bytes);
	put(o, "evictable", s.evictable_bytes);
	put(o, "fs_free", s.fs_free_bytes);
	put(o, "images", s.versions);
	put(o, "complete", s.complete);
	put(o, "evicted", s.evicted);
	put(o, "evicted_bytes", s.evicted_bytes);
	put(o, "evicted_held", s.evicted_held);
	put(o, "stored_blocks", s.stored_blocks);
	put(o, "write_errors", s.write_errors);
	put(o, "refused", s.refused);
	put(o, "bad_blocks", s.bad_blocks);
	put(o, "repaired_blocks", s.repaired_blocks);
	return o;
}

static json_t *scrub_json(struct scrub *scrub)
{
	struct scrub_stats s;
	json_t *o = json_object();

	scrub_stats(scrub, &s);
	put(o, "span_ms", s.span_ms);
	put(o, "round_began", (uint64_t)s.round_began_s);
	put(o, "round_done", s.done_bytes);
	put(o, "round_total", s.total_bytes);
	put(o, "rounds", s.rounds);
	put(o, "blocks", s.blocks);
	put(o, "bytes", s.bytes);
	put(o, "bad", s.bad);
	return o;
}

static json_t *catalog_json(const struct control_config *cfg)
{
	char store[UUID_TEXT], text[SIGN_KEY_TEXT];
	struct sign_public key;
	json_t *o = json_object();

	catalog_store(cfg->catalog, store);
	put(o, "revision", catalog_revision(cfg->catalog));
	put(o, "entries", catalog_count(cfg->catalog));
	put_text(o, "store", store);
	put_text(o, "key", catalog_key(cfg->catalog, &key)
				   ? sign_public_text(&key, text) : "");
	return o;
}

static json_t *reads_json(struct reader *r)
{
	struct reader_stats s;
	json_t *o = json_object();

	reader_stats(r, &s);
	put(o, "stored", s.reads_stored);
	put(o, "stored_bytes", s.bytes_stored);
	put(o, "waited", s.reads_waited);
	put(o, "waited_bytes", s.bytes_waited);
	put(o, "waited_ms", s.wait_ns_total / NS_PER_MS);
	put(o, "failed", s.reads_failed);
	put(o, "timed_out", s.reads_timed_out);
	put(o, "parked", s.parked);
	put(o, "streams", s.streams);
	put(o, "from_memory", s.from_memory);
	return o;
}

static json_t *fetch_json(struct fetch *f)
{
	struct fetch_stats s;
	json_t *o = json_object(), *bytes = json_object(),
	       *requests = json_object();

	fetch_stats(f, &s);
	for (int i = 0; i < CLASS_COUNT; i++) {
		put(bytes, wire_class_name((enum wire_class)i), s.bytes[i]);
		put(requests, wire_class_name((enum wire_class)i),
		    s.requests[i]);
	}
	json_object_set_new(o, "bytes", bytes);
	json_object_set_new(o, "requests", requests);
	put(o, "bad_blocks", s.blocks_bad);
	put(o, "retries", s.retries);
	put(o, "wrong_status", s.wrong_status);
	put(o, "wrong_range", s.wrong_range);
	put(o, "short_body", s.short_body);
	put(o, "stalls", s.stalls);
	put(o, "in_flight", s.in_flight);
	put(o, "waiting", s.waiting);
	put(o, "buffers", s.buffers_bytes);
	put(o, "rate", s.rate_bps);
	return o;
}

static json_t *agent_json(struct agent *a)
{
	struct agent_stats s;
	json_t *o = json_object();

	agent_stats(a, &s);
	put_bool(o, "connected", s.connected);
	put(o, "catalog_at", (uint64_t)s.catalog_at_s);
	put(o, "catalog_syncs", s.catalog_syncs);
	put(o, "catalog_refused", s.catalog_refused);
	put(o, "orders", s.orders);
	put(o, "orders_failed", s.orders_failed);
	put(o, "orders_refused", s.orders_refused);
	put(o, "descriptors", s.descriptors);
	put_text(o, "last_refusal", s.last_refusal);
	return o;
}

/* Those in work, and how the last ones ended. */
#define ORDERS_SHOWN 20

static json_t *orders_json(struct agent *a)
{
	CLEAN_FREE struct agent_order *list = NULL;
	json_t *all = json_array();
	size_t n = 0;

	if (agent_orders(a, &list, &n))
		n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct agent_order *w = &list[i];
		json_t *o;

		if (w->state != REPORT_RUNNING && i + ORDERS_SHOWN < n)
			continue;
		o = json_object();
		put(o, "number", w->number);
		put_text(o, "kind", wire_order_kind_name(w->kind));
		put_text(o, "state", wire_report_state_name(w->state));
		put_text(o, "name", w->name);
		put(o, "stored", w->stored_bytes);
		put(o, "size", w->size_bytes);
		put_text(o, "message", w->message);
		json_array_append_new(all, o);
	}
	return all;
}

static json_t *others_json(const struct control_config *cfg)
{
	struct control_counter list[CONTROL_COUNTERS_MAX];
	size_t n = cfg->counters ? cfg->counters(cfg->ctx, list) : 0;
	json_t *all = json_array();

	for (size_t i = 0; i < n && i < CONTROL_COUNTERS_MAX; i++) {
		json_t *o = json_object();

		put_text(o, "name", list[i].name);
		put_text(o, "help", list[i].help);
		put(o, "value", list[i].value);
		json_array_append_new(all, o);
	}
	return all;
}

static json_t *worker_json(const struct control_config *cfg)
{
	json_t *o = json_object();

	put(o, "pid", (uint64_t)getpid());
	put(o, "starts", cfg->starts);
	put_bool(o, "fallback", cfg->fallback);
	return o;
}

int serve_upgrade(struct client *c, const json_t *request, struct err *e)
{
	const struct control_config *cfg = c->cfg;

	(void)request;
	return cfg->upgrade ? cfg->upgrade(cfg->ctx, e)
			    : err_set(e, EOPNOTSUPP, "cannot be upgraded");
}

int serve_status(struct client *c, const json_t *request, struct err *e)
{
	const struct control_config *cfg = c->cfg;
	json_t *o = json_object();
	int r;

	(void)request;
	put_text(o, "mount", cfg->mountpoint);
	put_text(o, "name", cfg->name);
	put_text(o, "version", STAGEFS_VERSION);
	json_object_set_new(o, "worker", worker_json(cfg));
	json_object_set_new(o, "sources", sources_json(cfg->sources));
	json_object_set_new(o, "cache", cache_json(cfg->cache));
	json_object_set_new(o, "catalog", catalog_json(cfg));
	json_object_set_new(o, "reads", reads_json(cfg->reader));
	json_object_set_new(o, "fetched", fetch_json(cfg->fetch));
	json_object_set_new(o, "counters", others_json(cfg));
	if (cfg->scrub)
		json_object_set_new(o, "scrub", scrub_json(cfg->scrub));
	if (cfg->agent) {
		json_object_set_new(o, "agent", agent_json(cfg->agent));
		json_object_set_new(o, "orders", orders_json(cfg->agent));
	}
	r = client_send(c, o);
	return r ? err_set(e, -r, "%s", strerror(-r)) : 0;
}

/* ---- list -------------------------------------------------------------- */

static json_t *image_json(const struct control_config *cfg,
			  const struct version_info *v)
{
	const char *state = v->complete ? "complete"
			  : reader_active(cfg->reader, v->ident.id)
				  ? "fetching" : "partial";
	struct catalog_node node;
	char digest[DIGEST_TEXT];
	json_t *o = json_object();

	put(o, "id", v->ident.id);
	put_text(o, "name", v->ident.name);
	put_text(o, "digest", digest_text(&v->ident.digest, digest));
	put(o, "size", v->ident.size_bytes);
	put(o, "block", v->ident.block_bytes);
	put(o, "stored", v->complete ? v->ident.size_bytes : v->stored_bytes);
	put_text(o, "state", state);
	put(o, "stored_seq", v->stored_seq);
	put(o, "stored_at", (uint64_t)v->stored_at_s);
	put(o, "complete_at", (uint64_t)v->complete_at_s);
	put(o, "held_until", (uint64_t)v->held_until_s);
	put(o, "read_at", (uint64_t)v->read_at_s);
	put(o, "opens", v->opens);
	put(o, "bad_blocks", v->bad_blocks);
	/* Its name is gone, or leads to another version now. */
	put_bool(o, "published",
		 catalog_get(cfg->catalog, v->ident.id, &node) == 0 &&
			 !node.ghost);
	return o;
}

int serve_list(struct client *c, const json_t *request, struct err *e)
{
	CLEAN_FREE struct version_info *list = NULL;
	size_t n = 0;
	int r = cache_list(c->cfg->cache, &list, &n);

	(void)request;
	for (size_t i = 0; i < n && !r; i++)
		r = client_send(c, json_pack("{s:o}", "image",
					     image_json(c->cfg, &list[i])));
	return r ? err_set(e, -r, "%s", strerror(-r)) : 0;
}
