/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_contact.c - the origin need not be there: then the mount serves what
 * the cache holds, with a warning. Only an answer that shows a mistake (another
 * store's cache, a wrong key, at the very first contact anything that is no
 * stagefs origin) fails the mount. A worker that follows a dead one asks
 * nothing: readers wait for it.
 */
#include "fs/worker_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "fs/agent/agent.h"
#include "fs/fetch/sources.h"
#include "fs/supervisor/wire.h"

#define CONTACT_MS 5000	  /* nothing is cached: worth a wait */
#define CONTACT_AGAIN_MS 2000

int worker_check_store(struct worker *w, struct err *e)
{
	CLEAN_FREE char *kept = NULL;
	char store[UUID_TEXT];
	int r;

	catalog_store(w->catalog, store);
	if (!store[0])
		return 0;
	r = cache_meta_get(w->cache, "store", &kept);
	if (r == -ENOENT)
		r = cache_meta_set(w->cache, "store", store);
	if (r < 0)
		return err_set(e, -r, "cache %s: %s", w->o.cache,
			       strerror(-r));
	if (kept && strcmp(kept, store))
		return err_set(e, EXDEV,
			       "cache %s belongs to another origin (store %s, "
			       "this one is %s): give another cache=",
			       w->o.cache, kept, store);
	return 0;
}

/* Waits while there is hope of an answer. */
static int await_catalog(struct worker *w, uint32_t ms, struct err *e)
{
	uint64_t until = clock_mono_ns() + ms * NS_PER_MS;
	int r;

	do
		r = agent_wait_catalog(w->agent, WORKER_STEP_MS, e);
	while (r == -ETIMEDOUT && sources_reachable(w->sources) &&
	       clock_mono_ns() < until);
	return r;
}

/* An answer that no waiting mends. Later ones may be of a proxy in between;
 * at the first contact it is the wrong URL. */
static bool is_mistake(int error, bool first_contact)
{
	switch (-error) {
	case 0:
	case ETIMEDOUT:
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ECANCELED:
		return false;
	default:
		return first_contact;
	}
}

static uint32_t contact_ms(bool first_contact)
{
	const char *ms = getenv("STAGEFS_CONTACT_MS"); /* for tests */

	if (ms)
		return (uint32_t)atoi(ms);
	return first_contact ? CONTACT_MS : CONTACT_AGAIN_MS;
}

int worker_first_contact(struct worker *w, struct err *e)
{
	bool first = catalog_revision(w->catalog) == 0;
	int r;

	if (w->session->started > 1)
		return 0;
	r = await_catalog(w, contact_ms(first), e);
	if (r == -EKEYREJECTED && w->pinned)
		return err_prefix(e, -r, "key=%s is not this origin's "
				  "(its key.pub is in the store)", w->o.key);
	if (r == -EKEYREJECTED)
		return err_prefix(e, -r,
				  "cache %s is of another origin (give another "
				  "cache=), or the origin has a new key "
				  "(remove key.pub and catalog there to trust "
				  "it)",
				  w->o.cache);
	if (r == -EXDEV && !first)
		return err_prefix(e, -r,
				  "cache %s is of another origin (give another "
				  "cache=)",
				  w->o.cache);
	if (is_mistake(r, first))
		return r;
	if (r < 0) {
		snprintf(w->warning, sizeof(w->warning),
			 "%.400s: mounted with %s", e->text,
			 first ? "nothing to show until it answers"
			       : "what the cache holds");
		log_warn("worker", "%s", w->warning);
	}
	return worker_check_store(w, e);
}
