/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog.c - who may change the tree, and who sees it.
 *
 * The way of an answer, each step a refusal if it fails:
 *
 *	envelope	signed by the key that is pinned, or was trusted first
 *	document	decoded strictly (common/wire.c), of the same store
 *	place		starts where the last page ended, or from nothing
 *	together	with the pages before it, once the last one has come:
 *			not older than what we have, and the tree agrees
 *
 * Then the tree changes under the lock, in one step, and the pages are kept on
 * disk, without the lock. Memory goes first: should the disk fail, readers
 * still get the new names, and what is on disk is older but whole.
 *
 * Only the agent's thread applies, so what only it touches has no lock.
 */
#include "fs/catalog/catalog.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/envelope.h"
#include "common/limits.h"
#include "common/log.h"
#include "fs/catalog/state.h"
#include "fs/locks.h"

/* Pages of one change that are waiting for the last one. */
#define PENDING_MAX_BYTES (256u << 20)
#define PENDING_MAX_ENTRIES (2 * STAGEFS_CATALOG_MAX_ENTRIES)

/* ---- pages that wait --------------------------------------------------- */

static void pending_drop(struct pending *p)
{
	for (size_t i = 0; i < p->n; i++) {
		wire_catalog_free(&p->page[i]);
		free(p->raw[i].text);
	}
	free(p->page);
	free(p->raw);
	memset(p, 0, sizeof(*p));
}

/* Takes *page over when it returns 0. While loading no text is needed. */
static int pending_add(struct pending *p, struct wire_catalog *page,
		       const char *text, size_t n, struct err *e)
{
	char *copy = NULL;

	if (p->entries + page->n_entries + page->n_removed >
		    PENDING_MAX_ENTRIES ||
	    p->bytes + n > PENDING_MAX_BYTES)
		return err_set(e, E2BIG, "catalog: more than %u entries",
			       STAGEFS_CATALOG_MAX_ENTRIES);
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 8;
		void *a = reallocarray(p->page, cap, sizeof(*p->page)), *b;

		if (a)
			p->page = a;
		b = reallocarray(p->raw, cap, sizeof(*p->raw));
		if (b)
			p->raw = b;
		if (!a || !b)
			return err_set(e, ENOMEM, "catalog: out of memory");
		p->cap = cap;
	}
	if (text) {
		copy = malloc(n);
		if (!copy)
			return err_set(e, ENOMEM, "catalog: out of memory");
		memcpy(copy, text, n);
	}
	p->page[p->n] = *page;
	p->raw[p->n] = (struct keep_page){copy, n};
	p->n++;
	p->bytes += n;
	p->entries += page->n_entries + page->n_removed;
	memset(page, 0, sizeof(*page));
	return 0;
}

/* ---- one answer -------------------------------------------------------- */

uint64_t catalog_next(struct catalog *c)
{
	if (c->pending.n)
		return c->pending.page[c->pending.n - 1].revision;
	return c->compare || keep_wants_full(&c->keep) ? 0 : c->revision;
}

bool catalog_knows(const struct catalog *c, uint64_t since)
{
	return c->revision && !c->pending.n && !keep_wants_full(&c->keep) &&
	       (since == 0 || since == c->revision);
}

void catalog_compare(struct catalog *c)
{
	c->compare = true;
}

/* Does this page go on where we are? */
static int check_place(struct catalog *c, const struct wire_catalog *w,
		       struct err *e)
{
	const struct pending *p = &c->pending;
	uint64_t at = p->n ? p->page[p->n - 1].revision : c->revision;

	if (*c->store && strcmp(w->store, c->store) != 0)
		return err_set(e, EXDEV, "the origin serves store %s, but this "
			       "cache belongs to %s: use another cache",
			       w->store, c->store);
	/* An answer to "since 12" that leads to 10: the origin went back. */
	if (w->revision < w->since ||
	    (!w->more && w->revision < c->revision))
		return err_set(e, ESTALE, "the origin's catalog is older "
			       "(revision %" PRIu64 ") than ours (%" PRIu64
			       "): kept ours", w->revision, c->revision);
	if (w->since != 0 && w->since != at)
		return err_set(e, EPROTO, "catalog: the page starts at "
			       "revision %" PRIu64 ", not %" PRIu64, w->since,
			       at);
	if (w->more && w->revision <= w->since)
		return err_set(e, EPROTO, "catalog: pages without an end");
	return 0;
}

static uint64_t generation_of(const char *store)
{
	uint32_t h = 2166136261u; /* FNV-1a; NFS handles have 32 bits for it */

	for (; *store; store++)
		h = (h ^ (uint8_t)*store) * 16777619u;
	return h ? h : 1;
}

/* The key stands on disk before anything is shown that it vouches for. */
static void keep_key(struct catalog *c, const struct sign_public *key)
{
	char path[64];
	struct err e;

	if (c->key_on_disk)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/key.pub", c->dirfd);
	if (sign_public_save(path, key, &e))
		log_warn("catalog", "cannot keep the origin's key: %s", e.text);
	else
		c->key_on_disk = true;
}

