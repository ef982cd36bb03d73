/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.c - its life, from the start to the umount.
 *
 *	options, cache's owner, user		still root, one thread
 *	a child that notifies the kernel	fs/kernel/notifier.c
 *	cache, catalog				what is held already
 *	sources, fetch, reader, agent		the origin, if it is there
 *	"ready" .. mount(2) .. "mounted"	by the supervisor
 *	kernel: INIT, requests ...		until the umount
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
#include <unistd.h>

#include "common/log.h"
#include "common/pulse.h"
#include "fs/dump.h"
#include "fs/kernel/kernel.h"
#include "fs/link.h"
#include "fs/locks.h"
#include "fs/session.h"
#include "fs/supervisor/wire.h"
#include "fs/worker_state.h"

/* A start or an end that takes longer is a hang. */
#define STEP_MAX_NS (300 * NS_PER_S)

/* ---- what the supervisor asks -------------------------------------------- */

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

/* ---- its life ------------------------------------------------------------ */

static void on_serving(void *ctx)
{
	struct worker *w = ctx;

	log_info("worker", "serving %s from %s as %s", w->mountpoint,
		 w->source, w->o.name);
	set_serving(w, true);
	link_tell(w->link, MSG_SERVING, w->warning);
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
		r = worker_settle(w, options, &e);
	if (r == 0) {
		r = link_new(&link, &w->link);
		if (r < 0)
			err_set(&e, -r, "threads: %s", strerror(-r));
	}
	if (r == 0)
		r = worker_bring_up(w, &e);
	if (r < 0)
		tell_error(e.text);
	else
		r = serve(w);
	worker_take_down(w);
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
