/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_upgrade.c - `stagefs upgrade`. The worker that is asked is gone before
 * the new one answers, so the end is seen from outside: the mount's worker is
 * another one, and says of what version.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "fs/status/ask.h"
#include "fs/status/verbs.h"

#define WAIT_NS (120 * NS_PER_S)
#define STEP_NS (20 * NS_PER_MS)

struct seen {
	uint64_t starts;
	bool fallback;
	char version[64];
};

static int see_line(void *ctx, const json_t *line)
{
	const json_t *worker = json_object_get(line, "worker");
	struct seen *s = ctx;

	s->starts = ask_u64(worker, "starts");
	s->fallback = ask_bool(worker, "fallback");
	snprintf(s->version, sizeof(s->version), "%s",
		 ask_text(line, "version"));
	return 0;
}

static int no_line(void *ctx, const json_t *line)
{
	(void)ctx, (void)line;
	return 0;
}

int upgrade_run(struct cli_context *c)
{
	uint64_t until = clock_mono_ns() + WAIT_NS;
	struct seen before = {0}, now = {0};
	const char *dir = c->arg[0];
	struct err e;
	int r;

	r = ask_mount(dir, "status", NULL, see_line, &before, &e);
	/* It has just died: there will be another. */
	if (r == -ECONNRESET || r == -EPIPE)
		r = ask_mount(dir, "status", NULL, see_line, &before, &e);
	if (r)
		return cli_fail(c, "%s", e.text);
	r = ask_mount(dir, "upgrade", NULL, no_line, NULL, &e);
	/* It may be gone before its answer is out. */
	if (r && r != -ECONNRESET)
		return cli_fail(c, "%s", e.text);
	while (ask_mount(dir, "status", NULL, see_line, &now, &e) ||
	       now.starts == before.starts) {
		if (clock_mono_ns() > until)
			return cli_fail(c, "%s: no new worker answers: see "
					"its log", dir);
		nanosleep(&(struct timespec){.tv_nsec = STEP_NS}, NULL);
	}
	if (now.fallback)
		return cli_fail(c, "%s: the new worker did not start: %s goes "
				"on; see its log", dir, now.version);
	printf("%s: %s, was %s\n", dir, now.version, before.version);
	return 0;
}
