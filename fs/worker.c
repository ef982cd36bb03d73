/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.c - puts the parts together, in order, and takes them apart.
 *
 *	options, cache's owner, user		still root, one thread
 *	cache, catalog				what is held already
 *	sources, fetch, reader, agent		the origin, if it is there
 *	"ready" .. mount(2) .. "mounted"	by the supervisor
 *	kernel: INIT, requests ...		until the umount
 *
 * The origin need not be there: then the mount serves what the cache holds,
 * with a warning. Only an answer that shows a mistake (another store's cache,
 * a wrong key, at the very first contact anything that is no stagefs origin)
 * fails the mount. A worker that follows a dead one asks nothing: readers
 * wait for it.
 */
#include "fs/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/lock.h"
#include "common/log.h"
#include "common/names.h"
#include "common/pulse.h"
#include "fs/agent/agent.h"
#include "fs/cage.h"
#include "fs/dump.h"
#include "fs/fetch/http.h"
#include "fs/kernel/kernel.h"
#include "fs/kernel/opens.h"
#include "fs/link.h"
#include "fs/locks.h"
#include "fs/options.h"
#include "fs/privilege.h"
#include "fs/read/scrub.h"
#include "fs/session.h"
#include "fs/status/control.h"
#include "fs/supervisor/wire.h"

#define JUST_READ_MS 60000 /* C4 */
#define FLUSH_MS 1000
#define CONTACT_MS 5000	  /* nothing is cached: worth a wait */
#define CONTACT_AGAIN_MS 2000
#define CACHE_BUSY_MS 3000 /* the last mount of it may be on its way out */
#define STEP_MS 50
#define STORE_THREADS 2
#define MIN_FREE_BYTES (UINT64_C(1) << 30)
/* A start or an end that takes longer is a hang. */
#define STEP_MAX_NS (300 * NS_PER_S)

struct worker {
	/* set once */
	const char *mountpoint, *source;
	bool fallback; /* an upgrade has failed */
	struct link *link;
	struct mount_options o;
	struct session_area *session;
	struct sign_public pin;
	bool pinned;
	char warning[512];

	struct pool *pool;  /* hashing, and what else is short */
	struct pool *store; /* writes: a slow disk must not hold up hashing */
	struct cache *cache;
	struct catalog *catalog;
	struct sources *sources;
	struct http *http;
	struct fetch *fetch;
	struct reader *reader;
	struct scrub *scrub; /* NULL: off */
	struct control *control;
	struct kernel *made; /* the kernel's side, from its making on */

	/* Callbacks come before these are there and after they have gone.
	 * Held over the calls: they only note and queue. */
	struct lock gate;
	struct agent *agent;
	struct kernel *kernel;
	bool serving;
	uint64_t step_ns; /* since when it starts, or ends */

	int stuck_tid; /* link's thread only: told of already, or 0 */
};

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = STEP_MS * NS_PER_MS}, NULL);
}

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

/* ---- what the supervisor asks --------------------------------------------- */

/* One thread that hangs is enough: sooner or later all wait for it. One whose
 * disk is slow may look like it, and so may those that wait for it. */
static bool is_well(void *ctx)
{
	struct worker *w = ctx;
	struct pulse_stuck stuck;

	if (pulse_find_stuck(&stuck) && !dump_at_disk()) {
		if (stuck.tid != w->stuck_tid)
			log_err("worker", "thread %d %s %s %" PRIu64 " ms",
				stuck.tid, stuck.name,
				stuck.on_lock ? "has waited for a lock for"
					      : "is overdue by",
				stuck.ns / NS_PER_MS);
		w->stuck_tid = stuck.tid;
		return false;
	}
	w->stuck_tid = 0;
	LOCK_SCOPE(&w->gate);
	return w->serving || clock_mono_ns() - w->step_ns < STEP_MAX_NS;
}

static void on_end(void *ctx)
{
	struct worker *w = ctx;
	LOCK_SCOPE(&w->gate);

	if (w->kernel)
		kernel_drain(w->kernel);
}

static void set_serving(struct worker *w, bool serving)
{
	LOCK_SCOPE(&w->gate);

	w->serving = serving;
	w->step_ns = clock_mono_ns();
}

/* ---- start: still root, one thread ---------------------------------------- */

static int default_name(struct worker *w, struct err *e)
{
	char host[256] = "";
	int r;

	if (w->o.name[0])
		return 0;
	gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = 0;
	r = name_check_server(host, e);
	if (r < 0)
		return err_prefix(e, -r, "the host name is not usable as the "
				  "server's name: give name=");
	snprintf(w->o.name, sizeof(w->o.name), "%.*s",
		 (int)sizeof(w->o.name) - 1, host);
	return 0;
}

