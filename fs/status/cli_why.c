/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_why.c - `stagefs why`: what bears on whether an image is here, said in
 * words, the most telling first. A line is there only if there is something
 * to say.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/names.h"
#include "common/units.h"
#include "fs/status/ask.h"
#include "fs/status/verbs.h"

const struct cli_option why_options[] = {
	{"json", 0, NULL, "print JSON, a line for each version"},
	{0},
};

static const char *size_of(const json_t *o, const char *name,
			   char out[UNITS_TEXT])
{
	return units_size(ask_u64(o, name), out);
}

static const char *time_of(const json_t *o, const char *name,
			   char out[UNITS_TIME_TEXT])
{
	return units_time((int64_t)ask_u64(o, name), out);
}

static void say_state(const json_t *o)
{
	const char *name = ask_text(o, "name");
	char size[UNITS_TEXT], stored[UNITS_TEXT], when[UNITS_TIME_TEXT];

	size_of(o, "size", size);
	if (!ask_bool(o, "published"))
		printf("%s: a version that the origin does not publish any "
		       "more\n", name);
	if (!ask_u64(o, "size"))
		printf("%s: empty: there is nothing to store of it\n", name);
	else if (ask_bool(o, "complete"))
		printf("%s: here: all of its %s, verified, since %s\n", name,
		       size, time_of(o, "complete_at", when));
	else if (ask_u64(o, "stored"))
		printf("%s: here in part: %s of %s\n", name,
		       size_of(o, "stored", stored), size);
	else
		printf("%s: not here: nothing of its %s is stored\n", name,
		       size);
	if (ask_u64(o, "bad_blocks"))
		printf("  %" PRIu64 " blocks were found bad on the disk and "
		       "are to be fetched again\n", ask_u64(o, "bad_blocks"));
}

static void say_orders(const json_t *list)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		printf("  order %lld wants it whole\n",
		       (long long)json_integer_value(v));
}

static bool wanted(const json_t *o)
{
	return ask_bool(o, "filling") || ask_u64(o, "prefetches") ||
	       ask_u64(o, "reads_waiting");
}

static void say_wants(const json_t *o)
{
	char text[UNITS_TEXT];

	if (ask_u64(o, "opens"))
		puts("  somebody has it open");
	if (ask_u64(o, "reads_waiting"))
		printf("  %" PRIu64 " reads wait for it\n",
		       ask_u64(o, "reads_waiting"));
	say_orders(json_object_get(o, "orders"));
	if (ask_bool(o, "complete"))
		return;
	if (ask_bool(o, "filling"))
		puts("  the rest is being fetched because it was read, or had "
		     "been complete");
	else if (ask_u64(o, "prefetches") &&
		 !json_array_size(json_object_get(o, "orders")))
		puts("  the rest is being fetched for `stagefs fetch`");
	else if (ask_bool(o, "wanted_whole"))
		puts("  the rest is wanted, but not being fetched now");
	else if (!wanted(o) && ask_u64(o, "stored"))
		puts("  no more of it was read, and no order wants it");
	else if (!wanted(o) && !ask_u64(o, "evicted_at"))
		puts("  nobody has read it here, and no order wants it");
	if (wanted(o) && ask_u64(o, "retry_ms"))
		printf("  the last try failed: next one in %s\n",
		       units_span(ask_u64(o, "retry_ms"), text));
}

/* Why a read, or who wants the rest, would wait. */
static void say_sources(const json_t *o)
{
	const json_t *list = json_object_get(o, "sources"), *s;
	char text[UNITS_TEXT];
	size_t i;

	if (ask_bool(o, "complete"))
		return;
	json_array_foreach(list, i, s) {
		if (!ask_bool(s, "reachable"))
			printf("  %s does not answer since %s: %s\n",
			       ask_text(s, "url"),
			       units_span(ask_u64(s, "since_ms"), text),
			       ask_text(s, "why"));
		if (ask_bool(s, "left_out"))
			printf("  %s is not asked for it for a while: it sent "
			       "wrong bytes of it\n", ask_text(s, "url"));
	}
	if (!ask_bool(o, "reachable"))
		puts("  what is missing cannot be read until a source answers");
}

static void say_room(const json_t *o)
{
	char need[UNITS_TEXT], room[UNITS_TEXT], more[UNITS_TEXT],
		cap[UNITS_TEXT];
	uint64_t missing = ask_u64(o, "size") - ask_u64(o, "stored");

	if (ask_bool(o, "complete"))
		return;
	if (ask_bool(o, "fits_prefetch")) {
		puts("  there is room for all of it");
		return;
	}
	if (ask_bool(o, "fits")) {
		puts("  there is room only if what is on hold goes, which a "
		     "reader may cause and an order may not");
		return;
	}
	printf("  there is no room: it needs %s more, free are %s and %s can "
	       "be evicted of a capacity of %s; it is read without being "
	       "stored\n", units_size(missing, need), size_of(o, "free", room),
	       size_of(o, "evictable_bytes", more),
	       size_of(o, "capacity", cap));
}

static void say_eviction(const json_t *o)
{
	char when[UNITS_TIME_TEXT], text[UNITS_TEXT];

	if (ask_u64(o, "held_until"))
		printf("  on hold until %s\n", time_of(o, "held_until", when));
	if (!json_object_get(o, "evictable"))
		return;
	if (!ask_bool(o, "evictable"))
		puts("  it is not evicted now: open, just read or being "
		     "fetched");
	else if (!ask_u64(o, "before"))
		puts("  it is the first to go when room is needed");
	else
		printf("  when room is needed %" PRIu64 " others, %s, go "
		       "before it\n", ask_u64(o, "before"),
		       size_of(o, "before_bytes", text));
}

static void say_evicted(const json_t *o)
{
	static const struct {
		const char *why, *text;
	} words[] = {
		{"room", "something else needed its room"},
		{"reclaim", "the origin ordered room to be made"},
		{"asked", "it was asked for, by order or `stagefs evict`"},
		{"capacity", "the capacity was lowered"},
	};
	const char *why = ask_text(o, "evicted_why"), *text = "not known why";
	char when[UNITS_TIME_TEXT];

	if (!ask_u64(o, "evicted_at"))
		return;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].why, why) == 0)
			text = words[i].text;
	printf("  it was evicted last at %s: %s\n",
	       time_of(o, "evicted_at", when), text);
}

static int why_line(void *ctx, const json_t *line)
{
	const json_t *o = json_object_get(line, "why");
	const bool *json = ctx;

	if (!o)
		return 0;
	if (*json) {
		json_dumpf(o, stdout, JSON_COMPACT);
		putchar('\n');
		return 0;
	}
	say_state(o);
	say_wants(o);
	say_sources(o);
	say_room(o);
	say_eviction(o);
	say_evicted(o);
	return 0;
}

int why_run(struct cli_context *c)
{
	bool json = cli_flag(c, "json");
	json_t *args;
	struct err e;

	if (name_check_image(c->arg[1], &e))
		return cli_usage(c, "%s", e.text);
	args = json_pack("{s:s}", "name", c->arg[1]);
	if (!args)
		return cli_fail(c, "out of memory");
	if (ask_mount(c->arg[0], "why", args, why_line, &json, &e))
		return cli_fail(c, "%s", e.text);
	if (fflush(stdout))
		return cli_fail(c, "cannot write: %s", strerror(errno));
	return 0;
}
