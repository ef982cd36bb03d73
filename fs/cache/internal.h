/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - the cache's own structs, its invariants, and a version's life.
 *
 *	         make_on_disk (make.c)
 *	EMPTY ------------------------------> LIVE      row and file
 *	  ^ \                              _/  |
 *	  |  \ cache_hold (orders.c)      /    | evict_begin: bits go first
 *	  |   `--------------------> ROW '     v
 *	  |                           |    [mark row, remove file, remove row]
 *	  `---------------------------+--------' evict_end
 *	                                       \ the file will not go: STUCK
 *
 * The arrows that touch the disk are walked by one thread at a time, which
 * has set `moving`; others wait on cache.moved for it to end.
 *
 * I1  There is one struct version per id: in the table while it has a row, a
 *     user (refs) or work of ours (uses). Eviction empties it in place.
 * I2  The row is committed before the file is made, the file before a byte
 *     is written (C2). Backwards: the row is marked, the file removed, the
 *     row removed. A file without a row, a row without a file and a marked
 *     row are therefore all that a crash can leave, besides bytes without a
 *     bit; load.c puts each of them right.
 * I3  A bit in memory is set after pwrite returned, and cleared before its
 *     bytes go. A bit in the index is set only after fdatasync of the file
 *     and fsync of the folder (C1, flush.c), and cleared, durably, before
 *     its bytes go, unless the row is marked.
 * I4  used + reserved + promised <= capacity, unless capacity was lowered
 *     below what is stored (C3). `used` has a file until it is unlinked and
 *     our last descriptor of it is closed.
 * I5  No victim is open, pinned or stored into, or has a reservation (C4):
 *     so nothing is ever written into what was evicted. A read that is on its
 *     way sees that bits were cleared (n_cleared), and gives up its bytes.
 *     A file that is open has no hole made in it: what is found bad there is
 *     kept until it is written over, and stays charged (`kept`).
 * I6  `seq` names an incarnation. A commit that comes late names a row that
 *     is no longer there, and changes nothing.
 * I7  No lock is held over disk, callbacks included.
 *
 * Who holds what alive: a caller's reference keeps the object and its
 * descriptor. Our own work (dirty bits, waiters, an eviction) counts in `uses`,
 * which keeps the object too, but neither makes it "in use" for eviction.
 */
#ifndef STAGEFS_FS_CACHE_INTERNAL_H
#define STAGEFS_FS_CACHE_INTERNAL_H

#include <pthread.h>
#include <uthash.h>

#include "common/clock.h"
#include "common/lock.h"
#include "common/said.h"
#include "fs/cache/cache.h"
#include "fs/cache/datafile.h"
#include "fs/cache/index.h"
#include "fs/cache/point.h"
#include "fs/cache/space.h"
#include "fs/cache/victims.h"

enum version_state {
	VERSION_EMPTY, /* nothing on disk */
	VERSION_ROW,   /* a row but no file: held ahead of its first byte */
	VERSION_LIVE,  /* row and file */
	VERSION_STUCK  /* marked, but its file would not go: the next start */
};

/* A descriptor of an evicted file that a reference still keeps. */
struct retired {
	int fd;
	uint64_t bytes; /* used until it is closed (I4) */
	struct retired *next;
};

struct version {
	/* set once */
	struct cache *cache;
	struct version_ident ident;
	uint64_t n_blocks;

	/* atomic; set once, freed with the last reference */
	struct manifest *manifest;

	/* cache->lock */
	UT_hash_handle hh;
	struct place place; /* seq, charged bytes, hold, last read */
	enum version_state state;
	bool moving;  /* a thread walks an arrow, or writes the row */
	bool leaving; /* and that leads to EMPTY */
	bool mending; /* blocks are being forgotten: no new reservations */
	bool wanted;  /* is to become whole */
	unsigned in_file; /* threads of ours at work in the file itself */
	bool dirty;   /* has volatile bits; then uses > 0 and fd >= 0 */
	unsigned refs, uses;
	unsigned opens, pins, waiting;
	unsigned mends; /* kept blocks that are reserved or being written */
	int64_t stored_at_s, complete_at_s;
	uint64_t reserved_bytes;
	uint64_t promised_bytes, promised_until_ns;
	struct version *dirty_next, *promised_next;
	struct retired *retired;
	int fd; /* atomic too: read without the lock */

