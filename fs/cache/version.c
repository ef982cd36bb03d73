/* SPDX-License-Identifier: Apache-2.0 */
/*
 * version.c - the run-time object: who refers to it, what pins it, its
 * manifest and its descriptor.
 *
 * Descriptors are opened at the first use and closed with the last reference,
 * so 5,000 versions do not need 5,000 of them. Closing may touch the disk (it
 * is where an unlinked file goes), so what a last reference leaves behind is
 * collected under the lock and ended after it: struct leftovers.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/bitmap.h"
#include "fs/cache/internal.h"
#include "fs/locks.h"

#include <utlist.h>

int version_new(struct cache *c, const struct version_ident *ident,
		struct version **ret)
{
	struct version *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->cache = c;
	v->ident = *ident;
	v->n_blocks = manifest_block_count(ident->size_bytes,
					   ident->block_bytes);
	v->fd = -1;
	lock_init(&v->lock, LOCK_VERSION);
	*ret = v;
	return 0;
}

void version_free(struct version *v)
{
	if (!v)
		return;
	if (v->fd >= 0)
		close(v->fd);
	manifest_free(v->manifest);
	free(v->bits);
	free(v->reserved);
	free(v->kept);
	free(v->bad);
	lock_destroy(&v->lock);
	free(v);
}

/* ---- references ---------------------------------------------------------- */

/* Nobody outside refers to it. */
static void last_ref_locked(struct version *v, struct leftovers *out)
{
	promise_drop_locked(v);
	out->manifest = __atomic_exchange_n(&v->manifest, NULL,
					    __ATOMIC_ACQ_REL);
	out->retired = v->retired;
	v->retired = NULL;
}

/* Nor is there work of ours. */
static void last_use_locked(struct version *v, struct leftovers *out)
{
	struct cache *c = v->cache;

	if (v->refs > 0 || v->uses > 0)
		return;
	out->fd = v->fd;
	__atomic_store_n(&v->fd, -1, __ATOMIC_RELEASE);
	lock_take(&v->lock);
	if (v->n_reserved == 0) {
		out->reserved = v->reserved;
		v->reserved = NULL;
	}
	lock_give(&v->lock);
	if (v->state == VERSION_EMPTY && !v->moving) {
		HASH_DEL(c->table, v);
		out->gone = v;
	}
}

void version_unuse_locked(struct version *v, struct leftovers *out)
{
	assert(v->uses > 0);
	v->uses--;
	last_use_locked(v, out);
}

void leftovers_end(struct cache *c, struct leftovers *l)
{
	uint64_t bytes = 0;

	if (l->fd >= 0)
		close(l->fd);
	while (l->retired) {
		struct retired *r = l->retired;

		l->retired = r->next;
		close(r->fd);
		bytes += r->bytes;
		free(r);
	}
	manifest_free(l->manifest);
	free(l->reserved);
	version_free(l->gone);
	*l = LEFTOVERS_NONE;
	if (!bytes)
		return;
	lock_take(&c->lock);
	space_free(&c->space, bytes);
	cond_wake_all(&c->moved);
	cond_wake_one(&c->bell);
	lock_give(&c->lock);
}

struct version *version_ref(struct version *v)
{
	LOCK_SCOPE(&v->cache->lock);
	assert(v->refs > 0);
	v->refs++;
	return v;
}

void version_put(struct version *v)
{
	struct leftovers l = LEFTOVERS_NONE;
	struct cache *c;

	if (!v)
		return;
	c = v->cache;
	lock_take(&c->lock);
	assert(v->refs > 0);
	if (--v->refs == 0) {
		last_ref_locked(v, &l);
		last_use_locked(v, &l);
	}
	lock_give(&c->lock);
	leftovers_end(c, &l);
}

const struct version_ident *version_ident(const struct version *v)
{
	return &v->ident;
}

uint64_t version_blocks(const struct version *v)
{
	return v->n_blocks;
}

/* ---- pins ---------------------------------------------------------------- */

void version_open(struct version *v)
{
	LOCK_SCOPE(&v->cache->lock);
	v->opens++;
}

void version_close(struct version *v)
{
	LOCK_SCOPE(&v->cache->lock);
	assert(v->opens > 0);
	v->opens--;
}

void version_pin(struct version *v)
{
	LOCK_SCOPE(&v->cache->lock);
	v->pins++;
}

void version_unpin(struct version *v)
{
	LOCK_SCOPE(&v->cache->lock);
	assert(v->pins > 0);
	v->pins--;
}

void version_want(struct version *v)
{
	LOCK_SCOPE(&v->cache->lock);
	if (v->wanted)
		return;
	v->wanted = true;
	/* Else its first block brings it along. */
	if (v->state == VERSION_LIVE && !v->moving && v->fd >= 0)
		flush_note_locked(v, false);
}

/* On every read: no lock. */
void version_touch(struct version *v)
{
	__atomic_store_n(&v->place.read_ns, clock_mono_ns(), __ATOMIC_RELAXED);
}

