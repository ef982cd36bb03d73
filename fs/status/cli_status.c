/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_status.c - `stagefs status`: the answer for people, or as JSON. For
 * Prometheus: cli_metrics.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "fs/status/ask.h"
#include "fs/status/verbs.h"

const struct cli_option status_options[] = {
	{"json", 0, NULL, "print JSON"},
	{"metrics", 0, NULL, "print Prometheus text"},
	{0},
};

static int keep_line(void *ctx, const json_t *line)
{
	json_t **o = ctx;

	json_decref(*o);
	*o = json_deep_copy(line);
	return *o ? 0 : -ENOMEM;
}

/* ---- for people -------------------------------------------------------- */

static const char *size_of(const json_t *o, const char *name,
			   char out[UNITS_TEXT])
{
	return units_size(ask_u64(o, name), out);
}

static void print_sources(const json_t *list)
{
	char span[UNITS_TEXT], retry[UNITS_TEXT];
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		bool up = ask_bool(o, "reachable");

		printf("%-11s%s  %s", i ? "" : "source", ask_text(o, "url"),
		       up ? "reachable" : "unreachable");
		if (ask_u64(o, "since_ms"))
			printf(" for %s",
			       units_span(ask_u64(o, "since_ms"), span));
		if (!up)
			printf(", next try in %s: %s",
			       units_span(ask_u64(o, "retry_ms"), retry),
			       ask_text(o, "why"));
		if (ask_u64(o, "bad_blocks"))
			printf(", %" PRIu64 " bad blocks",
			       ask_u64(o, "bad_blocks"));
		putchar('\n');
	}
}

static void print_cache(const json_t *o)
{
	char a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT], d[UNITS_TEXT];

	printf("cache      %s of %s used, %s free, %s reserved",
	       size_of(o, "used", a), size_of(o, "capacity", b),
	       size_of(o, "free", c), size_of(o, "reserved", d));
	printf(", %s evictable\n", size_of(o, "evictable", a));
	printf("images     %" PRIu64 " stored, %" PRIu64 " of them complete\n",
	       ask_u64(o, "images"), ask_u64(o, "complete"));
	printf("evicted    %" PRIu64 " images, %s\n", ask_u64(o, "evicted"),
	       size_of(o, "evicted_bytes", a));
}

/* Bad blocks are the disk's: those that a source sent are errors below. */
static void print_scrub(const json_t *o, const json_t *cache)
{
	uint64_t done = ask_u64(o, "round_done");
	uint64_t total = ask_u64(o, "round_total");
	char span[UNITS_TEXT];

	printf("scrub      ");
	if (o)
		printf("%.1f%% of a round of %s",
		       total ? 100.0 * (double)done / (double)total : 0.0,
		       units_span(ask_u64(o, "span_ms"), span));
	else
		printf("off");
	printf("; %" PRIu64 " stored blocks were found bad, %" PRIu64
	       " of them repaired\n", ask_u64(cache, "bad_blocks"),
	       ask_u64(cache, "repaired_blocks"));
}

static void print_catalog(const json_t *o, const json_t *agent)
{
	char when[UNITS_TIME_TEXT];

	printf("catalog    revision %" PRIu64 ", %" PRIu64
	       " entries, last answer %s\n", ask_u64(o, "revision"),
	       ask_u64(o, "entries"),
	       units_time((int64_t)ask_u64(agent, "catalog_at"), when));
	printf("key        %s\n",
	       *ask_text(o, "key") ? ask_text(o, "key") : "none yet");
	if (*ask_text(agent, "last_refusal"))
		printf("refused    %s\n", ask_text(agent, "last_refusal"));
}

static void print_reads(const json_t *o)
{
	uint64_t waited = ask_u64(o, "waited");
	char a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT];

	printf("reads      %" PRIu64 " stored (%s), %" PRIu64
	       " waited (%s, %s on average)\n", ask_u64(o, "stored"),
	       size_of(o, "stored_bytes", a), waited,
	       size_of(o, "waited_bytes", b),
	       units_span(waited ? ask_u64(o, "waited_ms") / waited : 0, c));
	printf("           %" PRIu64 " parked now, %" PRIu64 " failed, %"
	       PRIu64 " timed out\n", ask_u64(o, "parked"),
	       ask_u64(o, "failed"), ask_u64(o, "timed_out"));
}

