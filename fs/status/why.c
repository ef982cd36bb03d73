/* SPDX-License-Identifier: Apache-2.0 */
/*
 * why.c - answers `stagefs why`: all that bears on whether an image is here,
 * as facts. The words for them are the client's (cli_why.c).
 *
 * Of a name there may be several versions: the one that is published, and
 * older ones that are still stored. Each gets a line.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jget.h"
#include "common/limits.h"
#include "fs/status/put.h"
#include "fs/status/serve.h"

/* What is stored, and where it stands in the order of eviction. */
static void put_stored(json_t *o, struct cache *c,
		       const struct version_ident *ident)
{
	uint64_t id = ident->id;
	struct version_info v = {.complete = false};
	struct standing s;

	(void)cache_info(c, id, &v); /* absent: all of it is 0 */
	put(o, "stored", v.stored_bytes);
	put_bool(o, "complete", v.complete || ident->size_bytes == 0);
	put(o, "stored_at", (uint64_t)v.stored_at_s);
	put(o, "complete_at", (uint64_t)v.complete_at_s);
	put(o, "read_at", (uint64_t)v.read_at_s);
	put(o, "held_until", v.held_until_s > clock_unix_s()
				    ? (uint64_t)v.held_until_s : 0);
	put(o, "opens", v.opens);
	put(o, "bad_blocks", v.bad_blocks);
	put_bool(o, "wanted_whole", v.wanted);
	if (cache_standing(c, id, &s))
		return;
	put_bool(o, "evictable", !s.passed_over);
	put(o, "before", s.before);
	put(o, "before_bytes", s.before_bytes);
}

static void put_evicted(json_t *o, struct cache *c, uint64_t id)
{
	static const char *const why[] = {
		[EVICT_UNKNOWN] = "unknown", [EVICT_ROOM] = "room",
		[EVICT_RECLAIM] = "reclaim", [EVICT_ASKED] = "asked",
		[EVICT_TRIM] = "capacity"};
	struct evicted e;

	if (cache_evicted(c, id, &e))
		return;
	if ((unsigned)e.why >= sizeof(why) / sizeof(why[0]))
		e.why = EVICT_UNKNOWN;
	put(o, "evicted_at", (uint64_t)e.at_s);
	json_object_set_new(o, "evicted_why", json_string(why[e.why]));
}

static void put_room(json_t *o, struct cache *c,
		     const struct version_ident *ident)
{
	struct cache_stats s;
	struct version *v;

	cache_stats(c, &s);
	put(o, "capacity", s.capacity_bytes);
	put(o, "free", s.free_bytes);
	put(o, "evictable_bytes", s.evictable_bytes);
	if (cache_get(c, ident, &v))
		return;
	put_bool(o, "fits", version_could_fit(v, RESERVE_READER));
	put_bool(o, "fits_prefetch", version_could_fit(v, RESERVE_PREFETCH));
	version_put(v);
}

static void put_wants(json_t *o, struct reader *r, uint64_t id)
{
	struct reader_wants w;

	reader_wants(r, id, &w);
	put(o, "reads_waiting", w.parked);
	put(o, "prefetches", w.prefetches);
	put_bool(o, "filling", w.filling);
	put(o, "retry_ms", w.retry_ms);
	put(o, "in_flight", w.windows);
}

/* Orders of it that are at work. */
static void put_orders(json_t *o, struct agent *a, const char *name)
{
	CLEAN_FREE struct agent_order *list = NULL;
	json_t *all = json_array();
	size_t n = 0;

	if (!a || agent_orders(a, &list, &n))
		n = 0;
	for (size_t i = 0; i < n; i++)
		if (list[i].state == REPORT_RUNNING &&
		    list[i].kind == ORDER_PREFETCH &&
		    strncmp(list[i].name, name, sizeof(list[i].name) - 1) == 0)
			json_array_append_new(all, json_integer(
					(json_int_t)list[i].number));
	json_object_set_new(o, "orders", all);
}

static void put_sources(json_t *o, struct sources *s,
			const struct digest *digest)
{
	uint64_t now = clock_mono_ns();
	json_t *list = json_array();

	for (size_t i = 0; i < sources_count(s); i++) {
		struct source_state st;
		json_t *x = json_object();

		sources_state(s, i, &st);
		put_text(x, "url", st.url);
		put_bool(x, "reachable", st.reachable);
		put_age_ms(x, "since_ms", st.since_ns);
		put_text(x, "why", st.why);
		put_bool(x, "left_out",
			 sources_left_out(s, i, digest, now));
		json_array_append_new(list, x);
	}
	json_object_set_new(o, "sources", list);
	put_bool(o, "reachable", sources_reachable(s));
}

static int tell(struct client *c, const struct version_ident *ident,
		bool published)
{
	const struct control_config *cfg = c->cfg;
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(ident->name));
	put(o, "id", ident->id);
	put(o, "size", ident->size_bytes);
	put_bool(o, "published", published);
	put_stored(o, cfg->cache, ident);
	put_evicted(o, cfg->cache, ident->id);
	put_room(o, cfg->cache, ident);
	put_wants(o, cfg->reader, ident->id);
	put_orders(o, cfg->agent, ident->name);
	put_sources(o, cfg->sources, &ident->digest);
	return client_send(c, json_pack("{s:o}", "why", o));
}

static int tell_published(struct client *c, const char *name, uint64_t *ret_id,
			  struct err *e)
{
	struct version_ident ident;
	int r = find_published(c, name, &ident, e);

	if (r)
		return r == -ENOENT ? 0 : r;
	*ret_id = ident.id;
	return tell(c, &ident, true);
}

static int unknown(struct client *c, const char *name, struct err *e)
{
	uint64_t revision = catalog_revision(c->cfg->catalog);

	if (!revision)
		return err_set(e, ENOENT, "%s: not known: no origin has given "
			       "its catalog yet (see `stagefs status`)", name);
	return err_set(e, ENOENT, "%s: not known: the origin publishes no "
		       "image of that name (catalog revision %llu), and none "
		       "is stored here", name, (unsigned long long)revision);
}

int serve_why(struct client *c, const json_t *request, struct err *e)
{
	CLEAN_FREE struct version_info *list = NULL;
	uint64_t published = 0;
	const char *name;
	bool found;
	size_t n = 0;
	int r = jget_text(request, "name", STAGEFS_PATH_MAX_BYTES, &name, e);

	if (!r)
		r = tell_published(c, name, &published, e);
	if (r)
		return r;
	found = published != 0;
	r = cache_list(c->cfg->cache, &list, &n);
	for (size_t i = 0; i < n && !r; i++) {
		if (list[i].ident.id == published ||
		    strcmp(list[i].ident.name, name) != 0)
			continue;
		found = true;
		r = tell(c, &list[i].ident, false);
	}
	if (r)
		return err_set(e, -r, "%s", strerror(-r));
	return found ? 0 : unknown(c, name, e);
}
