/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_parts.c - puts the parts together, in order, and takes them apart;
 * what one has to tell another goes through here, so that none of them knows
 * one above it.
 */
#include "fs/worker_state.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/pool.h"
#include "fs/agent/agent.h"
#include "fs/fetch/fetch.h"
#include "fs/fetch/http.h"
#include "fs/kernel/kernel.h"
#include "fs/kernel/opens.h"
#include "fs/link.h"
#include "fs/read/scrub.h"
#include "fs/status/control.h"
#include "fs/supervisor/wire.h"

#define JUST_READ_MS 60000 /* C4 */
#define FLUSH_MS 1000
#define CACHE_BUSY_MS 6000 /* the last one's worker has 5 s to end */
#define STORE_THREADS 2

/* ---- what the parts tell each other -------------------------------------- */

static void on_stored(void *ctx, uint64_t id)
{
	struct worker *w = ctx;
	LOCK_SCOPE(&w->gate);

	if (w->agent)
		agent_changed(w->agent, id);
	if (w->kernel)
		kernel_attr_changed(w->kernel, id);
}

static void on_forgotten(void *ctx, uint64_t id)
{
	struct worker *w = ctx;
	LOCK_SCOPE(&w->gate);

	if (w->kernel)
		kernel_pages_bad(w->kernel, id);
}

static int on_mend(void *ctx, const struct version_ident *ident)
{
	struct worker *w = ctx;

	return reader_fill(w->reader, ident);
}

static bool on_busy(void *ctx)
{
	struct worker *w = ctx;
	struct reader_stats s;

	reader_stats(w->reader, &s);
	return s.parked > 0;
}

static bool on_in_use(void *ctx, uint64_t id)
{
	struct worker *w = ctx;

	return opens_of_area(w->session, id);
}

static int on_catalog_grows(void *ctx, uint64_t bytes)
{
	return cache_room_for_files(ctx, bytes);
}

static void on_names(void *ctx, const struct catalog_change *ch, size_t n)
{
	struct worker *w = ctx;
	LOCK_SCOPE(&w->gate);

	/* Before there is one the kernel knows no names either. */
	if (w->kernel)
		kernel_names_changed(w->kernel, ch, n);
}

static size_t counters(void *ctx, struct control_counter *out)
{
	struct worker *w = ctx;
	struct kernel_stats s;

	kernel_stats(w->kernel, &s);
	out[0] = (struct control_counter){"open_images",
					  "images that are open",
					  s.open_images};
	out[1] = (struct control_counter){"open_images_passthrough",
					  "open images that the kernel reads "
					  "itself",
					  s.open_passthrough};
	out[2] = (struct control_counter){"opens_total", "opens of images",
					  s.opens};
	out[3] = (struct control_counter){"opens_passthrough_total",
					  "opens with passthrough",
					  s.opens_passthrough};
	return 4;
}

static int on_upgrade(void *ctx, struct err *e)
{
	struct worker *w = ctx;

	return link_upgrade(w->link, e);
}

/* ---- the parts ------------------------------------------------------ */

static int open_cache(struct worker *w, struct err *e)
{
	const struct cache_config cfg = {
		.dir = w->o.cache,
		.capacity_bytes = w->o.capacity_bytes,
		.min_free_bytes = w->o.min_free_bytes,
		.just_read_ms = JUST_READ_MS,
		.flush_ms = FLUSH_MS,
		.in_use = on_in_use,
		.changed = on_stored,
		.forgotten = on_forgotten,
		.ctx = w,
	};
	uint64_t until = clock_mono_ns() + CACHE_BUSY_MS * NS_PER_MS;
	int r;

	/* umount(8) returns before the last worker has flushed and gone. */
	while ((r = cache_open(&cfg, &w->cache, e)) == -EBUSY &&
	       clock_mono_ns() < until)
		worker_nap();
	if (r < 0)
		return r;
	r = catalog_open(cache_dirfd(w->cache), w->pinned ? &w->pin : NULL,
			 &w->catalog, e);
	if (r < 0)
		return err_prefix(e, -r, "cache %s", w->o.cache);
	catalog_set_room(w->catalog, on_catalog_grows, w->cache);
	return 0;
}

static int open_origin(struct worker *w, struct err *e)
{
	const char *ca = w->o.ca[0] ? w->o.ca : NULL;
	const struct http_config http = {.server = w->o.name, .ca_file = ca};
	const struct fetch_config fetch = {
		.sources = w->sources,
		.pool = w->pool,
		.server = w->o.name,
		.ca_file = ca,
		.memory_bytes = w->o.memory_bytes,
	};
	int r;

	if (ca && access(ca, R_OK) < 0)
		return err_set(e, errno, "option ca=%s: %s", ca,
			       strerror(errno));
	r = http_new(&http, &w->http);
	if (r < 0)
		return err_set(e, -r, "HTTP: %s", strerror(-r));
	return fetch_new(&fetch, &w->fetch, e);
}

