/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.c - fetch and evict, as an admin asks for them on the server itself.
 * The client's thread waits; the reader's pump tells it how far it is. A
 * client that goes away (Ctrl-C) takes its fetch with it: what is stored stays.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jget.h"
#include "common/limits.h"
#include "common/units.h"
#include "fs/status/serve.h"

#define TELL_NS (500 * NS_PER_MS)

/* A leaf: taken with nothing else held, by the pump too. */
struct wait {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t stored, size;
	bool over;
	int error;
};

static void on_progress(void *ctx, uint64_t stored, uint64_t size)
{
	struct wait *w = ctx;

	pthread_mutex_lock(&w->lock);
	w->stored = stored;
	w->size = size;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void on_end(void *ctx, uint64_t stored, uint64_t size, int error)
{
	struct wait *w = ctx;

	pthread_mutex_lock(&w->lock);
	w->stored = stored;
	w->size = size;
	w->error = error;
	w->over = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static const struct prefetch_owner owner = {on_progress, on_end};

static int send_progress(struct client *c, const struct version_ident *ident,
			 uint64_t stored, uint64_t size)
{
	return client_send(c, json_pack("{s:s,s:I,s:I}", "fetching",
					ident->name, "stored",
					(json_int_t)stored, "size",
					(json_int_t)size));
}

/* Waits for a change, the end, or half a second. */
static void wait_a_while(struct wait *w)
{
	uint64_t until = clock_mono_ns() + TELL_NS;
	struct timespec ts = {.tv_sec = (time_t)(until / NS_PER_S),
			      .tv_nsec = (long)(until % NS_PER_S)};

	pthread_cond_timedwait(&w->changed, &w->lock, &ts);
}

static void wait_for_end(struct client *c, const struct version_ident *ident,
			 struct prefetch *p, struct wait *w)
{
	bool cancelled = false;

	pthread_mutex_lock(&w->lock);
	while (!w->over) {
		uint64_t stored, size;

		wait_a_while(w);
		stored = w->stored;
		size = w->size;
		if (w->over || cancelled)
			continue;
		pthread_mutex_unlock(&w->lock);
		cancelled = send_progress(c, ident, stored, size) != 0 ||
			    client_gone(c);
		pthread_mutex_lock(&w->lock);
		/* Under the lock: until `over` is set the handle is good. */
		if (cancelled && !w->over)
			reader_prefetch_cancel(c->cfg->reader, p);
	}
	pthread_mutex_unlock(&w->lock);
}

int work_fetch(struct client *c, const struct version_ident *ident,
	       struct err *e)
{
	struct wait w = {.size = ident->size_bytes};
	pthread_condattr_t attr;
	struct prefetch *p;
	int r;

	pthread_mutex_init(&w.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w.changed, &attr);
	pthread_condattr_destroy(&attr);
	r = reader_prefetch(c->cfg->reader, ident, 0, CLASS_PREFETCH, &owner,
			    &w, &p);
	if (!r) {
		wait_for_end(c, ident, p, &w);
		r = w.error;
		if (!r)
			send_progress(c, ident, w.stored, w.size);
	}
	pthread_cond_destroy(&w.changed);
	pthread_mutex_destroy(&w.lock);
	if (!r)
		return 0;
	prefetch_why(c->cfg->cache, w.stored, w.size, r, e);
	return err_prefix(e, -r, "%s", ident->name);
}

static int get_name(const json_t *request, const char **ret, struct err *e)
{
	return jget_text(request, "name", STAGEFS_PATH_MAX_BYTES, ret, e);
}

int find_published(struct client *c, const char *name,
		   struct version_ident *ret, struct err *e)
{
	struct catalog *cat = c->cfg->catalog;
	struct catalog_node n;

	if (catalog_find(cat, name, &n))
		return err_set(e, ENOENT, "%s: no such image in the catalog",
			       name);
	if (n.is_dir)
		return err_set(e, EISDIR, "%s: a folder: name an image in it",
			       name);
	*ret = (struct version_ident){.id = n.id,
				      .digest = n.digest,
				      .size_bytes = n.size_bytes,
				      .block_bytes = n.block_bytes};
	catalog_path(cat, n.id, ret->name, sizeof(ret->name));
	return 0;
}

int serve_fetch(struct client *c, const json_t *request, struct err *e)
{
	struct version_ident ident;
	const char *name;
	int r = get_name(request, &name, e);

	if (!r)
		r = find_published(c, name, &ident, e);
	return r ? r : work_fetch(c, &ident, e);
}

/* ---- evict ------------------------------------------------------------- */

static int evict_one(struct client *c, const struct version_info *v,
		     bool force, struct err *e)
{
	char until[UNITS_TIME_TEXT];
	uint64_t freed = 0;
	int r = cache_evict(c->cfg->cache, v->ident.id, &v->ident.digest,
			    force, &freed);

	switch (r) {
	case 0:
		r = client_send(c, json_pack("{s:s,s:I}", "evicted",
					     v->ident.name, "freed",
					     (json_int_t)freed));
		return r ? err_set(e, -r, "%s", strerror(-r)) : 0;
	case -ENOENT: /* meanwhile */
		return 0;
	case -EBUSY:
		return err_set(e, EBUSY, "%s: %s", v->ident.name,
			       v->opens || !v->pins
				       ? "open: wait until nobody reads it"
				       : "being fetched: wait, or cancel its "
					 "order");
	case -EPERM:
		return err_set(e, EPERM, "%s: on hold until %s: --force "
			       "evicts it all the same", v->ident.name,
			       units_time(v->held_until_s, until));
	default:
		return err_set(e, -r, "%s: %s", v->ident.name, strerror(-r));
	}
}

/* By the name it was stored under: a version that was replaced or removed at
 * the origin has no other. */
int serve_evict(struct client *c, const json_t *request, struct err *e)
{
	CLEAN_FREE struct version_info *list = NULL;
	bool force = false, found = false;
	const char *name;
	size_t n = 0;
	int r = get_name(request, &name, e);

	if (!r)
		r = jget_bool_opt(request, "force", &force, e);
	if (r)
		return r;
	r = cache_list(c->cfg->cache, &list, &n);
	if (r)
		return err_set(e, -r, "%s", strerror(-r));
	for (size_t i = 0; i < n && !r; i++) {
		if (strcmp(list[i].ident.name, name) != 0)
			continue;
		found = true;
		r = evict_one(c, &list[i], force, e);
	}
	if (!found)
		r = err_set(e, ENOENT, "%s: not stored here (see `stagefs "
			    "list`)", name);
	return r;
}