	/* lock (within cache->lock, if both) */
	struct lock lock;
	uint8_t *bits;	   /* NULL: none */
	uint8_t *reserved; /* blocks granted and not stored; NULL: none */
	uint64_t n_stored, n_reserved;
	uint64_t stored_bytes;
	uint64_t n_cleared; /* how often bits were cleared */
	uint8_t *kept; /* not stored, but in the file and charged; NULL: none */
	uint64_t kept_bytes; /* what they are charged */
	uint8_t *bad; /* found bad, not stored again yet; NULL: none */
	uint64_t n_bad;

	/* the thread that set `moving` for an eviction */
	uint8_t *doomed_bits;
	uint64_t doomed_n, doomed_bytes;
};

struct waiter {
	struct waiter *next;
	struct version *v; /* one of its uses */
	uint64_t need_bytes;
	enum reserve_for why;
	void (*again)(void *ctx);
	void *ctx;
};

struct cache {
	/* set once */
	uint64_t just_read_ns, flush_ns;
	void (*changed)(void *ctx, uint64_t id);
	void (*forgotten)(void *ctx, uint64_t id);
	bool (*in_use)(void *ctx, uint64_t id);
	void *ctx;
	int dir_fd, data_fd, lock_fd;
	struct index *index;
	pthread_t flusher, evictor;
	bool has_flusher, has_evictor;

	struct lock lock; /* LOCK_CACHE: the rest, and where versions say so */
	struct wait_cond moved; /* something settled: moving, room, ... */
	struct wait_cond bell;	/* for the evictor */
	struct wait_cond flush_bell;
	bool quit;

	struct version *table;
	struct place *order; /* versions with a row, by seq */
	uint64_t next_seq;
	struct space space;
	struct version *promised;

	struct waiter *waiters; /* readers first, then as they came */
	bool trim;		/* stored above capacity: shrink */
	uint64_t no_evict_until_ns; /* deleting failed: not again so soon */
	uint64_t io_evict_after_ns; /* EIO on writing: not one after another */

	struct version *dirty;
	uint64_t flush_at_ns; /* 0: nothing to do */
	bool flushing;	      /* somebody owns the flush */
	bool dir_dirty;	      /* a file was made since the folder's fsync */
	struct said said_lost; /* versions whose writes failed */
	bool flush_failing;

	struct cache_stats n; /* the counters of it */
};

#define version_of(p) \
	((struct version *)((char *)(p) - offsetof(struct version, place)))

static inline struct index_key version_key(const struct version *v)
{
	return (struct index_key){.id = v->ident.id, .seq = v->place.seq};
}

static inline void tell_changed(struct cache *c, uint64_t id)
{
	if (c->changed)
		c->changed(c->ctx, id);
}

/* ---- version.c: objects -------------------------------------------------- */

/* What is to be closed and freed once the lock is given back. */
struct leftovers {
	struct version *gone;
	struct manifest *manifest;
	struct retired *retired;
	uint8_t *reserved;
	int fd;
};
#define LEFTOVERS_NONE ((struct leftovers){.fd = -1})

int version_new(struct cache *c, const struct version_ident *ident,
		struct version **ret);
