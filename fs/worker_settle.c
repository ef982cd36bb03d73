/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_settle.c - what needs root, and its end: who the worker is to be, the
 * key, the cache's folder; then the cage. Nothing of the network is read
 * before, no thread is started.
 */
#include "fs/worker_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/log.h"
#include "common/names.h"
#include "fs/cage.h"
#include "fs/fetch/sources.h"
#include "fs/kernel/notifier.h"
#include "fs/privilege.h"
#include "fs/supervisor/wire.h"

#define MIN_FREE_BYTES (UINT64_C(1) << 30)

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

int worker_settle(struct worker *w, const char *options, struct err *e)
{
	struct identity id;
	char stands[CAGE_TEXT];
	pid_t pid;
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
	pid = notifier_fork(&w->notifier);
	if (pid < 0)
		return err_set(e, -pid, "fork: %s", strerror(-pid));
	r = cage_enter(&(struct cage){.who = &id,
				      .cache = w->o.cache,
				      .ca = w->o.ca},
		       stands, e);
	if (pid == 0 && r < 0)
		_exit(1);
	if (pid == 0)
		notifier_run(w->notifier, SUPERVISOR_FUSE_FD);
	if (r == 0)
		log_info("worker", "caged: %s", stands);
	return r;
}