static void default_min_free(struct worker *w)
{
	struct statvfs v;

	if (w->o.min_free_bytes != OPTIONS_MIN_FREE_AUTO)
		return;
	w->o.min_free_bytes = MIN_FREE_BYTES;
	if (statvfs(w->o.cache, &v) == 0 &&
	    v.f_blocks * v.f_frsize / 20 < MIN_FREE_BYTES)
		w->o.min_free_bytes = v.f_blocks * v.f_frsize / 20;
}

static int settle(struct worker *w, const char *options, struct err *e)
{
	struct identity id;
	char stands[CAGE_TEXT];
	int r;

	r = mount_options_parse(options, &w->o, e);
	if (r == 0)
		r = default_name(w, e);
	if (r == 0)
		r = identity_find(w->o.user, OPTIONS_USER_DEFAULT, &id, e);
	if (r == 0)
		r = sources_new(w->source, &w->sources, e);
	if (r == 0 && w->o.key[0]) {
		r = sign_public_load(w->o.key, &w->pin, e);
		if (r < 0)
			err_prefix(e, -r, "option key");
		w->pinned = r == 0;
	}
	if (r == 0)
		r = identity_own(&id, w->o.cache, e);
	if (r < 0)
		return r;
	default_min_free(w);
	raise_file_limit();
	log_set_debug(w->o.debug);
	/* For what does not fit in its memory: nothing else may be written. */
	setenv("SQLITE_TMPDIR", w->o.cache, 1);
	r = cage_enter(&(struct cage){.who = &id,
				      .cache = w->o.cache,
				      .ca = w->o.ca},
		       stands, e);
	if (r == 0)
		log_info("worker", "caged: %s", stands);
	return r;
}

/* ---- start: the parts ------------------------------------------------------ */

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
		nap();
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

/* Is the cache's store the catalog's? Notes it at the first contact. */
static int check_store(struct worker *w, struct err *e)
{
	CLEAN_FREE char *kept = NULL;
	char store[UUID_TEXT];
	int r;

	catalog_store(w->catalog, store);
	if (!store[0])
		return 0;
	r = cache_meta_get(w->cache, "store", &kept);
	if (r == -ENOENT)
		r = cache_meta_set(w->cache, "store", store);
	if (r < 0)
		return err_set(e, -r, "cache %s: %s", w->o.cache,
			       strerror(-r));
	if (kept && strcmp(kept, store))
		return err_set(e, EXDEV,
			       "cache %s belongs to another origin (store %s, "
			       "this one is %s): give another cache=",
			       w->o.cache, kept, store);
	return 0;
}

/* Waits while there is hope of an answer. */
static int await_catalog(struct worker *w, uint32_t ms, struct err *e)
{
	uint64_t until = clock_mono_ns() + ms * NS_PER_MS;
	int r;

	do
		r = agent_wait_catalog(w->agent, STEP_MS, e);
	while (r == -ETIMEDOUT && sources_reachable(w->sources) &&
	       clock_mono_ns() < until);
	return r;
}

/* An answer that no waiting mends. Later ones may be of a proxy in between;
 * at the first contact it is the wrong URL. */
static bool is_mistake(int error, bool first_contact)
{
	switch (-error) {
	case 0:
	case ETIMEDOUT:
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ECANCELED:
		return false;
	default:
		return first_contact;
	}
}

static int first_contact(struct worker *w, struct err *e)
{
	bool first = catalog_revision(w->catalog) == 0;
	int r;

	if (w->session->started > 1)
		return 0;
	r = await_catalog(w, first ? CONTACT_MS : CONTACT_AGAIN_MS, e);
	if (r == -EKEYREJECTED && w->pinned)
		return err_prefix(e, -r, "key=%s is not this origin's "
				  "(its key.pub is in the store)", w->o.key);
	if (r == -EKEYREJECTED)
		return err_prefix(e, -r,
				  "cache %s is of another origin (give another "
				  "cache=), or the origin has a new key (remove "
				  "key.pub and catalog there to trust it)",
				  w->o.cache);
	if (r == -EXDEV && !first)
		return err_prefix(e, -r,
				  "cache %s is of another origin (give another "
				  "cache=)",
				  w->o.cache);
	if (is_mistake(r, first))
		return r;
	if (r < 0) {
		snprintf(w->warning, sizeof(w->warning),
			 "%.400s: mounted with %s", e->text,
			 first ? "nothing to show until it answers"
			       : "what the cache holds");
		log_warn("worker", "%s", w->warning);
	}
	return check_store(w, e);
}

static int bring_up(struct worker *w, struct err *e)
{
	int r = pool_new("verify", 0, &w->pool);

	if (r == 0)
		r = pool_new("store", STORE_THREADS, &w->store);
	if (r < 0)
		return err_set(e, -r, "threads: %s", strerror(-r));
	r = open_cache(w, e);
	if (r == 0)
		r = check_store(w, e);
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
		r = first_contact(w, e);
	if (r < 0)
		return r;
	lock_take(&w->gate);
	w->kernel = w->made;
	lock_give(&w->gate);
	reader_resume(w->reader);
	r = start_scrub(w, e);
	return r < 0 ? r : open_control(w, e);
}

