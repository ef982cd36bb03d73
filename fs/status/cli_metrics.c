/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_metrics.c - `stagefs status --metrics`: the figures of the status, named
 * once more in a table, as Prometheus reads them.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "fs/status/ask.h"
#include "fs/status/verbs.h"

static const struct {
	const char *part, *member, *name, *help;
} metric[] = {
	{"cache", "capacity", "cache_capacity_bytes", "what may be stored"},
	{"cache", "used", "cache_used_bytes", "what is stored"},
	{"cache", "reserved", "cache_reserved_bytes",
	 "reserved for what is being fetched"},
	{"cache", "free", "cache_free_bytes", "to be had without evicting"},
	{"cache", "evictable", "cache_evictable_bytes",
	 "neither open, just read nor held"},
	{"cache", "images", "images", "images stored, also in part"},
	{"cache", "complete", "images_complete", "images stored whole"},
	{"cache", "evicted", "evicted_total", "images evicted"},
	{"cache", "evicted_bytes", "evicted_bytes_total", "bytes evicted"},
	{"cache", "write_errors", "cache_write_errors_total",
	 "writes to the cache that failed"},
	{"cache", "bad_blocks", "cache_bad_blocks_total",
	 "stored blocks that were found bad"},
	{"cache", "repaired_blocks", "cache_repaired_blocks_total",
	 "of them, blocks stored again in place"},
	{"scrub", "bytes", "scrub_bytes_total",
	 "stored bytes that the scrub has read and compared"},
	{"scrub", "rounds", "scrub_rounds_total",
	 "rounds of the scrub over all that is stored"},
	{"scrub", "round_done", "scrub_round_done_bytes",
	 "how far this round is"},
	{"scrub", "round_total", "scrub_round_bytes", "what it has to read"},
	{"catalog", "revision", "catalog_revision", "revision of the catalog"},
	{"catalog", "entries", "catalog_entries",
	 "folders and images in the catalog"},
	{"reads", "stored", "reads_stored_total",
	 "reads answered from the cache by the worker"},
	{"reads", "stored_bytes", "reads_stored_bytes_total", "bytes of them"},
	{"reads", "waited", "reads_waited_total",
	 "reads that waited for the origin"},
	{"reads", "waited_bytes", "reads_waited_bytes_total", "bytes of them"},
	{"reads", "waited_ms", "reads_waited_milliseconds_total",
	 "how long they waited together"},
	{"reads", "failed", "reads_failed_total", "reads that got an error"},
	{"reads", "timed_out", "reads_timed_out_total",
	 "reads that waited in vain"},
	{"reads", "parked", "reads_parked", "reads that wait now"},
	{"fetched", "bad_blocks", "bad_blocks_total",
	 "blocks that did not match the manifest"},
	{"fetched", "retries", "fetch_retries_total", "requests repeated"},
	{"fetched", "wrong_status", "fetch_wrong_status_total",
	 "answers that were no 206, 404 or 410"},
	{"fetched", "wrong_range", "fetch_wrong_range_total",
	 "answers with another range, or compressed"},
	{"fetched", "short_body", "fetch_wrong_length_total",
	 "bodies that were cut short or too long"},
	{"fetched", "stalls", "fetch_stalls_total",
	 "transfers that stood still"},
	{"fetched", "buffers", "fetch_buffers_bytes",
	 "memory in block buffers"},
	{"agent", "orders", "orders_total", "orders received"},
	{"agent", "orders_failed", "orders_failed_total", "orders that failed"},
	{"agent", "orders_refused", "orders_refused_total",
	 "lists of orders refused"},
	{"agent", "catalog_refused", "catalog_refused_total",
	 "catalogs refused"},
	{"agent", "descriptors", "descriptors_total", "descriptors sent"},
};

/* Which kind it is the name says, by Prometheus's own custom. */
static void print_head(const char *name, const char *help)
{
	size_t n = strlen(name);
	bool counts = n > 6 && !strcmp(name + n - 6, "_total");

	printf("# HELP stagefs_%s %s\n# TYPE stagefs_%s %s\n", name, help,
	       name, counts ? "counter" : "gauge");
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

	print_head(name, help);
	json_object_foreach(o, class_, v)
		print_labelled(name, "class", class_,
			       (uint64_t)json_integer_value(v));
}

static void print_by_source(const json_t *o)
{
	const json_t *list = json_object_get(o, "sources"), *c;
	size_t i;

	print_head("source_reachable", "1: the source answers");
	json_array_foreach(list, i, c)
		print_labelled("source_reachable", "url", ask_text(c, "url"),
			       ask_bool(c, "reachable"));
	print_head("source_failures_total",
		   "exchanges with the source that failed");
	json_array_foreach(list, i, c)
		print_labelled("source_failures_total", "url",
			       ask_text(c, "url"), ask_u64(c, "failures"));
	print_head("source_bad_blocks_total",
		   "wrong blocks and manifests that it sent");
	json_array_foreach(list, i, c)
		print_labelled("source_bad_blocks_total", "url",
			       ask_text(c, "url"), ask_u64(c, "bad_blocks"));
}

void metrics_print(const json_t *o)
{
	const json_t *fetched = json_object_get(o, "fetched"), *c;
	size_t i;

	for (i = 0; i < sizeof(metric) / sizeof(metric[0]); i++) {
		const json_t *part = json_object_get(o, metric[i].part);

		if (!part)
			continue;
		print_head(metric[i].name, metric[i].help);
		printf("stagefs_%s %" PRIu64 "\n", metric[i].name,
		       ask_u64(part, metric[i].member));
	}
	print_by_class(fetched, "bytes", "fetched_bytes_total",
		       "verified bytes fetched");
	print_by_class(fetched, "requests", "fetch_requests_total",
		       "range requests");
	print_by_source(o);
	json_array_foreach(json_object_get(o, "counters"), i, c) {
		print_head(ask_text(c, "name"), ask_text(c, "help"));
		printf("stagefs_%s %" PRIu64 "\n", ask_text(c, "name"),
		       ask_u64(c, "value"));
	}
}
