/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources.h - where bytes can come from ("origin1,origin2"), and how each has
 * behaved: health, jittered exponential back-off (0.2 s to 15 s), and which
 * versions a source sent bad blocks of. Pure bookkeeping: no sockets, time is
 * a parameter.
 *
 * "Unreachable" is a state of the whole set: no source answers. Its changes
 * are logged once by whoever set the callback.
 */
#ifndef STAGEFS_FS_FETCH_SOURCES_H
#define STAGEFS_FS_FETCH_SOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/crypto.h"
#include "common/err.h"

#define SOURCES_MAX 16

struct sources;

/* Comma separated http:// or https:// URLs, no path but "/", no user part.
 * -EINVAL with the reason. */
int sources_new(const char *urls, struct sources **ret, struct err *e);
void sources_free(struct sources *s);
size_t sources_count(const struct sources *s);
/* "http://host:8420", no slash at the end. Valid as long as `s`. */
const char *sources_url(const struct sources *s, size_t i);

/*
 * The source to ask now for this version (digest may be NULL: any document),
 * or -EAGAIN with the time at which one leaves its back-off, or -EBADMSG if
 * all of them sent bad blocks of this version.
 */
int sources_pick(struct sources *s, const struct digest *digest,
		 uint64_t now_ns, size_t *ret_i, uint64_t *ret_when_ns);

/* The same, but for the sources whose bit is in `skip` (they said that they do
 * not have it): -ENOENT if no other is left and none lied. With `urgent` a
 * source that failed before is tried only if no healthy one is there. */
int sources_pick_except(struct sources *s, const struct digest *digest,
			uint32_t skip, bool urgent, uint64_t now_ns,
			size_t *ret_i, uint64_t *ret_when_ns);

/* It gave what was asked for: no back-off. */
void sources_worked(struct sources *s, size_t i, uint64_t now_ns);
/* Connection, protocol or server failure: next back-off step. */
void sources_failed(struct sources *s, size_t i, uint64_t now_ns,
		    const char *why);
/*
 * It answered, but what it answered for this version is no use (an error, a
 * wrong range, a body cut short). That may be its matter with this version
 * alone, and then it is in nobody else's way: counted, no back-off. It is a
 * failure of the source as soon as a second version gets such an answer and
 * nothing has worked in between.
 */
void sources_useless(struct sources *s, size_t i, const struct digest *digest,
		     uint64_t now_ns, const char *why);
/*
 * Bad bytes of this version: left out for it; but the last one that is left
 * only when it did so twice within ten seconds, because one bit that flipped
 * on the way is no reason for ten minutes of EIO. Kept for 1,024 versions;
 * forgotten after ten minutes, so that a mended source is asked again. True if
 * it is left out from now on, false if it was already or gets a second chance.
 */
bool sources_lied(struct sources *s, size_t i, const struct digest *digest,
		  uint64_t now_ns);

/* Is it left out for this version just now? */
bool sources_left_out(struct sources *s, size_t i, const struct digest *digest,
		      uint64_t now_ns);

/* How long to wait after so many failures (1 or more) in a row, with chance in
 * it. */
uint64_t sources_backoff_ns(unsigned fails);

/* Called (no lock held) when the set becomes (un)reachable. Returns when no
 * call of the one before is under way any more; so not from such a call. */
void sources_on_change(struct sources *s,
		       void (*fn)(void *ctx, bool reachable, uint64_t for_ns,
				  const char *why),
		       void *ctx);

struct source_state {
	char url[256];
	bool reachable;
	uint64_t since_ns; /* monotonic, of the last change */
	uint64_t retry_ns; /* 0: none */
	uint64_t requests, failures, bad_blocks;
	char why[160]; /* of the last failure */
};
void sources_state(struct sources *s, size_t i, struct source_state *ret);
bool sources_reachable(struct sources *s);

#endif