static int open_reader(struct worker *w, struct err *e)
{
	const struct reader_config cfg = {
		.cache = w->cache,
		.fetch = w->fetch,
		.pool = w->store,
		.fill_after_bytes = w->o.fill_after_bytes,
		.io_timeout_ms = (uint32_t)w->o.io_timeout_ms,
		.look_ahead_bytes = w->o.look_ahead_bytes,
		.ring_bytes = w->o.memory_bytes / 2,
		.serve_complete = w->o.serve_complete,
	};
	int r = reader_new(&cfg, &w->reader);

	return r < 0 ? err_set(e, -r, "reader: %s", strerror(-r)) : 0;
}

static int open_agent(struct worker *w, struct err *e)
{
	const struct agent_config cfg = {
		.sources = w->sources,
		.http = w->http,
		.catalog = w->catalog,
		.cache = w->cache,
		.reader = w->reader,
		.name = w->o.name,
		.pin = w->pinned ? &w->pin : NULL,
		.names_changed = on_names,
		.ctx = w,
	};
	struct agent *a;
	int r = agent_new(&cfg, &a, e);

	if (r < 0)
		return r;
	LOCK_SCOPE(&w->gate);
	w->agent = a;
	return 0;
}

static int open_kernel(struct worker *w, struct err *e)
{
	const struct kernel_config cfg = {
		.catalog = w->catalog,
		.cache = w->cache,
		.reader = w->reader,
		.pool = w->pool,
		.fuse_fd = SUPERVISOR_FUSE_FD,
		.session = w->session,
		.link = SUPERVISOR_LINK_FD,
		.notifier = w->notifier,
		.passthrough = w->o.passthrough,
	};

	return kernel_new(&cfg, &w->made, e);
}

static int start_scrub(struct worker *w, struct err *e)
{
	const struct scrub_config cfg = {
		.cache = w->cache,
		.span_ms = w->o.scrub_ms,
		.mend = on_mend,
		.busy = on_busy,
		.ctx = w,
	};
	int r;

	if (w->o.scrub_ms == UINT64_MAX)
		return 0;
	r = scrub_new(&cfg, &w->scrub);
	return r < 0 ? err_set(e, -r, "scrub: %s", strerror(-r)) : 0;
}

static int open_control(struct worker *w, struct err *e)
{
	const struct control_config cfg = {
		.listen_fd = SUPERVISOR_CONTROL_FD,
		.mountpoint = w->mountpoint,
		.name = w->o.name,
		.sources = w->sources,
		.fetch = w->fetch,
		.cache = w->cache,
		.catalog = w->catalog,
		.reader = w->reader,
		.scrub = w->scrub,
		.agent = w->agent,
		.counters = counters,
		.upgrade = on_upgrade,
		.ctx = w,
		.starts = w->session->started,
		.fallback = w->fallback,
	};

	return control_new(&cfg, &w->control, e);
}

int worker_bring_up(struct worker *w, struct err *e)
{
	int r = pool_new("verify", 0, &w->pool);

	if (r == 0)
		r = pool_new("store", STORE_THREADS, &w->store);
	if (r < 0)
		return err_set(e, -r, "threads: %s", strerror(-r));
	r = open_cache(w, e);
	if (r == 0)
		r = worker_check_store(w, e);
	if (r == 0)
		r = open_origin(w, e);
	if (r == 0)
		r = open_reader(w, e);
	/* Before anybody may evict what files are open of. */
	if (r == 0)
		r = open_kernel(w, e);
	if (r == 0)
		r = open_agent(w, e);
	if (r == 0)
		r = worker_first_contact(w, e);
	if (r < 0)
		return r;
	lock_take(&w->gate);
	w->kernel = w->made;
	lock_give(&w->gate);
	reader_resume(w->reader);
	r = start_scrub(w, e);
	return r < 0 ? r : open_control(w, e);
}

/* ---- the end ------------------------------------------------------------- */

/*
 * Against the order of bring_up: first those that ask, so that nobody is left
 * to wait for those that answer. Nothing here waits for the origin.
 */
void worker_take_down(struct worker *w)
{
	struct agent *a;
	struct kernel *k = w->made;

	control_free(w->control);
	scrub_free(w->scrub);
	lock_take(&w->gate);
	a = TAKE(w->agent);
	w->kernel = NULL;
	lock_give(&w->gate);
	if (k)
		kernel_stop(k);
	agent_free(a);
	reader_free(w->reader);
	if (w->fetch)
		fetch_free(w->fetch);
	if (w->http)
		http_free(w->http);
	if (w->sources)
		sources_free(w->sources);
	pool_free(w->pool);
	pool_free(w->store);
	if (w->cache)
		cache_flush(w->cache);
	if (w->catalog)
		catalog_close(w->catalog);
	if (w->cache)
		cache_close(w->cache);
	kernel_free(k);
}
