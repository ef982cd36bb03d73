/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify.c - reads what is stored from the disk itself, compares it with the
 * manifest, and has the origin mend what is bad (C7, by hand).
 *
 * The same look at a block as the scrub's (fs/cache/check.c), but at once and
 * by name.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jget.h"
#include "common/limits.h"
#include "fs/status/serve.h"

#define TELL_NS (250 * NS_PER_MS)

struct verify {
	struct client *c;
	uint64_t checked, total; /* bytes */
	uint64_t told_ns;
	uint64_t blocks, bad; /* of one image */
	bool unrepaired;
};

static int tell(struct verify *v, const char *name)
{
	uint64_t now = clock_mono_ns();

	if (now - v->told_ns < TELL_NS)
		return 0;
	v->told_ns = now;
	if (client_gone(v->c))
		return -ECANCELED;
	return client_send(v->c, json_pack("{s:s,s:I,s:I}", "verifying", name,
					   "checked", (json_int_t)v->checked,
					   "total", (json_int_t)v->total));
}

static int check_block(struct verify *v, struct version *ver,
		       const struct manifest *m, uint64_t i, void *buf)
{
	int r = version_check_block(ver, i, buf);

	if (r == -ENODATA) /* evicted, or forgotten, meanwhile */
		return 0;
	v->blocks++;
	v->checked += manifest_block_length(m->length_bytes, m->block_bytes, i);
	if (r != -EBADMSG)
		return r;
	v->bad++;
	return 0;
}

static int check_version(struct verify *v, struct version *ver)
{
	const char *name = version_ident(ver)->name;
	const struct manifest *m;
	CLEAN_FREE void *buf = NULL;
	uint64_t n, i = 0;
	int r = version_load_manifest(ver);

	if (r == -ENOENT) /* then no block is stored either */
		return 0;
	if (r)
		return r;
	m = version_manifest(ver);
	if (posix_memalign(&buf, VERSION_CHECK_ALIGN, m->block_bytes))
		return -ENOMEM;
	n = version_blocks(ver);
	while (!r && (i = version_next_stored(ver, i, n)) < n) {
		r = check_block(v, ver, m, i++, buf);
		if (!r)
			r = tell(v, name);
	}
	return r;
}

static int verify_one(struct verify *v, const struct version_info *info,
		      struct err *e)
{
	struct version *ver;
	struct err why = {""};
	int r = cache_find(v->c->cfg->cache, info->ident.id, &ver);

	if (r == -ENOENT) /* evicted meanwhile */
		return 0;
	v->blocks = v->bad = 0;
	if (!r) {
		version_pin(ver);
		r = check_version(v, ver);
		version_unpin(ver);
		version_put(ver);
	}
	if (r)
		return err_set(e, -r, "%s: %s", info->ident.name,
			       strerror(-r));
	/* Of one that nobody wanted whole, it is missing as others are. */
	if (v->bad && !(info->complete || info->wanted))
		err_set(&why, ENODATA, "fetched again when it is read");
	else if (v->bad) {
		/* It is mended also if nobody waits for that any more. */
		(void)reader_fill(v->c->cfg->reader, &info->ident);
		if (work_fetch(v->c, &info->ident, &why))
			v->unrepaired = true;
	}
	r = client_send(v->c, json_pack("{s:{s:s,s:I,s:I,s:b,s:s}}",
					"verified", "name", info->ident.name,
					"blocks", (json_int_t)v->blocks, "bad",
					(json_int_t)v->bad, "repaired",
					v->bad && !*why.text, "message",
					why.text));
	return r ? err_set(e, -r, "%s", strerror(-r)) : 0;
}

int serve_verify(struct client *c, const json_t *request, struct err *e)
{
	CLEAN_FREE struct version_info *list = NULL;
	struct verify v = {.c = c};
	const char *name = NULL;
	bool found = false;
	size_t n = 0;
	int r = jget_text_opt(request, "name", STAGEFS_PATH_MAX_BYTES, &name,
			      e);

	if (r)
		return r;
	cache_flush(c->cfg->cache);
	r = cache_list(c->cfg->cache, &list, &n);
	if (r)
		return err_set(e, -r, "%s", strerror(-r));
	for (size_t i = 0; i < n; i++)
		if (!name || strcmp(name, list[i].ident.name) == 0)
			v.total += list[i].stored_bytes;
	for (size_t i = 0; i < n && !r; i++) {
		if (name && strcmp(name, list[i].ident.name) != 0)
			continue;
		found = true;
		r = verify_one(&v, &list[i], e);
	}
	if (r)
		return r;
	if (name && !found)
		return err_set(e, ENOENT, "%s: not stored here (see `stagefs "
			       "list`)", name);
	if (v.unrepaired)
		return err_set(e, EIO, "bad blocks could not be fetched "
			       "again; they count as missing");
	return 0;
}