bool version_in_work_locked(const struct version *v)
{
	return v->moving || v->mending || v->opens || v->pins || v->waiting ||
	       v->reserved_bytes || v->mends || v->state == VERSION_STUCK;
}

void version_settle_locked(struct version *v)
{
	while (v->moving || v->mending)
		cond_wait(&v->cache->moved, &v->cache->lock);
}

/* ---- place in the stored order ------------------------------------------- */

void order_add_locked(struct cache *c, struct version *v)
{
	struct place *p = c->order ? c->order->prev : NULL;

	/* Nearly always at the end: seq was drawn a moment ago. */
	if (!p || p->seq < v->place.seq) {
		DL_APPEND(c->order, &v->place);
		return;
	}
	while (p != c->order && p->prev->seq > v->place.seq)
		p = p->prev;
	DL_PREPEND_ELEM(c->order, p, &v->place);
}

void order_remove_locked(struct cache *c, struct version *v)
{
	DL_DELETE(c->order, &v->place);
}

/* ---- descriptor ---------------------------------------------------------- */

int version_fd(struct version *v)
{
	struct cache *c = v->cache;
	int fd = __atomic_load_n(&v->fd, __ATOMIC_ACQUIRE);
	int surplus;
	bool live;

	if (fd >= 0)
		return fd;
	lock_take(&c->lock);
	live = v->state == VERSION_LIVE && !v->leaving;
	lock_give(&c->lock);
	if (!live)
		return -1;
	surplus = datafile_open(c->data_fd, v->ident.id);
	if (surplus < 0)
		return -1;

	/*
	 * If it was evicted and made anew meanwhile, this is a descriptor of
	 * the old file; but then the maker's own is in place already.
	 */
	lock_take(&c->lock);
	if (v->fd < 0 && v->state == VERSION_LIVE && !v->leaving) {
		__atomic_store_n(&v->fd, surplus, __ATOMIC_RELEASE);
		surplus = -1;
	}
	fd = v->fd;
	lock_give(&c->lock);
	if (surplus >= 0)
		close(surplus);
	return fd;
}

int version_backing_fd(struct version *v)
{
	struct cache *c = v->cache;
	bool ready;

	lock_take(&c->lock);
	ready = v->state == VERSION_LIVE && !v->moving && !v->mending &&
		v->complete_at_s && version_complete(v);
	lock_give(&c->lock);
	return ready ? version_fd(v) : -EAGAIN;
}

/* ---- manifest ------------------------------------------------------------ */

const struct manifest *version_manifest(struct version *v)
{
	return __atomic_load_n(&v->manifest, __ATOMIC_ACQUIRE);
}

static bool manifest_fits(const struct version *v, const struct manifest *m)
{
	return m->length_bytes == v->ident.size_bytes &&
	       m->block_bytes == v->ident.block_bytes &&
	       digest_equal(&m->digest, &v->ident.digest);
}

/* True if it was taken, false if there is one already. */
static bool manifest_install(struct version *v, struct manifest *m)
{
	struct manifest *none = NULL;

	return __atomic_compare_exchange_n(&v->manifest, &none, m, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

int version_load_manifest(struct version *v)
{
	struct index *x = v->cache->index;
	struct manifest *m;
	void *data;
	size_t n;
	int r;

	if (version_manifest(v))
		return 0;
	r = index_get_manifest(x, v->ident.id, &data, &n);
	if (r)
		return r;
	r = manifest_decode(data, n, &v->ident.digest, &m, NULL);
	free(data);
	if (!r && !manifest_fits(v, m)) {
		manifest_free(m);
		r = -EBADMSG;
	}
	if (r == -EBADMSG) {
		/* The digest says so: fetch a good one. */
		index_drop_manifest(x, v->ident.id);
		return -ENOENT;
	}
	if (!r && !manifest_install(v, m))
		manifest_free(m);
	return r;
}

int version_set_manifest(struct version *v, struct manifest *m)
{
	struct cache *c = v->cache;
	struct index_key key;
	bool row;
	void *data;
	size_t n;
	int r;

	if (!manifest_fits(v, m)) {
		manifest_free(m);
		return -EBADMSG;
	}
	if (!manifest_install(v, m)) {
		manifest_free(m);
		return 0;
	}
	/* Without a row it goes with the row, when that is made. One who makes
	 * the row just now may have looked too early: wait, then look. */
	lock_take(&c->lock);
	version_settle_locked(v);
	row = v->state == VERSION_ROW || v->state == VERSION_LIVE;
	key = version_key(v);
	if (row)
		v->pins++; /* the row stays while we write to it */
	lock_give(&c->lock);
	if (!row)
		return 0;
	r = manifest_encode(m, &data, &n);
	if (!r) {
		r = index_set_manifest(c->index, key, data, n);
		free(data);
		index_measure(c);
	}
	version_unpin(v);
	return r;
}
