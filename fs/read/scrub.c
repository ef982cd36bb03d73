/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrub.c - one thread, one block at a time, in stored order.
 *
 * The place is (seq, block): versions come and go meanwhile, and seq tells
 * where it stood even if that version went. No reference is held between two
 * blocks: it would keep the version from being evicted, for days.
 *
 * Spread evenly and not done in one go at night: a disk that is read at a few
 * hundred kilobytes a second is no slower for it, and nobody has to say when
 * night is. A scrub that is late (readers waited, the machine slept) catches
 * up at twice its rate at most.
 *
 * Whether a mended block is whole again is the fill's business (fill.c) and
 * counted by the cache when it is stored.
 */
#include "fs/read/scrub.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/lock.h"
#include "common/log.h"
#include "common/pulse.h"
#include "fs/locks.h"

#define META "scrub"
#define LIST_NS (60 * NS_PER_S)	  /* what is stored is looked up anew */
#define IDLE_MAX_NS (10 * NS_PER_S) /* nothing is stored */
#define SAVE_MIN_NS NS_PER_S
#define SAVE_MAX_NS (60 * NS_PER_S)
#define YIELD_NS (100 * NS_PER_MS)
#define YIELDS_MAX 50 /* readers may be waiting all day */
#define SAID_MAX 100  /* lines about bad blocks, per round */

struct scrub {
	struct scrub_config cfg; /* set once */
	pthread_t thread;

	/* the thread's */
	void *buf;
	uint64_t buf_bytes;
	uint64_t id, seq, block; /* to be looked at next */
	uint64_t listed_ns, saved_ns;
	uint64_t round_bad;
	unsigned yields, said;
	bool moved; /* since the place was saved */

	struct lock lock; /* the rest */
	struct wait_cond wake;
	struct scrub_stats n;
	bool quit;
};

uint64_t scrub_interval_ns(uint64_t span_ms, uint64_t bytes, uint64_t total)
{
	if (total < bytes)
		total = bytes;
	return total ? (uint64_t)((double)span_ms * NS_PER_MS *
				  ((double)bytes / (double)total))
		     : 0;
}

/* ---- the place ----------------------------------------------------------- */

static void place_load(struct scrub *s)
{
	CLEAN_FREE char *text = NULL;

	s->n.round_began_s = clock_unix_s();
	if (cache_meta_get(s->cfg.cache, META, &text))
		return;
	if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNd64,
		   &s->id, &s->seq, &s->block, &s->n.round_began_s) != 4)
		s->id = s->seq = s->block = 0;
}

static void place_save(struct scrub *s)
{
	char text[96];

	if (!s->moved)
		return;
	s->moved = false;
	s->saved_ns = clock_mono_ns();
	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %" PRIu64
		 " %" PRId64, s->id, s->seq, s->block, s->n.round_began_s);
	/* Lost, it begins from the last one that was kept. */
	(void)cache_meta_set(s->cfg.cache, META, text);
}

static bool time_to_save(const struct scrub *s)
{
	uint64_t every = s->cfg.span_ms * NS_PER_MS / 20;

	if (every < SAVE_MIN_NS)
		every = SAVE_MIN_NS;
	return clock_mono_ns() - s->saved_ns >=
	       (every < SAVE_MAX_NS ? every : SAVE_MAX_NS);
}

/*
 * Looks up what is stored: how much, how much of it lies behind us, and, once
 * `id` has been done, which version is next. False: none.
 */
static bool place_list(struct scrub *s, bool next)
{
	CLEAN_FREE struct version_info *list = NULL;
	const struct version_info *to = NULL;
	uint64_t total = 0, done = 0;
	size_t n = 0;

	if (cache_list(s->cfg.cache, &list, &n))
		n = 0;
	s->listed_ns = clock_mono_ns();
	for (size_t i = 0; i < n; i++) {
		bool behind = list[i].stored_seq < s->seq ||
			      (next && list[i].stored_seq == s->seq);

		total += list[i].stored_bytes;
		if (behind)
			done += list[i].stored_bytes;
		else if (!to && list[i].stored_bytes)
			to = &list[i];
	}
	if (next && to) {
		s->block = 0;
		s->id = to->ident.id;
		s->seq = to->stored_seq;
	}
	LOCK_SCOPE(&s->lock);
	s->n.total_bytes = total;
	s->n.done_bytes = done + (to && to->stored_seq == s->seq
				  ? s->block * to->ident.block_bytes : 0);
	return to != NULL;
}

static void round_over(struct scrub *s)
{
	bool any;

	lock_take(&s->lock);
	any = s->n.total_bytes > 0;
	s->n.rounds += any;
	s->n.round_began_s = clock_unix_s();
	lock_give(&s->lock);
	if (any && s->round_bad)
		log_warn("scrub", "all that is stored was read: %" PRIu64
			 " blocks were bad", s->round_bad);
	else if (any)
		log_debug("scrub", "all that is stored was read, and right");
	s->id = s->seq = s->block = s->round_bad = 0;
	s->said = 0;
	s->moved = s->moved || any;
}

/* ---- a block ------------------------------------------------------------- */

static int room_for(struct scrub *s, uint64_t bytes)
{
	void *buf;

	if (bytes < VERSION_CHECK_ALIGN)
		bytes = VERSION_CHECK_ALIGN;
	if (bytes <= s->buf_bytes)
		return 0;
	if (posix_memalign(&buf, VERSION_CHECK_ALIGN, bytes))
		return -ENOMEM;
	free(s->buf);
	s->buf = buf;
	s->buf_bytes = bytes;
	return 0;
}