/* All pages are there. */
static int finish(struct catalog *c, struct catalog_change **ret_changes,
		  size_t *ret_n, struct err *e)
{
	struct pending *p = &c->pending;
	const struct wire_catalog *last = &p->page[p->n - 1];
	bool full = p->page[0].since == 0;
	bool empty = !full && p->entries == 0 && last->revision == c->revision;
	int r;

	keep_key(c, &p->key);
	lock_take(&c->lock);
	r = tree_apply(&c->tree, p->page, p->n, full, ret_changes, ret_n, e);
	if (!r) {
		c->revision = last->revision;
		memcpy(c->store, last->store, sizeof(c->store));
		c->generation = generation_of(c->store);
		c->key = p->key;
		c->have_key = true;
	}
	lock_give(&c->lock);
	if (!r && full)
		c->compare = false;
	if (r || c->loading || empty)
		return r;
	if (full)
		keep_replace(&c->keep, p->raw, p->n);
	else
		keep_append(&c->keep, p->raw, p->n);
	return 0;
}

static int apply(struct catalog *c, const char *text, size_t n, bool *ret_more,
		 struct catalog_change **ret_changes, size_t *ret_n,
		 struct err *e)
{
	const struct sign_public *pin = c->have_key ? &c->key : NULL;
	struct wire_catalog w = {0};
	struct sign_public key;
	const char *json;
	size_t json_n;
	int r;

	if (n > STAGEFS_CATALOG_PAGE_MAX_BYTES)
		return err_set(e, E2BIG, "catalog: a page of more than %u "
			       "bytes", STAGEFS_CATALOG_PAGE_MAX_BYTES);
	if (!pin && c->pending.n)
		pin = &c->pending.key;
	r = envelope_open(text, n, pin, &key, &json, &json_n, e);
	if (r)
		return r;
	r = wire_catalog_decode(json, json_n, &w, e);
	if (r)
		return r;
	r = check_place(c, &w, e);
	if (!r && w.since == 0)
		pending_drop(&c->pending);
	if (!r) {
		bool more = w.more;

		c->pending.key = key;
		r = pending_add(&c->pending, &w, c->loading ? NULL : text, n,
				e);
		if (!r && !more)
			r = finish(c, ret_changes, ret_n, e);
		if (!r)
			*ret_more = more;
	}
	wire_catalog_free(&w);
	return r;
}

int catalog_apply(struct catalog *c, const char *text, size_t n,
		  bool *ret_more, struct catalog_change **ret_changes,
		  size_t *ret_n, struct err *e)
{
	struct catalog_change *changes = NULL;
	size_t n_changes = 0;
	bool more = false;
	int r = apply(c, text, n, &more, &changes, &n_changes, e);

	if (r || !more)
		pending_drop(&c->pending);
	if (r)
		return r;
	*ret_more = more;
	*ret_changes = changes;
	*ret_n = n_changes;
	return 0;
}

void catalog_changes_free(struct catalog_change *ch, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(ch[i].name);
	free(ch);
}

/* ---- opening ----------------------------------------------------------- */

static int load_page(void *ctx, const char *text, size_t n, bool *ret_more)
{
	struct catalog *c = ctx;
	struct catalog_change *ch;
	size_t n_ch;
	struct err e;
	int r = catalog_apply(c, text, n, ret_more, &ch, &n_ch, &e);

	if (r == -ENOMEM)
		return r;
	if (r) {
		log_warn("catalog", "kept page: %s", e.text);
		return r;
	}
	catalog_changes_free(ch, n_ch);
	return 0;
}

/* The key kept by an earlier start, against the one that is pinned now. */
static int load_key(struct catalog *c, const struct sign_public *pin,
		    struct err *e)
{
	char path[64], ours[SIGN_KEY_TEXT], pinned[SIGN_KEY_TEXT];
	struct stat st;
	int r;

	if (pin) {
		c->key = *pin;
		c->have_key = true;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d/key.pub", c->dirfd);
	if (stat(path, &st) < 0 && errno == ENOENT)
		return 0;
	r = sign_public_load(path, &c->key, NULL);
	if (r)
		return err_set(e, -r, "key.pub is damaged: remove it and "
			       "catalog, and the next key that is seen is "
			       "trusted");
	c->have_key = c->key_on_disk = true;
	if (pin && memcmp(pin->b, c->key.b, sizeof(pin->b)) != 0)
		return err_set(e, EKEYREJECTED, "its origin's key is %s, not "
			       "that of key= (%s): give another cache=",
			       sign_public_text(&c->key, ours),
			       sign_public_text(pin, pinned));
	return 0;
}

int catalog_open(int cache_dirfd, const struct sign_public *pin,
		 struct catalog **ret, struct err *e)
{
	struct catalog *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	lock_init(&c->lock, LOCK_CATALOG);
	c->dirfd = cache_dirfd;
	r = tree_init(&c->tree);
	if (r)
		err_set(e, -r, "out of memory");
	if (!r)
		r = load_key(c, pin, e);
	if (!r) {
		c->loading = true;
		r = keep_load(&c->keep, cache_dirfd, load_page, c);
		c->loading = false;
		if (r)
			err_set(e, -r, "catalog: %s", strerror(-r));
	}
	pending_drop(&c->pending);
	if (r) {
		catalog_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

void catalog_set_room(struct catalog *c,
		      int (*room)(void *ctx, uint64_t bytes), void *ctx)
{
	c->keep.room = room;
	c->keep.room_ctx = ctx;
	room(ctx, keep_disk_bytes(&c->keep));
}

void catalog_close(struct catalog *c)
{
	if (!c)
		return;
	pending_drop(&c->pending);
	tree_free(&c->tree);
	lock_destroy(&c->lock);
	free(c);
}