void version_free(struct version *v);
/* A use of our own ends. */
void version_unuse_locked(struct version *v, struct leftovers *out);
void leftovers_end(struct cache *c, struct leftovers *l);
/* Waits until nobody walks an arrow of it. */
void version_settle_locked(struct version *v);
/* Open, pinned, or in work: never a victim (I5). */
bool version_in_work_locked(const struct version *v);
void order_add_locked(struct cache *c, struct version *v);
void order_remove_locked(struct cache *c, struct version *v);
uint32_t version_block_length(const struct version *v, uint64_t block);
uint64_t version_block_charge(const struct version *v, uint64_t block);
uint64_t version_overhead(const struct version *v);
/* The bits in memory, bitmap_bytes(n_blocks). */
void version_copy_bits(struct version *v, uint8_t *out, uint64_t *ret_n_stored);

/* ---- blocks.c ------------------------------------------------------------ */

/* Forgets the stored ones of these blocks, in memory, durably, and, unless
 * the version is open, on disk. The caller owns the flush. */
int blocks_drop(struct version *v, uint8_t *drop);
/* Kept blocks: not stored, but in the file and charged. The version's lock. */
bool version_keeps_locked(const struct version *v, uint64_t block);
void version_unkeep_all_locked(struct version *v);
/* Are they all stored? *ret: changes when any bit is cleared. */
bool version_stored_now(struct version *v, uint64_t first, uint64_t n,
			uint64_t *ret);

/* ---- room.c -------------------------------------------------------------- */

/* Without the lock, before an arithmetic that is done with it. */
void fs_sample_take(struct cache *c, struct fs_sample *ret);
void index_measure(struct cache *c);
struct victim_rules rules_now(const struct cache *c, enum reserve_for why);
/*
 * Room for `need` bytes, in space.reserved: 0, -EAGAIN (`again` will be
 * called), -ENOSPC, -EIO. Without `again` it waits itself, and -EAGAIN then
 * says that it did: all has to be looked at anew.
 */
int room_ask_locked(struct version *v, uint64_t need, enum reserve_for why,
		    void (*again)(void *ctx), void *ctx,
		    const struct fs_sample *fs);
/* Could deletions make up for so much, not counting `v`? */
bool room_can_be_had_locked(struct version *v, uint64_t shortage,
			    enum reserve_for why);
void promise_drop_locked(struct version *v);

/* ---- make.c, reserve.c --------------------------------------------------- */

/* Called with `moving` set, and the row's price reserved if it is EMPTY. */
int make_on_disk(struct version *v, bool with_file);
/* Reserves a row's price for what has none, and sets `moving`: 1. It has a
 * row: 0. Blocking. */
int room_for_row(struct version *v);

/* ---- evict.c, evictor.c -------------------------------------------------- */

int evictor_start(struct cache *c);
void evictor_stop(struct cache *c);
/* Takes one out of service: nobody sees a bit of it any more. */
void evict_begin_locked(struct version *v);
/* Empties those. Blocking. *ret_freed: bytes that are free now. */
int evict_end(struct cache *c, struct version **v, size_t n,
	      enum evict_why why, uint64_t *ret_freed);
/* One batch by the rules, for `bytes`; if others are deleting that much
 * already, waits for them. -ENOSPC: nothing can go. Blocking. */
int evict_now(struct cache *c, uint64_t bytes, struct victim_rules rules,
	      enum evict_why why, uint64_t *ret_freed);
/* The same; gives the lock back meanwhile. */
int evict_for_locked(struct cache *c, uint64_t shortage,
		     const struct victim_rules *rules, enum evict_why why,
		     uint64_t *ret_freed);

/* ---- flush.c ------------------------------------------------------------- */

int flusher_start(struct cache *c);
void flusher_stop(struct cache *c);
/* Volatile bits are there: the flusher comes within flush_ms, or at once. */
void flush_note_locked(struct version *v, bool now);
void flush_forget_locked(struct version *v, struct leftovers *out);
/* Nobody flushes while one owns it. */
void flush_own(struct cache *c);
void flush_disown(struct cache *c);

/* ---- load.c -------------------------------------------------------------- */

int cache_load(struct cache *c, struct err *e);

#endif
