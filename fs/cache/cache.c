/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.c - opening and closing, the table of versions, and what is told
 * about them. The invariants stand in internal.h.
 *
 * All rows are in memory, so that nothing that a FUSE thread may ask (get,
 * info, list, stats) reads the index.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "fs/cache/internal.h"
#include "fs/locks.h"

/* ---- opening ------------------------------------------------------------- */

static int open_dir(struct cache *c, const char *dir, struct err *e)
{
	struct stat st;

	c->dir_fd = dir_make(dir, 0700);
	if (c->dir_fd < 0)
		return err_set(e, -c->dir_fd, "%s: %s", dir,
			       strerror(-c->dir_fd));
	/* Image data is not for everybody, and nobody else may plant a link. */
	if (fstat(c->dir_fd, &st) < 0)
		return err_set(e, errno, "%s: %s", dir, strerror(errno));
	if ((st.st_mode & 077) && fchmod(c->dir_fd, 0700) < 0)
		return err_set(e, errno, "%s: mode 0700 is needed: %s", dir,
			       strerror(errno));
	return 0;
}

/* What is opened by name, here and by the catalog. SQLite goes by path and
 * would follow a link that somebody planted; a pipe would hold us. */
static int check_names(struct cache *c, const char *dir, struct err *e)
{
	static const char *const names[] = {
		"lock",		"index.db",	    "index.db-wal",
		"index.db-shm", "index.db-journal", "catalog",
		"key.pub"};
	struct stat st;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (fstatat(c->dir_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) <
			    0 ||
		    S_ISREG(st.st_mode))
			continue;
		return err_set(e, ELOOP,
			       "%s/%s is not a plain file (links are not "
			       "followed): remove it",
			       dir, names[i]);
	}
	return 0;
}

