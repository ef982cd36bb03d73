/* SPDX-License-Identifier: Apache-2.0 */
/* image_add.c - `image add FILE --name NAME`. */
#include "origin/cli/image.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/names.h"
#include "common/units.h"
#include "origin/cli/verbs.h"
#include "origin/store/image.h"

#define KEEP_MAX_MS (INT64_C(3650) * 24 * 3600 * 1000)

const struct cli_option image_add_options[] = {
	{"name", 'N', "NAME",
	 "name under which servers show it, such as win11/base.wim"},
	{"keep", 'k', "SPAN",
	 "keep the bytes of the version it replaces for servers that are "
	 "reading it (default: 1d)"},
	{0},
};

static int parse_keep(const struct cli_context *c, int64_t *ret_s)
{
	const char *text = cli_value(c, "keep");
	uint64_t ms;
	struct err e;

	*ret_s = IMAGE_KEEP_DEFAULT_S;
	if (!text)
		return 0;
	if (units_parse_span(text, &ms, &e))
		return cli_usage(c, "--keep: %s", e.text);
	if (ms > KEEP_MAX_MS)
		return cli_usage(c, "--keep %s: 3650d at most", text);
	*ret_s = (int64_t)(ms / 1000);
	return 0;
}

static void print_added(const struct image_added *a, uint64_t took_ns)
{
	const struct node *n = &a->node;
	double s = (double)took_ns / (double)NS_PER_S;
	char digest[DIGEST_TEXT], size[UNITS_TEXT], rate[UNITS_TEXT];
	const char *how = a->unchanged	 ? ", unchanged"
			  : a->shared	 ? ", stored already"
			  : a->reflinked ? ", reflinked"
					 : "";

	if (s < 0.001)
		s = 0.001;
	printf("%s: %s in %.1fs (%s)%s, digest %s, version id %llu\n", n->name,
	       units_size(n->size_bytes, size), s,
	       units_rate((uint64_t)((double)n->size_bytes / s), rate), how,
	       digest_text(&n->digest, digest), (unsigned long long)n->id);
}

int image_add_run(struct cli_context *c)
{
	struct image_add a = {
		.file = c->arg[0],
		.name = cli_value(c, "name"),
		.now_s = clock_unix_s(),
		.show_progress = true,
	};
	CLEAN_STORE struct store *s = NULL;
	CLEAN_DB struct db *db = NULL;
	uint64_t start = clock_mono_ns();
	struct image_added added;
	struct err e;
	int r;

	if (!a.name)
		return cli_usage(c, "--name is missing: under which name shall "
				 "servers show it?");
	if (name_check_image(a.name, &e))
		return cli_usage(c, "%s", e.text);
	r = parse_keep(c, &a.keep_s);
	if (!r)
		r = verb_open_store(c, &s, &db);
	if (r)
		return r;
	a.stop = interrupt_arm();
	if (image_add(s, db, &a, &added, &e))
		return cli_fail(c, "%s", e.text);
	print_added(&added, clock_mono_ns() - start);
	return 0;
}
