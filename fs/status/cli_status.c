/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_status.c - `stagefs status`: the answer for people, as JSON, or for
 * Prometheus. Metrics are the same figures, named once in a table.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/units.h"
#include "common/utf8.h"
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

/* ---- for Prometheus ---------------------------------------------------- */

static const struct {
	const char *part, *member, *name, *type, *help;
} metric[] = {
	{"cache", "capacity", "cache_capacity_bytes", "gauge",
	 "what may be stored"},
	{"cache", "used", "cache_used_bytes", "gauge", "what is stored"},
	{"cache", "reserved", "cache_reserved_bytes", "gauge",
	 "reserved for what is being fetched"},
	{"cache", "free", "cache_free_bytes", "gauge",
	 "to be had without evicting"},
	{"cache", "evictable", "cache_evictable_bytes", "gauge",
	 "neither open, just read nor held"},
	{"cache", "images", "images", "gauge", "images stored, also in part"},
	{"cache", "complete", "images_complete", "gauge",
	 "images stored whole"},
	{"cache", "evicted", "evicted_total", "counter", "images evicted"},
	{"cache", "evicted_bytes", "evicted_bytes_total", "counter",
	 "bytes evicted"},
	{"cache", "write_errors", "cache_write_errors_total", "counter",
	 "writes to the cache that failed"},
	{"cache", "bad_blocks", "cache_bad_blocks_total", "counter",
	 "stored blocks that were found bad"},
	{"cache", "repaired_blocks", "cache_repaired_blocks_total", "counter",
	 "of them, blocks stored again in place"},
	{"scrub", "bytes", "scrub_bytes_total", "counter",
	 "stored bytes that the scrub has read and compared"},
	{"scrub", "rounds", "scrub_rounds_total", "counter",
	 "rounds of the scrub over all that is stored"},
	{"scrub", "round_done", "scrub_round_done_bytes", "gauge",
	 "how far this round is"},
	{"scrub", "round_total", "scrub_round_bytes", "gauge",
	 "what it has to read"},
	{"catalog", "revision", "catalog_revision", "gauge",
	 "revision of the catalog"},
	{"catalog", "entries", "catalog_entries", "gauge",
	 "folders and images in the catalog"},
	{"reads", "stored", "reads_stored_total", "counter",
	 "reads answered from the cache by the worker"},
	{"reads", "stored_bytes", "reads_stored_bytes_total", "counter",
	 "bytes of them"},
	{"reads", "waited", "reads_waited_total", "counter",
	 "reads that waited for the origin"},
	{"reads", "waited_bytes", "reads_waited_bytes_total", "counter",
	 "bytes of them"},
	{"reads", "waited_ms", "reads_waited_milliseconds_total", "counter",
	 "how long they waited together"},
	{"reads", "failed", "reads_failed_total", "counter",
	 "reads that got an error"},
	{"reads", "timed_out", "reads_timed_out_total", "counter",
	 "reads that waited in vain"},
	{"reads", "parked", "reads_parked", "gauge", "reads that wait now"},
	{"fetched", "bad_blocks", "bad_blocks_total", "counter",
	 "blocks that did not match the manifest"},
	{"fetched", "retries", "fetch_retries_total", "counter",
	 "requests repeated"},
	{"fetched", "wrong_status", "fetch_wrong_status_total", "counter",
	 "answers that were no 206, 404 or 410"},
	{"fetched", "wrong_range", "fetch_wrong_range_total", "counter",
	 "answers with another range, or compressed"},
	{"fetched", "short_body", "fetch_wrong_length_total", "counter",
	 "bodies that were cut short or too long"},
	{"fetched", "stalls", "fetch_stalls_total", "counter",
	 "transfers that stood still"},
	{"fetched", "buffers", "fetch_buffers_bytes", "gauge",
	 "memory in block buffers"},
	{"agent", "orders", "orders_total", "counter", "orders received"},
	{"agent", "orders_failed", "orders_failed_total", "counter",
	 "orders that failed"},
	{"agent", "orders_refused", "orders_refused_total", "counter",
	 "lists of orders refused"},
	{"agent", "catalog_refused", "catalog_refused_total", "counter",
	 "catalogs refused"},
	{"agent", "descriptors", "descriptors_total", "counter",
	 "descriptors sent"},
};

/* By Prometheus's own custom. */
static const char *kind_of(const char *name)
{
	size_t n = strlen(name);

	return n > 6 && !strcmp(name + n - 6, "_total") ? "counter" : "gauge";
}

static void print_head(const char *name, const char *type, const char *help)
{
	printf("# HELP stagefs_%s %s\n# TYPE stagefs_%s %s\n", name, help,
	       name, type);
}

/* The value of a label: \, " and newline are escaped. */
static void print_label(const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			putchar('\\');
		if (*text == '\n')
			fputs("\\n", stdout);
		else
			putchar(*text);
	}
}

static void print_labelled(const char *name, const char *label,
			   const char *value, uint64_t v)
{
	printf("stagefs_%s{%s=\"", name, label);
	print_label(value);
	printf("\"} %" PRIu64 "\n", v);
}

static void print_by_class(const json_t *fetched, const char *member,
			   const char *name, const char *help)
{
	json_t *o = json_object_get(fetched, member), *v;
	const char *class_;

	print_head(name, "counter", help);
	json_object_foreach(o, class_, v)
		print_labelled(name, "class", class_,
			       (uint64_t)json_integer_value(v));
}

static void print_by_source(const json_t *o)
{
	const json_t *list = json_object_get(o, "sources"), *c;
	size_t i;

	print_head("source_reachable", "gauge", "1: the source answers");
	json_array_foreach(list, i, c)
		print_labelled("source_reachable", "url", ask_text(c, "url"),
			       ask_bool(c, "reachable"));
	print_head("source_failures_total", "counter",
		   "exchanges with the source that failed");
	json_array_foreach(list, i, c)
		print_labelled("source_failures_total", "url",
			       ask_text(c, "url"), ask_u64(c, "failures"));
	print_head("source_bad_blocks_total", "counter",
		   "wrong blocks and manifests that it sent");
	json_array_foreach(list, i, c)
		print_labelled("source_bad_blocks_total", "url",
			       ask_text(c, "url"), ask_u64(c, "bad_blocks"));
}

static void print_metrics(const json_t *o)
{
	const json_t *fetched = json_object_get(o, "fetched"), *c;
	size_t i;

	for (i = 0; i < sizeof(metric) / sizeof(metric[0]); i++) {
		const json_t *part = json_object_get(o, metric[i].part);

		if (!part)
			continue;
		print_head(metric[i].name, metric[i].type, metric[i].help);
		printf("stagefs_%s %" PRIu64 "\n", metric[i].name,
		       ask_u64(part, metric[i].member));
	}
	print_by_class(fetched, "bytes", "fetched_bytes_total",
		       "verified bytes fetched");
	print_by_class(fetched, "requests", "fetch_requests_total",
		       "range requests");
	print_by_source(o);
	json_array_foreach(json_object_get(o, "counters"), i, c) {
		print_head(ask_text(c, "name"), kind_of(ask_text(c, "name")),
			   ask_text(c, "help"));
		printf("stagefs_%s %" PRIu64 "\n", ask_text(c, "name"),
		       ask_u64(c, "value"));
	}
}

int status_run(struct cli_context *c)
{
	json_t *o = NULL;
	struct err e;
	int r = ask_mount(c->arg[0], "status", NULL, keep_line, &o, &e);

	if (!r && !o)
		r = err_set(&e, EPROTO, "the mount gave no status");
	if (!r && cli_flag(c, "metrics"))
		print_metrics(o);
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