/* ---- the end ---------------------------------------------------------------- */

/*
 * Against the order of bring_up: first those that ask, so that nobody is left
 * to wait for those that answer. Nothing here waits for the origin.
 */
static void take_down(struct worker *w)
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

static void on_serving(void *ctx)
{
	struct worker *w = ctx;
	char text[sizeof(w->warning) + 1];

	log_info("worker", "serving %s from %s as %s", w->mountpoint,
		 w->source, w->o.name);
	set_serving(w, true);
	snprintf(text, sizeof(text), "%c%s",
		 kernel_can_repeat(w->kernel) ? 'R' : '-', w->warning);
	link_tell(w->link, MSG_SERVING, text);
}

static int serve(struct worker *w)
{
	enum link_end end;
	int r;

	link_tell(w->link, MSG_READY, "");
	r = link_await_mounted(w->link);
	if (r == 0)
		r = kernel_serve(w->kernel, on_serving, w);
	set_serving(w, false);
	end = link_ended(w->link);
	if (end == LINK_DRAIN) {
		log_info("worker", "making way for another worker");
		kernel_hand_over(w->kernel);
	} else if (r < 0 && end == LINK_ON) {
		log_err("worker", "serving ended: %s", strerror(-r));
		return r;
	} else {
		log_info("worker", "%s: the end", w->mountpoint);
	}
	return end == LINK_GONE ? -EPIPE : 0;
}

/* The mount is told why not; also if it is too early for a link. */
static void tell_error(const char *text)
{
	char line[SUPERVISOR_MESSAGE_MAX_BYTES];
	int n = snprintf(line, sizeof(line), "%c%.1000s", MSG_ERROR, text);

	log_err("worker", "%s", text);
	if (send(SUPERVISOR_LINK_FD, line, (size_t)n, MSG_NOSIGNAL) < 0)
		log_warn("worker", "supervisor: %s", strerror(errno));
}

static int run(struct worker *w, const char *options)
{
	const struct link_config link = {.fd = SUPERVISOR_LINK_FD,
					 .well = is_well,
					 .end = on_end,
					 .ctx = w};
	struct err e = {""};
	int r;

	lock_init(&w->gate, LOCK_WORKER);
	w->step_ns = clock_mono_ns();
	r = session_map(SUPERVISOR_SESSION_FD, &w->session);
	if (r < 0)
		err_set(&e, -r, "session area: %s", strerror(-r));
	if (r == 0)
		r = settle(w, options, &e);
	if (r == 0) {
		r = link_new(&link, &w->link);
		if (r < 0)
			err_set(&e, -r, "threads: %s", strerror(-r));
	}
	if (r == 0)
		r = bring_up(w, &e);
	if (r < 0)
		tell_error(e.text);
	else
		r = serve(w);
	take_down(w);
	link_free(w->link);
	lock_destroy(&w->gate);
	return r < 0;
}

static int run_worker(struct cli_context *c)
{
	struct worker w = {
		.mountpoint = cli_value(c, "mountpoint"),
		.source = cli_value(c, "source"),
		.fallback = cli_flag(c, "fallback"),
	};
	const char *options = cli_value(c, "options");
	const char *stuck = getenv("STAGEFS_STUCK_MS"); /* for tests */

	if (cli_value(c, "dump"))
		return dump_process(atoi(cli_value(c, "dump"))) < 0;
	if (!w.mountpoint || !w.source)
		return cli_usage(c, "is started by mount.stagefs only");
	/* They came through exec, and go no further. */
	for (int fd = SUPERVISOR_FUSE_FD; fd <= SUPERVISOR_SESSION_FD; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* Its end is the umount; signals are for the supervisor, also when
	 * somebody sends them to all of a unit's processes. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (stuck)
		pulse_set_limit(strtoull(stuck, NULL, 10) * NS_PER_MS);
	dump_prepare();
	return run(&w, options ? options : "");
}

static const struct cli_option worker_options[] = {
	{"mountpoint", 0, "DIR", "absolute path of the mount point"},
	{"source", 0, "URLS", "origins, separated by commas"},
	{"options", 'o', "OPTIONS", "mount options"},
	{"fallback", 0, NULL, "in place of a newer one that does not run"},
	{"dump", 0, "PID", "describe what this worker does"},
	{0},
};

const struct cli_verb verb_worker = {
	.name = "worker",
	.summary = "serve a mount (started by mount.stagefs)",
	.option = worker_options,
	.run = run_worker,
	.hidden = true,
};
