/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.h - versions on the production server's disk (DESIGN.md section 6).
 *
 *	CACHE/index.db		SQLite, WAL: a row and a bitmap per version
 *	CACHE/data/<id>		one sparse file per version, id in decimal
 *	CACHE/lock		flock: one mount per cache
 *
 * The cache knows nothing of networks, readers or FUSE. It keeps C1 to C6:
 * bytes first, then their bit (flusher thread, batched); the row before the
 * first byte; space reserved before it is used, victims deleted (evictor
 * thread) before the reservation is granted; victims in stored order.
 *
 * A `struct version` is the run-time object of one version, reference
 * counted, and exists with or without a row. Its data descriptor stays valid
 * until the last reference goes, also if it was evicted meanwhile.
 */
#ifndef STAGEFS_FS_CACHE_CACHE_H
#define STAGEFS_FS_CACHE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/crypto.h"
#include "common/err.h"
#include "common/manifest.h"

struct cache;
struct version;

struct cache_config {
	const char *dir;	  /* made if missing, mode 0700 */
	uint64_t capacity_bytes;  /* 0: the size of the file system */
	uint64_t min_free_bytes;  /* kept free on the file system below */
	uint32_t just_read_ms;	  /* a read version is passed over so long */
	uint32_t flush_ms;	  /* longest time a stored bit stays volatile */

	/*
	 * Called by cache_open only; may be NULL. Can somebody be reading
	 * this version's file past us, for whom an earlier process had
	 * opened it (passthrough)? Then nothing is punched out of it.
	 */
	bool (*in_use)(void *ctx, uint64_t id);

	/* Called with no lock held, on any thread, after an image's stored
	 * bytes, state or hold changed, or it went. May be NULL. */
	void (*changed)(void *ctx, uint64_t id);
	/* The same, after a block of it was forgotten: what others have read
	 * of it is not to be believed. May be NULL. */
	void (*forgotten)(void *ctx, uint64_t id);
	void *ctx;
};

/*
 * Errors a person will see: -EBUSY another mount uses this cache,
 * -EPROTONOSUPPORT made by a newer stagefs, -EUCLEAN damaged index (says how
 * to start anew), -EROFS, -ENOSPC. Hashes nothing; finishes deletions that a
 * crash cut short; removes files that have no row (C2).
 */
int cache_open(const struct cache_config *cfg, struct cache **ret,
	       struct err *e);
/* Flushes and ends the threads. All versions have to be put before. */
void cache_close(struct cache *c);
/* Makes every stored bit durable now. */
int cache_flush(struct cache *c);
/* O_PATH-free descriptor of CACHE, owned by the cache. */
int cache_dirfd(const struct cache *c);

/* Small durable facts: "store" (UUID), "key" (base64), ... */
int cache_meta_get(struct cache *c, const char *name, char **ret);
int cache_meta_set(struct cache *c, const char *name, const char *value);

/* ---- versions ------------------------------------------------------------ */

struct version_ident {
	uint64_t id;
	struct digest digest;
	uint64_t size_bytes;
	uint32_t block_bytes;
	char name[1024]; /* for lists and messages; never a path to open */
};

/*
 * The version with this id, referenced; made in memory if the cache has none
 * (no row: that comes with the first reservation). -EINVAL if the cache has
 * the id with another digest or size (a bug or a lying origin).
 */
int cache_get(struct cache *c, const struct version_ident *ident,
	      struct version **ret);
/* Only what has a row: -ENOENT otherwise. */
int cache_find(struct cache *c, uint64_t id, struct version **ret);
struct version *version_ref(struct version *v);
void version_put(struct version *v); /* NULL is fine */

const struct version_ident *version_ident(const struct version *v);
uint64_t version_blocks(const struct version *v); /* number of blocks */

/*
 * The manifest, or NULL if it has not been set. Once set it stays until the
 * last reference goes. version_load_manifest reads it from the index
 * (blocking); -ENOENT: not stored, fetch it. version_set_manifest takes it
 * over (also on failure) and makes it durable together with the row;
 * -EBADMSG if it does not fit the ident.
 */
