/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify.c - are the stored bytes still what was published?
 *
 * The manifest is checked against the digest in the database, the object
 * against the manifest. Clean pages of the object are dropped first, so that
 * the disk is asked and not the memory. (Rejected: O_DIRECT. It is refused by
 * some file systems, and reads that bypass the cache fight with the daemon's
 * sendfile for the same pages.)
 */
#include "origin/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/limits.h"

struct check {
	const struct manifest *m;
	int fd;
	struct progress *progress;
	uint8_t *bad; /* element i: only the thread that has block i */
};

static int check_block(void *ctx, uint64_t i, uint8_t *buf)
{
	struct check *c = ctx;
	uint32_t n = manifest_block_length(c->m->length_bytes,
					   c->m->block_bytes, i);

	/* A block that the disk cannot read is a bad one, not the end. */
	if (fd_pread_all(c->fd, buf, n, i * c->m->block_bytes) ||
	    !manifest_block_ok(c->m, i, buf, n))
		c->bad[i] = 1;
	progress_add(c->progress, n);
	return 0;
}

static int problem(struct image_check *c, const char *text)
{
	snprintf(c->problem, sizeof(c->problem), "%s", text);
	return 0;
}

/* 0 with *ret NULL: ret_check->problem says why. */
static int load_manifest(struct store *s, const struct node *n,
			 struct manifest **ret, struct image_check *check,
			 struct err *e)
{
	CLEAN_FREE void *data = NULL;
	uint64_t size;
	CLEAN_FD int fd = store_open_manifest(s, &n->digest, &size);

	*ret = NULL;
	if (fd == -ENOENT)
		return problem(check, "its manifest is missing");
	if (fd < 0)
		return err_set(e, -fd, "%s: manifest: %s", n->name,
			       strerror(-fd));
	if (size > STAGEFS_MANIFEST_MAX_BYTES)
		return problem(check, "its manifest is damaged");
	data = malloc(size + 1);
	if (!data)
		return err_set(e, ENOMEM, "out of memory");
	if (fd_pread_all(fd, data, size, 0) ||
	    manifest_decode(data, size, &n->digest, ret, NULL))
		return problem(check, "its manifest is damaged");
	return 0;
}

static int check_object(struct check *c, const volatile sig_atomic_t *stop,
			struct image_check *ret, struct err *e)
{
	struct blocks_work work = {
		.n_blocks = c->m->n_blocks,
		.block_bytes = c->m->block_bytes,
		.each = check_block,
		.ctx = c,
		.stop = stop,
	};
	int r;

	c->bad = calloc(c->m->n_blocks + 1, 1);
	if (!c->bad)
		return err_set(e, ENOMEM, "out of memory");
	posix_fadvise(c->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	posix_fadvise(c->fd, 0, 0, POSIX_FADV_DONTNEED);
	r = blocks_each(&work);
	for (uint64_t i = 0; !r && i < c->m->n_blocks; i++) {
		if (!c->bad[i])
			continue;
		if (ret->n_bad < IMAGE_CHECK_BAD_MAX)
			ret->bad[ret->n_bad] = i;
		ret->n_bad++;
	}
	free(c->bad);
	if (r == -EINTR)
		return err_set(e, EINTR, "interrupted");
	return r ? err_set(e, -r, "%s", strerror(-r)) : 0;
}

int image_check(struct store *s, const struct node *n, struct progress *p,
		const volatile sig_atomic_t *stop, struct image_check *ret,
		struct err *e)
{
	struct image_check check = {0};
	struct manifest *m;
	uint64_t size;
	CLEAN_FD int fd = -1;
	int r;

	r = load_manifest(s, n, &m, &check, e);
	if (r)
		return r;
	fd = m ? store_open_object(s, &n->digest, &size) : -1;
	if (!m) {
		;
	} else if (fd == -ENOENT) {
		problem(&check, "its object is missing");
	} else if (fd < 0) {
		r = err_set(e, -fd, "%s: object: %s", n->name, strerror(-fd));
	} else if (size != m->length_bytes || size != n->size_bytes) {
		problem(&check, "its object has a wrong size");
	} else {
		struct check c = {.m = m, .fd = fd, .progress = p};

		check.n_blocks = m->n_blocks;
		r = check_object(&c, stop, &check, e);
	}
	manifest_free(m);
	if (!r)
		*ret = check;
	return r;
}

bool image_check_ok(const struct image_check *c)
{
	return !c->n_bad && !c->problem[0];
}

int image_withdraw(struct store *s, const struct digest *d, struct err *e)
{
	char name[DIGEST_TEXT];
	CLEAN_FD int lock = store_lock_file(s, "objects.lock", LOCK_EX);

	if (lock < 0)
		return err_set(e, -lock, "%s/objects.lock: %s", s->dir,
			       strerror(-lock));
	digest_text(d, name);
	if ((unlinkat(s->objects_fd, name, 0) && errno != ENOENT) ||
	    (unlinkat(s->manifests_fd, name, 0) && errno != ENOENT))
		return err_set(e, errno, "cannot remove object %s: %s", name,
			       strerror(errno));
	return 0;
}
