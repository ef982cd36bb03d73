/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve.c - `serve`: the daemon. Its main thread parses the options, starts
 * the others, ticks the pacing and waits for a signal.
 *
 * What it was started with is kept in the store's settings, so that `plan
 * check` reckons with the same rates as the daemon. An option that is not
 * given this time is not kept from last time: the unit file is the truth.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"
#include "origin/cli/verbs.h"
#include "origin/db/settings.h"
#include "origin/http/pace.h"
#include "origin/http/scheduling.h"
#include "origin/http/server.h"
#include "origin/schedule/rates.h"

#define LISTEN_DEFAULT "0.0.0.0:8420"
#define NUMBER_MAX 1000000

static const struct cli_option serve_options[] = {
	{"listen", 'l', "HOST:PORT[,...]",
	 "where to listen (default: " LISTEN_DEFAULT "); [::]:8420 for IPv6"},
	{"prefetch-rate", 0, "TABLE",
	 "most that all prefetch together may take, by time of day, as "
	 "\"08:00 200M/s, 20:00 unlimited\" (default: unlimited)"},
	{"link", 0, "IF=RATE",
	 "interface and what it can carry, as eth0=10Gbit/s; prefetch takes "
	 "what others leave of it"},
	{"demand-rate", 0, "RATE",
	 "most that readers' own fetches together may take (default: "
	 "unlimited)"},
	{"lead", 0, "SPAN",
	 "the plan starts a transfer so long before it is due (default: 24h), "
	 "or earlier if the rates ask for it"},
	{"margin", 0, "PERCENT",
	 "more bytes that the plan reckons with (default: 20%)"},
	{"margin-time", 0, "SPAN",
	 "and how much earlier than that it is to be there (default: 5m)"},
	{"hold", 0, "SPAN",
	 "how long a staged image is held after its time if the plan does not "
	 "say (default: 24h)"},
	{"history", 0, "SPAN",
	 "how long finished orders and jobs and the log are kept (default: "
	 "90d, at least 1d)"},
	{"assumed-rate", 0, "RATE",
	 "what a transfer is assumed to get where nothing limits it (default: "
	 "100M/s)"},
	{"threads", 0, "N", "threads that serve (default: one per processor)"},
	{"max-connections", 0, "N", "more are answered 503 (default: 4096)"},
	{"max-per-address", 0, "N",
	 "more of one address are answered 503 (default: half of "
	 "--max-connections)"},
	{"debug", 0, "COMPONENTS",
	 "log more of these, as http,schedule; http logs each request"},
	{0},
};

struct options {
	const char *listen, *prefetch_rate;
	const char *lead, *margin, *margin_time, *hold, *history,
		*assumed_rate;
	char link_if[32];
	char link_rate[64];
	uint64_t link_bps, demand_bps;
	unsigned threads, max_connections, max_per_address;
};

/* ---- options ----------------------------------------------------------- */

static int take_number(struct cli_context *c, const char *name, unsigned *ret)
{
	const char *text = cli_value(c, name);
	unsigned long v;
	char *end;

	if (!text)
		return 0;
	v = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || v == 0 || v > NUMBER_MAX)
		return cli_usage(c, "--%s: '%s' is not a number from 1 to %d",
				 name, text, NUMBER_MAX);
	*ret = (unsigned)v;
	return 0;
}

static int take_link(struct cli_context *c, struct options *o)
{
	const char *text = cli_value(c, "link");
	const char *equals = text ? strchr(text, '=') : NULL;
	struct err e;
	size_t n;

	if (!text)
		return 0;
	n = equals ? (size_t)(equals - text) : 0;
	if (n == 0 || n >= sizeof(o->link_if) ||
	    strlen(equals + 1) >= sizeof(o->link_rate))
		return cli_usage(c, "--link: '%s' is not of the form IF=RATE, "
				 "as eth0=10Gbit/s", text);
	memcpy(o->link_if, text, n);
	o->link_if[n] = '\0';
	strcpy(o->link_rate, equals + 1);
	if (units_parse_rate(o->link_rate, &o->link_bps, &e))
		return cli_usage(c, "--link: %s", e.text);
	if (o->link_bps == 0 || o->link_bps == RATE_UNLIMITED)
		return cli_usage(c, "--link: no interface carries '%s'",
				 o->link_rate);
	return 0;
}

static int take_rates(struct cli_context *c, struct options *o)
{
	const char *demand = cli_value(c, "demand-rate");
	struct rates table;
	struct err e;

	o->prefetch_rate = cli_value(c, "prefetch-rate");
	if (rates_parse(o->prefetch_rate, "", &table, &e))
		return cli_usage(c, "--prefetch-rate: %s", e.text);
	o->demand_bps = RATE_UNLIMITED;
	if (demand && units_parse_rate(demand, &o->demand_bps, &e))
		return cli_usage(c, "--demand-rate: %s", e.text);
	if (o->demand_bps == 0)
		return cli_usage(c, "--demand-rate: readers need more than 0");
	return 0;
}

static int take_span(struct cli_context *c, const char *name, int64_t least_s,
		     int64_t most_s, const char **ret)
{
	struct err e;
	uint64_t ms;

	*ret = cli_value(c, name);
	if (!*ret)
		return 0;
	if (units_parse_span(*ret, &ms, &e))
		return cli_usage(c, "--%s: %s", name, e.text);
	if (ms < (uint64_t)least_s * 1000 || ms > (uint64_t)most_s * 1000)
		return cli_usage(c, "--%s: '%s' is not between %lldd and "
				 "%lldd", name, *ret,
				 (long long)(least_s / 86400),
				 (long long)(most_s / 86400));
	return 0;
}

static int take_margin(struct cli_context *c, struct options *o)
{
	double part;
	char *end;

	o->margin = cli_value(c, "margin");
	if (!o->margin)
		return 0;
	part = strtod(o->margin, &end);
	if (end == o->margin || (*end && strcmp(end, "%") != 0) ||
	    !(part >= 0 && part <= 1000))
		return cli_usage(c, "--margin: '%s' is not a percentage from 0 "
				 "to 1000", o->margin);
	return 0;
}

static int take_assumed_rate(struct cli_context *c, struct options *o)
{
	struct err e;
	uint64_t bps;

	o->assumed_rate = cli_value(c, "assumed-rate");
	if (!o->assumed_rate)
		return 0;
	if (units_parse_rate(o->assumed_rate, &bps, &e))
		return cli_usage(c, "--assumed-rate: %s", e.text);
	if (bps == 0 || bps == RATE_UNLIMITED)
		return cli_usage(c, "--assumed-rate: '%s' cannot be planned "
				 "with", o->assumed_rate);
	return 0;
}

static int take_plan_options(struct cli_context *c, struct options *o)
{
	const int64_t most_s = SETTING_SPAN_MAX_S;
	int r = take_span(c, "lead", 0, most_s, &o->lead);

	if (!r)
		r = take_span(c, "margin-time", 0, most_s, &o->margin_time);
	if (!r)
		r = take_span(c, "hold", 0, most_s, &o->hold);
	if (!r)
		r = take_span(c, "history", SETTING_HISTORY_MIN_S,
			      SETTING_HISTORY_MAX_S, &o->history);
	if (!r)
		r = take_margin(c, o);
	if (!r)
		r = take_assumed_rate(c, o);
	return r;
}

static int take_debug(struct cli_context *c)
{
	static const char *const parts[] = {"all", "http", "libevent",
					    "schedule", "serve", "store"};
	const size_t n_parts = sizeof(parts) / sizeof(parts[0]);
	const char *list = cli_value(c, "debug");
	size_t n, i;

	for (const char *p = list; p; p = p[n] ? p + n + 1 : NULL) {
		n = strcspn(p, ",");
		for (i = 0; i < n_parts; i++)
			if (strlen(parts[i]) == n && !memcmp(parts[i], p, n))
				break;
		if (i == n_parts)
			return cli_usage(c, "--debug: '%.*s' is none of http, "
					 "libevent, schedule, serve, store, "
					 "all", (int)n, p);
	}
	log_set_debug(list);
	return 0;
}

static int take_options(struct cli_context *c, struct options *o)
{
	int r;

	o->listen = cli_value(c, "listen");
	if (!o->listen)
		o->listen = LISTEN_DEFAULT;
	r = take_link(c, o);
	if (!r)
		r = take_rates(c, o);
	if (!r)
		r = take_plan_options(c, o);
	if (!r)
		r = take_number(c, "threads", &o->threads);
	if (!r)
		r = take_number(c, "max-connections", &o->max_connections);
	if (!r)
		r = take_number(c, "max-per-address", &o->max_per_address);
	if (!r)
		r = take_debug(c);
	return r;
}

static int keep_settings(struct db *db, const struct options *o,
			 struct err *e)
{
	const struct {
		const char *name, *value;
	} setting[] = {
		{"prefetch_rate", o->prefetch_rate},
		{"link", o->link_rate},
		{"link_interface", o->link_if},
		{"lead", o->lead},
		{"margin", o->margin},
		{"margin_time", o->margin_time},
		{"hold", o->hold},
		{"history", o->history},
		{"assumed_rate", o->assumed_rate},
	};
	const size_t n = sizeof(setting) / sizeof(setting[0]);
	int r;

	r = db_begin(db, e);
	for (size_t i = 0; i < n && !r; i++)
		r = origindb_set(db, setting[i].name,
				 setting[i].value ? setting[i].value : "", e);
	return db_end(db, r, e);
}

/* ---- sd_notify(3), by hand --------------------------------------------- */

static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	CLEAN_FD int fd = -1;
	size_t n;

	if (!path || (path[0] != '/' && path[0] != '@'))
		return;
	n = strlen(path);
	if (n >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path, n);
	if (path[0] == '@')
		a.sun_path[0] = '\0'; /* abstract */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    sendto(fd, state, strlen(state), MSG_NOSIGNAL,
		   (struct sockaddr *)&a,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) <
		    0)
		log_warn("serve", "cannot tell systemd '%s': %s", state,
			 strerror(errno));
}

/* ---- running ----------------------------------------------------------- */

struct daemon {
	struct store *store;
	struct pacing *pacing;
	struct http_server *http;
	struct scheduling *scheduling;
};

static void schedule_ran(void *http)
{
	http_server_wake(http);
}

/*
 * Settings are kept when it is sure that this daemon will serve, and before
 * the schedule runs by them.
 */
static int start(struct daemon *d, struct db *db, const struct options *o,
		 struct err *e)
{
	struct pacing_config p = {.prefetch_rate = o->prefetch_rate,
				  .link_if = o->link_bps ? o->link_if : NULL,
				  .link_bps = o->link_bps,
				  .demand_bps = o->demand_bps};
	struct http_config h = {.store = d->store,
				.listen = o->listen,
				.n_threads = o->threads,
				.max_connections = o->max_connections,
				.max_per_address = o->max_per_address};
	struct scheduling_config s = {.store_dir = d->store->dir,
				      .ran = schedule_ran};
	int r;

	r = pacing_new(&p, clock_unix_s(), &d->pacing, e);
	if (r)
		return r;
	h.pacing = s.pacing = d->pacing;
	r = http_server_start(&h, &d->http, e);
	if (!r)
		r = keep_settings(db, o, e);
	if (r)
		return r;
	s.ctx = d->http;
	return scheduling_start(&s, &d->scheduling, e);
}

static void stop(struct daemon *d)
{
	scheduling_stop(d->scheduling);
	http_server_stop(d->http);
	pacing_free(d->pacing);
	store_close(d->store);
}

/* Until SIGTERM, SIGINT, or SIGHUP (the terminal it was started in is closed),
 * which all threads have blocked. */
static void tick_until_signal(struct daemon *d, const sigset_t *set)
{
	const struct timespec tick = {0, (long)(NS_PER_S / PACE_TICKS_PER_S)};
	int sig;

	do {
		sig = sigtimedwait(set, NULL, &tick);
		pacing_tick(d->pacing, clock_mono_ns(), clock_unix_s());
	} while (sig < 0);
	log_info("serve", "SIG%s: ending", sigabbrev_np(sig));
}

static int run_daemon(struct cli_context *c, struct daemon *d,
		      const struct options *o)
{
	CLEAN_DB struct db *db = NULL;
	struct err e;
	sigset_t set;
	int r = verb_open_store(c, &d->store, &db);

	if (r)
		return r;
	if (store_lock_serve(d->store, &e))
		return cli_fail(c, "%s", e.text);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	r = start(d, db, o, &e);
	if (r == -EINVAL) /* no address */
		return cli_usage(c, "%s", e.text);
	if (r)
		return cli_fail(c, "%s", e.text);
	notify("READY=1");
	tick_until_signal(d, &set);
	notify("STOPPING=1");
	return 0;
}

static int run_serve(struct cli_context *c)
{
	struct options o = {0};
	struct daemon d = {0};
	int r;

	r = take_options(c, &o);
	if (r)
		return r;
	r = run_daemon(c, &d, &o);
	stop(&d);
	return r;
}

const struct cli_verb verb_serve = {
	.name = "serve",
	.summary = "run the daemon that serves the production servers",
	.option = serve_options,
	.run = run_serve,
	.details =
		"Readers' own fetches go first: while any are served, prefetch "
		"gives way. With --link it takes what other traffic on the "
		"interface leaves; without, it falls to an eighth at once and "
		"recovers within seconds. Ends on SIGTERM, SIGINT and SIGHUP.",
};
