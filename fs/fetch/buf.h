/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf.h - the bounded pool of block buffers (`memory=`, DESIGN.md section 8).
 *
 * A buffer holds one block; reference counted. When the pool is dry
 * buf_get returns NULL and the `wake` of buf_pool_on_room is called once a
 * buffer has come back; demand may use the last eighth of the pool, others may
 * not, so a reader cannot starve behind a fill. One buffer is always to be had,
 * even if a block is larger than the whole pool.
 */
#ifndef STAGEFS_FS_FETCH_BUF_H
#define STAGEFS_FS_FETCH_BUF_H

#include <stdbool.h>
#include <stdint.h>

struct buf_pool;

struct buf {
	uint8_t *data;
	uint32_t size;	   /* capacity */
	uint32_t n;	   /* bytes in use */
	/* private */
	unsigned refs;	   /* atomic */
	struct buf_pool *pool;
	struct buf *next; /* while it is free */
};

int buf_pool_new(uint64_t bytes, struct buf_pool **ret);
void buf_pool_free(struct buf_pool *p);
/* `wake` is called (no lock held, any thread) when memory came back after a
 * buf_get had returned NULL. Set once before use. */
void buf_pool_on_room(struct buf_pool *p, void (*wake)(void *ctx), void *ctx);
struct buf *buf_get(struct buf_pool *p, uint32_t size, bool demand);
struct buf *buf_ref(struct buf *b);
void buf_put(struct buf *b); /* NULL is fine */
uint64_t buf_pool_used(struct buf_pool *p);

#endif
