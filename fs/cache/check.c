/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c - does the disk still have what was stored (C7)?
 *
 * The page cache is what hides a bad disk, so a block is read past it, with
 * O_DIRECT. Dropping its pages first (POSIX_FADV_DONTNEED) is only for file
 * systems without that, for two reasons. Pages that are dirty, mapped or part
 * of a larger folio stay, and one would check memory. And where the disk went
 * bad, the pages may still be good: those who read the file past us
 * (passthrough) live on them, and must not be sent to the bad disk by the
 * one who looks after it.
 *
 * What is bad is forgotten, durably, so that nobody is served it, and counts
 * as missing until it is stored again; then version_store writes it through
 * the page cache, which puts right what has been cached of it as well.
 */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "fs/cache/internal.h"

static bool enter_file(struct version *v)
{
	LOCK_SCOPE(&v->cache->lock);
	if (v->state != VERSION_LIVE || v->leaving)
		return false;
	v->in_file++; /* an eviction waits, so its space is free after it */
	return true;
}

static void leave_file(struct version *v)
{
	LOCK_SCOPE(&v->cache->lock);
	v->in_file--;
	cond_wake_all(&v->cache->moved);
}

/* Says nothing about the block: we could not look. */
static bool is_ours(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
	       error == -EACCES || error == -EPERM;
}

int version_check_block(struct version *v, uint64_t block, void *buf)
{
	const struct manifest *m = version_manifest(v);
	uint32_t n = version_block_length(v, block);
	uint64_t before, after;
	int r;

	if (!m || block >= v->n_blocks)
		return -EINVAL;
	if (!version_stored_now(v, block, 1, &before) || !enter_file(v))
		return -ENODATA;
	r = point("check.read");
	if (!r)
		r = datafile_read_disk(v->cache->data_fd, v->ident.id, buf, n,
				       block * v->ident.block_bytes,
				       VERSION_CHECK_ALIGN);
	leave_file(v);
	if (is_ours(r))
		return r;
	if (!r && manifest_block_ok(m, block, buf, n))
		return 0;
	/* Cleared while we read, it may have been a hole. */
	if (!version_stored_now(v, block, 1, &after) || after != before)
		return -ENODATA;
	r = version_forget_block(v, block);
	if (r)
		log_err("cache", "%s: block %llu is bad, and the index cannot "
			"say so: %s", v->ident.name,
			(unsigned long long)block, strerror(-r));
	return -EBADMSG;
}