static int take_lock(struct cache *c, const char *dir, struct err *e)
{
	c->lock_fd = open_beneath(c->dir_fd, "lock",
				  O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	if (c->lock_fd < 0)
		return err_set(e, -c->lock_fd, "%s/lock: %s", dir,
			       strerror(-c->lock_fd));
	if (flock(c->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(e, EBUSY,
			       "%s is in use by another mount: give each mount "
			       "a cache of its own",
			       dir);
	return err_set(e, errno, "%s/lock: %s", dir, strerror(errno));
}

static int set_capacity(struct cache *c, const struct cache_config *cfg,
			struct err *e)
{
	struct statvfs sv;

	c->space.capacity_bytes = cfg->capacity_bytes;
	c->space.min_free_bytes = cfg->min_free_bytes;
	if (cfg->capacity_bytes)
		return 0;
	if (fstatvfs(c->data_fd, &sv) < 0)
		return err_set(e, errno, "%s: %s", cfg->dir, strerror(errno));
	c->space.capacity_bytes = (uint64_t)sv.f_blocks * sv.f_frsize;
	return 0;
}

static struct cache *cache_new(const struct cache_config *cfg)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->just_read_ns = cfg->just_read_ms * NS_PER_MS;
	c->flush_ns = cfg->flush_ms * NS_PER_MS;
	c->changed = cfg->changed;
	c->forgotten = cfg->forgotten;
	c->in_use = cfg->in_use;
	c->ctx = cfg->ctx;
	c->dir_fd = c->data_fd = c->lock_fd = -1;
	lock_init(&c->lock, LOCK_CACHE);
	cond_init(&c->moved);
	cond_init(&c->bell);
	cond_init(&c->flush_bell);
	return c;
}

static void cache_free(struct cache *c)
{
	struct version *v, *tmp;

	flusher_stop(c);
	evictor_stop(c);
	HASH_ITER(hh, c->table, v, tmp) {
		assert(v->refs == 0 && v->uses == 0);
		HASH_DEL(c->table, v);
		version_free(v);
	}
	index_close(c->index);
	if (c->data_fd >= 0)
		close(c->data_fd);
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	if (c->dir_fd >= 0)
		close(c->dir_fd);
	cond_destroy(&c->flush_bell);
	cond_destroy(&c->bell);
	cond_destroy(&c->moved);
	lock_destroy(&c->lock);
	free(c);
}

static int cache_start(struct cache *c, const struct cache_config *cfg,
		       struct err *e)
{
	int r = open_dir(c, cfg->dir, e);

	if (!r)
		r = check_names(c, cfg->dir, e);
	if (!r)
		r = take_lock(c, cfg->dir, e);
	if (r)
		return r;
	c->data_fd = datadir_open(c->dir_fd, cfg->dir, e);
	if (c->data_fd < 0)
		return c->data_fd;
	r = index_open(c->dir_fd, cfg->dir, &c->index, e);
	if (r)
		return r;
	r = set_capacity(c, cfg, e);
	if (!r)
		r = cache_load(c, e);
	if (r == -EUCLEAN)
		return index_damaged(cfg->dir, e);
	if (!r)
		r = evictor_start(c);
	if (!r)
		r = flusher_start(c);
	return r;
}

/* What a person can do about the disk beneath. */
static void say_disk(const char *dir, int error, struct err *e)
{
	if (error == -ENOSPC)
		err_set(e, ENOSPC, "cache %s: its disk is full: make some room "
			"there, or give another cache=", dir);
	else if (error == -EROFS)
		err_set(e, EROFS, "cache %s: its disk is read-only: remount "
			"it, or give another cache=", dir);
}

int cache_open(const struct cache_config *cfg, struct cache **ret,
	       struct err *e)
{
	struct cache *c = cache_new(cfg);
	int r;

	if (e)
		e->text[0] = 0;
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	r = cache_start(c, cfg, e);
	if (r) {
		if (e && !e->text[0])
			err_set(e, -r, "%s: %s", cfg->dir, strerror(-r));
		say_disk(cfg->dir, r, e);
		cache_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	flusher_stop(c);
	(void)cache_flush(c); /* logs */
	cache_free(c);
}

int cache_dirfd(const struct cache *c)
{
	return c->dir_fd;
}

int cache_meta_get(struct cache *c, const char *name, char **ret)
{
	return index_meta_get(c->index, name, ret);
}

int cache_meta_set(struct cache *c, const char *name, const char *value)
{
	int r = index_meta_set(c->index, name, value);

	index_measure(c);
	return r;
}

/* ---- table --------------------------------------------------------------- */

static bool same(const struct version_ident *a, const struct version_ident *b)
{
	return a->size_bytes == b->size_bytes &&
	       a->block_bytes == b->block_bytes &&
	       digest_equal(&a->digest, &b->digest);
}

/* The one with the ident's id, or `fresh` in its place. */
static struct version *get_or_add(struct cache *c, uint64_t id,
				  struct version *fresh)
{
	struct version *v;

	LOCK_SCOPE(&c->lock);
	HASH_FIND(hh, c->table, &id, sizeof(id), v);
	if (!v && fresh) {
		HASH_ADD(hh, c->table, ident.id, sizeof(id), fresh);
		v = fresh;
	}
	if (v)
		v->refs++;
	return v;
}

int cache_get(struct cache *c, const struct version_ident *ident,
	      struct version **ret)
{
	struct version *v = get_or_add(c, ident->id, NULL), *fresh;
	int r;

	if (!v) {
		if (!index_ident_sane(ident))
			return -EINVAL;
		r = version_new(c, ident, &fresh);
		if (r)
			return r;
		v = get_or_add(c, ident->id, fresh);
		if (v != fresh)
			version_free(fresh);
	}
	if (!same(&v->ident, ident)) {
		version_put(v);
		return -EINVAL;
	}
	*ret = v;
	return 0;
}

/* Still there when what walks an arrow just now has ended? Told from the
 * state before: nothing here waits. */
static bool has_row_locked(const struct version *v)
{
	return v->state == VERSION_ROW || v->state == VERSION_LIVE;
}

int cache_find(struct cache *c, uint64_t id, struct version **ret)
{
	struct version *v;

	LOCK_SCOPE(&c->lock);
	HASH_FIND(hh, c->table, &id, sizeof(id), v);
	if (!v || !has_row_locked(v))
		return -ENOENT;
	v->refs++;
	*ret = v;
	return 0;
}

/* ---- what is told -------------------------------------------------------- */

static int64_t read_at_s(const struct version *v)
{
	uint64_t read_ns = __atomic_load_n(&v->place.read_ns,
					   __ATOMIC_RELAXED);
	uint64_t now_ns = clock_mono_ns();

	if (!read_ns)
		return 0;
	return clock_unix_s() -
	       (now_ns > read_ns ? (int64_t)((now_ns - read_ns) / NS_PER_S)
				 : 0);
}

static void info_locked(struct version *v, struct version_info *ret)
{
	*ret = (struct version_info){
		.ident = v->ident,
		.stored_bytes = version_stored_bytes(v),
		.stored_seq = v->place.seq,
		.stored_at_s = v->stored_at_s,
		.complete_at_s = v->complete_at_s,
		.held_until_s = v->place.held_until_s,
		.read_at_s = read_at_s(v),
		.opens = v->opens,
		.pins = v->pins,
		.bad_blocks = v->n_bad,
		.complete = v->complete_at_s != 0,
		.wanted = v->wanted};
}

int cache_list(struct cache *c, struct version_info **ret, size_t *ret_n)
{
	struct version_info *all;
	size_t n = 0;

	LOCK_SCOPE(&c->lock);
	for (struct place *p = c->order; p; p = p->next)
		n++;
	all = calloc(n ? n : 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	n = 0;
	for (struct place *p = c->order; p; p = p->next)
		if (has_row_locked(version_of(p)))
			info_locked(version_of(p), &all[n++]);
	*ret = all;
	*ret_n = n;
	return 0;
}

int cache_info(struct cache *c, uint64_t id, struct version_info *ret)
{
	struct version *v;

	LOCK_SCOPE(&c->lock);
	HASH_FIND(hh, c->table, &id, sizeof(id), v);
	if (!v || !has_row_locked(v))
		return -ENOENT;
	info_locked(v, ret);
	return 0;
}

void cache_stats(struct cache *c, struct cache_stats *ret)
{
	struct victim_rules rules = rules_now(c, RESERVE_PREFETCH);
	struct fs_sample fs;

	fs_sample_take(c, &fs);
	LOCK_SCOPE(&c->lock);
	*ret = c->n;
	ret->capacity_bytes = c->space.capacity_bytes;
	ret->min_free_bytes = c->space.min_free_bytes;
	ret->used_bytes = space_used(&c->space);
	ret->reserved_bytes = c->space.reserved_bytes;
	ret->free_bytes = space_room(&c->space, &fs);
	ret->evictable_bytes = victims_total(c->order, &rules);
	ret->fs_free_bytes = fs.avail_bytes;
	for (struct place *p = c->order; p; p = p->next) {
		ret->versions++;
		ret->complete += version_of(p)->complete_at_s != 0;
	}
}