const struct manifest *version_manifest(struct version *v);
int version_load_manifest(struct version *v);
int version_set_manifest(struct version *v, struct manifest *m);

/* Opens pin a version against eviction; a touch ("read just now") does for
 * just_read_ms. Neither blocks. */
void version_open(struct version *v);
void version_close(struct version *v);
void version_touch(struct version *v);
/* Pins of work in progress (a fill, a prefetch); counted like opens but not
 * shown as open. */
void version_pin(struct version *v);
void version_unpin(struct version *v);
/* It is to become whole, and stay so, over restarts too (R7): durable with its
 * next block. A complete version of which a block is forgotten is wanted as
 * well. Does not block. */
void version_want(struct version *v);

/* ---- blocks: none of these blocks ---------------------------------------- */

bool version_complete(struct version *v);
bool version_has(struct version *v, uint64_t block);
/* Are all blocks of [first, first + n) stored? */
bool version_has_all(struct version *v, uint64_t first, uint64_t n);
/* First block in [from, end) that is (not) stored, or end. */
uint64_t version_next_missing(struct version *v, uint64_t from, uint64_t end);
uint64_t version_next_stored(struct version *v, uint64_t from, uint64_t end);
uint64_t version_stored_bytes(struct version *v);
/* The data file, or -1 before the first reservation. Owned by the version.
 * Opened by the first call; that one touches the disk. Who reads from it has
 * to keep the version open or pinned, so that it stays the file of its bits.
 */
int version_fd(struct version *v);
/*
 * The data file for somebody who reads it past us (passthrough): complete,
 * and every bit durable, so that no failing fdatasync takes bytes back. The
 * version has to be open before the call; then no hole is made in the file
 * until it is closed. -EAGAIN: not so, or not yet. Touches the disk as
 * version_fd does.
 */
int version_backing_fd(struct version *v);

/* ---- space (C3 to C6) ---------------------------------------------------- */

enum reserve_for {
	RESERVE_READER,	 /* may take the oldest held one if all else is held */
	RESERVE_PREFETCH /* refused (-ENOSPC) instead */
};

/*
 * Reserves the space of the missing blocks in [first, first + n), which must
 * not be reserved already.
 *   0		granted (row and data file exist)
 *   -EAGAIN	victims are being deleted: `again(ctx)` is called once, on the
 *		evictor thread, then ask again. Only if `again` is not NULL.
 *   -EINVAL	some of it is reserved already (a bug)
 *   -ENOSPC	cannot be had without touching what is open or just read (or,
 *		for a prefetch, held): serve from memory (C5).
 *   -EIO, ...	the disk or the index failed: serve from memory (C6).
 * May write to the disk (row, file): not for FUSE or network threads.
 */
int version_reserve(struct version *v, uint64_t first, uint64_t n,
		    enum reserve_for why, void (*again)(void *ctx), void *ctx);
/*
 * Could the rest of the version (all missing blocks) be had at all, counting
 * everything evictable, without evicting anything now? (C5: decided before
 * the first victim goes for an image that will not fit.)
 */
bool version_could_fit(struct version *v, enum reserve_for why);
/* Gives back the reservation of those of [first, first + n) still missing. */
void version_unreserve(struct version *v, uint64_t first, uint64_t n);
/*
 * Writes one verified block (its exact length) into its reservation, which it
 * uses up in either case. Blocking: pool threads. When it returns 0 reads of
 * the file see the bytes; the bit becomes durable later (C1). On -ENOSPC or
 * -EIO it has evicted and tried once more (C6).
 */
int version_store(struct version *v, uint64_t block, const void *data,
		  uint32_t n);
/* Reads stored bytes. -ENODATA: not stored, or cleared meanwhile (then the
 * bytes are not to be believed). Blocking. */
int version_read(struct version *v, void *buf, uint32_t n, uint64_t offset);
/*
 * Compares a stored block with the manifest, which has been set, as the disk
 * has it and not the page cache (C7). `buf` has room for a block, in whole
 * units of VERSION_CHECK_ALIGN, and is aligned to that. 0: right. -EBADMSG:
 * wrong or unreadable, and forgotten. -ENODATA: not stored (any more).
 * Others, -EMFILE say: could not look. Blocking.
 */