static void print_fetched(const json_t *o, const json_t *cache)
{
	const json_t *bytes = json_object_get(o, "bytes"), *v;
	const char *name, *sep = "";
	char a[UNITS_TEXT];

	printf("fetched    ");
	json_object_foreach((json_t *)bytes, name, v) {
		printf("%s%s %s", sep, name,
		       units_size((uint64_t)json_integer_value(v), a));
		sep = ", ";
	}
	printf("; %s now\n", units_rate(ask_u64(o, "rate"), a));
	printf("errors     %" PRIu64 " bad blocks, %" PRIu64 " wrong answers, %"
	       PRIu64 " cut short, %" PRIu64 " stalled, %" PRIu64 " retries, %"
	       PRIu64 " write errors\n", ask_u64(o, "bad_blocks"),
	       ask_u64(o, "wrong_status") + ask_u64(o, "wrong_range"),
	       ask_u64(o, "short_body"), ask_u64(o, "stalls"),
	       ask_u64(o, "retries"), ask_u64(cache, "write_errors"));
}

static const struct table_column order_columns[] = {
	{"ORDER", "number", TABLE_NUMBER, true},
	{"KIND", "what to do", TABLE_TEXT, true},
	{"STATE", "running, done or failed", TABLE_TEXT, true},
	{"NAME", "image", TABLE_TEXT, true},
	{"STORED", "bytes stored", TABLE_SIZE, true},
	{"SIZE", "size", TABLE_SIZE, true},
	{"MESSAGE", "why it failed", TABLE_TEXT, true},
	{0},
};

static void print_orders(const json_t *list)
{
	const struct table_options opt = {0};
	struct table *t;
	const json_t *o;
	size_t i;

	if (json_array_size(list) == 0 ||
	    table_new("orders", order_columns, &opt, &t, NULL))
		return;
	json_array_foreach(list, i, o) {
		void *row = table_row(t);

		table_u64(t, row, 0, ask_u64(o, "number"));
		table_text(t, row, 1, ask_text(o, "kind"));
		table_text(t, row, 2, ask_text(o, "state"));
		table_text(t, row, 3, ask_text(o, "name"));
		if (ask_u64(o, "size")) {
			table_u64(t, row, 4, ask_u64(o, "stored"));
			table_u64(t, row, 5, ask_u64(o, "size"));
		}
		table_text(t, row, 6, ask_text(o, "message"));
	}
	putchar('\n');
	table_print(t);
	table_free(t);
}

static uint64_t counter(const json_t *list, const char *name)
{
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
		if (strcmp(ask_text(o, "name"), name) == 0)
			return ask_u64(o, "value");
	return 0;
}

static void print_opens(const json_t *list)
{
	printf("open       %" PRIu64 " images, %" PRIu64
	       " of them read by the kernel itself\n",
	       counter(list, "open_images"),
	       counter(list, "open_images_passthrough"));
	printf("           %" PRIu64 " opened so far, %" PRIu64
	       " of them like that\n", counter(list, "opens_total"),
	       counter(list, "opens_passthrough_total"));
}

static void print_status(const json_t *o)
{
	const json_t *cache = json_object_get(o, "cache");

	printf("mount      %s\n", ask_text(o, "mount"));
	printf("name       %s\n", ask_text(o, "name"));
	print_sources(json_object_get(o, "sources"));
	print_catalog(json_object_get(o, "catalog"),
		      json_object_get(o, "agent"));
	print_cache(cache);
	print_scrub(json_object_get(o, "scrub"), cache);
	print_reads(json_object_get(o, "reads"));
	print_fetched(json_object_get(o, "fetched"), cache);
	print_opens(json_object_get(o, "counters"));
	print_orders(json_object_get(o, "orders"));
}

int status_run(struct cli_context *c)
{
	json_t *o = NULL;
	struct err e;
	int r = ask_mount(c->arg[0], "status", NULL, keep_line, &o, &e);

	if (!r && !o)
		r = err_set(&e, EPROTO, "the mount gave no status");
	if (!r && cli_flag(c, "metrics"))
		metrics_print(o);
	else if (!r && cli_flag(c, "json"))
		json_dumpf(o, stdout, JSON_INDENT(3)), putchar('\n');
	else if (!r)
		print_status(o);
	json_decref(o);
	if (r)
		return cli_fail(c, "%s", e.text);
	if (fflush(stdout))
		return cli_fail(c, "cannot write: %s", strerror(errno));
	return 0;
}
