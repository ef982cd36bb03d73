/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - the worker's control socket: what `stagefs status`, list,
 * fetch, evict, verify, why and upgrade talk to.
 *
 * A Unix stream socket, /run/stagefs/<16 hex>.sock (control_path). A client
 * sends one JSON object in one line, {"verb": "status"}, and gets one line
 * back for each thing there is to say; the last has "done": true, an error is
 * {"done": true, "error": "text"}. Long work (fetch, verify) sends progress
 * lines in between. Everybody may read; what changes something is for root
 * and the worker's own user (SO_PEERCRED).
 *
 * One thread per connection, at most CONTROL_CLIENTS_MAX; a line is bounded.
 */
#ifndef STAGEFS_FS_STATUS_CONTROL_H
#define STAGEFS_FS_STATUS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "fs/agent/agent.h"
#include "fs/cache/cache.h"
#include "fs/catalog/catalog.h"
#include "fs/fetch/fetch.h"
#include "fs/fetch/sources.h"
#include "fs/read/reader.h"
#include "fs/read/scrub.h"

#define CONTROL_CLIENTS_MAX 16
#define CONTROL_LINE_MAX_BYTES (8u << 10) /* of a request */

struct control;

/* One more figure for status and --metrics: "stagefs_NAME" there. */
struct control_counter {
	const char *name; /* "opens_passthrough"; "..._total" only grows */
	const char *help;
	uint64_t value;
};
#define CONTROL_COUNTERS_MAX 32

struct control_config {
	int listen_fd; /* listening; owned by the caller until control_free */
	const char *mountpoint;
	const char *name; /* of this server */
	/* All outlive the control socket. */
	struct sources *sources;
	struct fetch *fetch;
	struct cache *cache;
	struct catalog *catalog;
	struct reader *reader;
	struct scrub *scrub; /* may be NULL */
	struct agent *agent; /* may be NULL */
	/* Figures of other parts (the kernel's side); may be NULL. Fills at
	 * most CONTROL_COUNTERS_MAX, returns how many. */
	size_t (*counters)(void *ctx, struct control_counter *out);
	/* Begins an upgrade: 0, and soon this process ends; or why not. May be
	 * NULL. On a client's thread; may take seconds. */
	int (*upgrade)(void *ctx, struct err *e);
	void *ctx;
	uint32_t starts; /* of workers for this mount, this one included */
	bool fallback;	 /* it runs because the program of an upgrade did not */
};

int control_new(const struct control_config *cfg, struct control **ret,
		struct err *e);
/* Ends all connections (long work is cancelled), joins. NULL is fine. */
void control_free(struct control *c);

/*
 * Path of the socket of a mount point (absolute, as in mountinfo):
 * "/run/stagefs/" and 16 hex digits of FNV-1a 64 of the path and ".sock". The
 * supervisor makes the socket there, with mode 0666.
 */
#define CONTROL_PATH_MAX 64
const char *control_path(const char *mountpoint, char out[CONTROL_PATH_MAX]);

#endif