#define VERSION_CHECK_ALIGN 4096u
int version_check_block(struct version *v, uint64_t block, void *buf);
/*
 * A stored block turned out bad: clears its bit, durably, before returning.
 * It then counts as missing, and version_store mends it in place (C7). Its
 * space is freed, unless the version is open: who reads its file past us
 * must not see a hole where bytes were.
 */
int version_forget_block(struct version *v, uint64_t block);

/* ---- eviction and lists -------------------------------------------------- */

/* Deletes one version. -ENOENT, -EBUSY (open), -EPERM (held, unless `force`),
 * -ESTALE (digest is not NULL and differs). Blocking. */
int cache_evict(struct cache *c, uint64_t id, const struct digest *digest,
		bool force, uint64_t *ret_freed_bytes);
/* Deletes in stored order until `bytes` are free; never held, open or just
 * read ones. 0, or -ENOSPC after freeing what could be. Blocking. */
int cache_reclaim(struct cache *c, uint64_t bytes, uint64_t *ret_freed_bytes);
/* "Do not evict before `until_s`" (0 releases). Makes a row if there is none
 * yet. Durable before it returns. */
int cache_hold(struct cache *c, const struct version_ident *ident,
	       int64_t until_s);

/*
 * The files of others in the cache's folder (the catalog) may take `bytes`
 * from now on: 0, and so much is used (C3); -ENOSPC if that cannot be had
 * without touching what is open, just read or held. Less than before always
 * goes. Blocking.
 */
int cache_room_for_files(struct cache *c, uint64_t bytes);

/* Why the last one of this id went. */
enum evict_why {
	EVICT_UNKNOWN, /* or nothing worth a note */
	EVICT_ROOM,    /* somebody needed its space */
	EVICT_RECLAIM, /* cache_reclaim */
	EVICT_ASKED,   /* cache_evict */
	EVICT_TRIM     /* the capacity was lowered */
};
struct evicted {
	int64_t at_s;
	enum evict_why why;
};
/* Of the last EVICTED_MAX, over restarts too. -ENOENT. Blocking. */
#define EVICTED_MAX 1000
int cache_evicted(struct cache *c, uint64_t id, struct evicted *ret);

/* Where a version stands in the order of eviction. */
struct standing {
	uint64_t before_bytes; /* of those that would go first */
	uint64_t before;       /* their number */
	bool passed_over;      /* open, just read, or in work */
	bool held;
};
int cache_standing(struct cache *c, uint64_t id, struct standing *ret);

struct version_info {
	struct version_ident ident;
	uint64_t stored_bytes;
	uint64_t stored_seq;
	int64_t stored_at_s;	/* when its row was made */
	int64_t complete_at_s;	/* 0: not complete */
	int64_t held_until_s;	/* 0: not held */
	int64_t read_at_s;	/* last touch, 0: not since start */
	uint64_t bad_blocks;	/* found bad and not yet stored again */
	unsigned opens, pins;
	bool complete;
	bool wanted; /* version_want */
};

/* All that have a row, in stored order; malloc'd array. */
int cache_list(struct cache *c, struct version_info **ret, size_t *ret_n);
/* One of them; -ENOENT. Never blocks. */
int cache_info(struct cache *c, uint64_t id, struct version_info *ret);

struct cache_stats {
	uint64_t capacity_bytes, min_free_bytes;
	uint64_t used_bytes, reserved_bytes;
	uint64_t free_bytes;	  /* to be had without eviction now */
	uint64_t evictable_bytes;
	uint64_t fs_free_bytes;
	uint64_t versions, complete;
	/* counters since start */
	uint64_t evicted, evicted_bytes, evicted_held;
	uint64_t stored_blocks, write_errors, refused;
	uint64_t bad_blocks, repaired_blocks; /* C7; stored again in place */
};
void cache_stats(struct cache *c, struct cache_stats *ret);

#endif
