/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.h - CACHE/index.db: a row and a durable bitmap per version, its
 * manifest, and a few facts about the whole cache.
 *
 * The handle belongs to one thread at a time: calls from others wait until it
 * is free, without a mutex held (index.c). All block, none may be called with
 * a lock held. Changes are durable when a call returns 0, or not made.
 *
 * A row is named by (id, seq). `seq` is the stored order, and tells an
 * incarnation of a version from a later one: what is late finds no row.
 */
#ifndef STAGEFS_FS_CACHE_INDEX_H
#define STAGEFS_FS_CACHE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "fs/cache/cache.h"

struct index;

struct index_row {
	uint64_t seq;
	const struct version_ident *ident;
	int64_t stored_at_s, complete_at_s, held_until_s;
	bool deleted;	     /* its deletion was begun */
	bool wanted;	     /* version_want */
	const uint8_t *bits; /* bitmap_bytes(number of blocks) */
	size_t n_bits_bytes;
};

struct index_key {
	uint64_t id, seq;
};

struct index_bits {
	struct index_key key;
	const uint8_t *bits;
	size_t n_bits_bytes;
	int64_t complete_at_s; /* 0: not complete */
	bool wanted;
};

/* -EUCLEAN damaged, -EPROTONOSUPPORT newer, -EROFS, -ENOSPC, ... */
int index_open(int cache_fd, const char *dir, struct index **ret,
	       struct err *e);
void index_close(struct index *x); /* NULL is fine */
/* -EUCLEAN, and what to do about it put around the reason that `e` has. */
int index_damaged(const char *dir, struct err *e);
/* Within the limits that a row is checked against when it is loaded. */
bool index_ident_sane(const struct version_ident *ident);
/* Size of its files on disk. */
uint64_t index_file_bytes(struct index *x);

/* Calls `row` for each in stored order, marked ones too; ends at an error. */
int index_load(struct index *x, int (*row)(void *ctx, struct index_row *row),
	       void *ctx, struct err *e);

/* Adds a row (in the place of one with the same id), and a manifest if there
 * is one. */
int index_add(struct index *x, const struct index_row *row,
	      const void *manifest, size_t n);
/* A held row gets its first byte: its place in the order is now. */
int index_move(struct index *x, uint64_t id, uint64_t seq, uint64_t new_seq,
	       int64_t stored_at_s);
int index_hold(struct index *x, struct index_key key, int64_t until_s);

/* In one transaction. Marked or missing rows are passed over. */
int index_put_bits(struct index *x, const struct index_bits *b, size_t n);
/* -ENOENT: no such row. `n` is the exact size. */
int index_get_bits(struct index *x, struct index_key key, uint8_t *bits,
		   size_t n);

/* Deletion's first and last step (C2); each one transaction. */
int index_mark(struct index *x, const struct index_key *k, size_t n);
/* The reason is kept, unless it is EVICT_UNKNOWN. */
int index_remove(struct index *x, const struct index_key *k, size_t n,
		 enum evict_why why);
int index_evicted(struct index *x, uint64_t id, struct evicted *ret);

int index_set_manifest(struct index *x, struct index_key key, const void *data,
		       size_t n);
/* malloc'd; -ENOENT. */
int index_get_manifest(struct index *x, uint64_t id, void **ret, size_t *ret_n);
int index_drop_manifest(struct index *x, uint64_t id);

int index_meta_get(struct index *x, const char *name, char **ret);
int index_meta_set(struct index *x, const char *name, const char *value);

#endif