static void found_bad(struct scrub *s, struct version *v, uint64_t block)
{
	const struct version_ident *ident = version_ident(v);
	struct version_info info;
	bool mend = cache_info(s->cfg.cache, ident->id, &info) == 0 &&
		    info.wanted;
	int r;

	s->round_bad++;
	if (s->said++ < SAID_MAX)
		log_err("scrub", "%s: block %" PRIu64 " is not what was "
			"stored: %s%s", ident->name, block,
			mend ? "fetching it again"
			     : "it counts as missing until it is read",
			s->said == SAID_MAX ? " (further ones are counted)"
					    : "");
	if (!mend)
		return;
	r = s->cfg.mend(s->cfg.ctx, ident);
	if (r)
		log_warn("scrub", "%s: cannot be mended now: %s", ident->name,
			 strerror(-r));
}

static int look(struct scrub *s, struct version *v, uint64_t block)
{
	uint32_t unit = version_ident(v)->block_bytes;
	int r = version_load_manifest(v);

	if (!r)
		r = room_for(s, unit);
	if (!r)
		r = version_check_block(v, block, s->buf);
	if (r == -EBADMSG)
		found_bad(s, v, block);
	return r;
}

/* Counts it. Returns how long the block is. */
static uint64_t looked(struct scrub *s, const struct version *v,
		       uint64_t block, int r)
{
	const struct version_ident *ident = version_ident(v);
	uint64_t n = manifest_block_length(ident->size_bytes,
					   ident->block_bytes, block);

	s->moved = true;
	LOCK_SCOPE(&s->lock);
	s->n.done_bytes += n;
	if (r && r != -EBADMSG)
		return n;
	s->n.blocks++;
	s->n.bytes += n;
	s->n.bad += r == -EBADMSG;
	return n;
}

/* The next block of the version where it stands. 0: there is none. */
static uint64_t step_in_version(struct scrub *s)
{
	struct version_info info;
	struct version *v;
	uint64_t n = 0, blocks, at;

	/* The same id stored anew has another seq: its turn comes later. */
	if (!s->id || cache_info(s->cfg.cache, s->id, &info) ||
	    info.stored_seq != s->seq || cache_find(s->cfg.cache, s->id, &v))
		return 0;
	blocks = version_blocks(v);
	at = version_next_stored(v, s->block, blocks);
	if (at < blocks) {
		n = looked(s, v, at, look(s, v, at));
		s->block = at + 1;
	}
	version_put(v);
	return n;
}

/* Looks at one block; its length, 0: nothing is stored. */
static uint64_t step(struct scrub *s)
{
	uint64_t n = step_in_version(s);

	if (!n && place_list(s, true))
		n = step_in_version(s);
	else if (!n) {
		round_over(s);
		if (place_list(s, true))
			n = step_in_version(s);
	}
	if (clock_mono_ns() - s->listed_ns >= LIST_NS)
		place_list(s, false);
	return n;
}

/* ---- the thread ---------------------------------------------------------- */

static uint64_t idle_ns(const struct scrub *s)
{
	uint64_t span = s->cfg.span_ms * NS_PER_MS;

	return span < IDLE_MAX_NS ? span : IDLE_MAX_NS;
}

/* One turn. Returns when the next is due. */
static uint64_t turn(struct scrub *s, uint64_t due_ns)
{
	uint64_t n, wait_ns, now;

	if (s->yields < YIELDS_MAX && s->cfg.busy(s->cfg.ctx)) {
		s->yields++;
		return clock_mono_ns() + YIELD_NS;
	}
	s->yields = 0;
	n = step(s);
	if (time_to_save(s))
		place_save(s);
	now = clock_mono_ns();
	if (!n)
		return now + idle_ns(s);
	lock_take(&s->lock);
	wait_ns = scrub_interval_ns(s->cfg.span_ms, n, s->n.total_bytes);
	lock_give(&s->lock);
	return due_ns + wait_ns > now ? due_ns + wait_ns : now + wait_ns / 2;
}

static void *scrub_main(void *arg)
{
	struct scrub *s = arg;
	uint64_t due_ns;

	pulse_name("scrub"); /* and promises nothing: it reads a disk */
	place_list(s, false);
	due_ns = clock_mono_ns();
	lock_take(&s->lock);
	while (!s->quit) {
		if (clock_mono_ns() < due_ns) {
			cond_wait_until(&s->wake, &s->lock, due_ns);
			continue;
		}
		lock_give(&s->lock);
		due_ns = turn(s, due_ns);
		lock_take(&s->lock);
	}
	lock_give(&s->lock);
	place_save(s);
	return NULL;
}

int scrub_new(const struct scrub_config *cfg, struct scrub **ret)
{
	struct scrub *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	s->n.span_ms = cfg->span_ms;
	lock_init(&s->lock, LOCK_SCRUB);
	cond_init(&s->wake);
	place_load(s);
	r = pthread_create(&s->thread, NULL, scrub_main, s);
	if (r) {
		cond_destroy(&s->wake);
		lock_destroy(&s->lock);
		free(s);
		return -r;
	}
	*ret = s;
	return 0;
}

void scrub_free(struct scrub *s)
{
	if (!s)
		return;
	lock_take(&s->lock);
	s->quit = true;
	cond_wake_all(&s->wake);
	lock_give(&s->lock);
	pthread_join(s->thread, NULL);
	cond_destroy(&s->wake);
	lock_destroy(&s->lock);
	free(s->buf);
	free(s);
}

void scrub_stats(struct scrub *s, struct scrub_stats *ret)
{
	LOCK_SCOPE(&s->lock);
	*ret = s->n;
	if (ret->done_bytes > ret->total_bytes)
		ret->done_bytes = ret->total_bytes;
}
