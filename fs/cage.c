/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cage.c - the worker parses what comes from the network, so whoever takes it
 * over is to have nothing that is worth taking.
 *
 *	user		stagefs: only the cache is its own		always
 *	capabilities	none, none to be had back			always
 *	no_new_privs	no program gives any				always
 *	Landlock	writes below the cache; reads what names and	5.13
 *			certificates need: not its own mount, not
 *			/proc, not /home; listens on no TCP port
 *			(6.7); signals nobody, no abstract sockets
 *			of others (6.12)
 *	seccomp		what its libraries call, no program		always
 *
 * They overlap on purpose. Its own mount is out of reach because a thread that
 * waits there waits for itself: that is a dead mount, by mistake or not.
 *
 * user=root leaves the first out and keeps the rest: uid 0 without
 * capabilities owns root's files, and that is all that it has.
 *
 * Rejected: a mount namespace of its own in place of Landlock. A private one
 * keeps every file system of the host busy that was there when the worker
 * started; one that follows the host's shows the mount.
 *
 * Sanitizers read /proc, start programs and make calls as they please: in such
 * a build the last two are left out.
 */
#include "fs/cage.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static int become(const struct identity *who)
{
	if (who->root || geteuid() == who->uid)
		return 0;
	return setgroups(0, NULL) < 0 ||
			       setresgid(who->gid, who->gid, who->gid) < 0 ||
			       setresuid(who->uid, who->uid, who->uid) < 0
		       ? -errno
		       : 0;
}

/* The bounding set first: it takes a capability to drop it. A root that has
 * not that one (in a container) keeps it; no_new_privs makes it worthless. */
static int drop_all(const struct cage *c)
{
	int r;

	capng_clear(CAPNG_SELECT_ALL);
	capng_apply(CAPNG_SELECT_BOUNDS);
	r = become(c->who);
	if (r < 0)
		return r;
	capng_clear(CAPNG_SELECT_ALL);
	return capng_apply(CAPNG_SELECT_CAPS) != 0 ||
			       capng_have_capabilities(CAPNG_SELECT_CAPS) !=
				       CAPNG_NONE
		       ? -EPERM
		       : 0;
}

int cage_enter(const struct cage *c, char stands[CAGE_TEXT], struct err *e)
{
	int files = 0, calls = 0, r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, errno, "no_new_privs: %s", strerror(errno));
	r = drop_all(c);
	if (r < 0)
		return err_set(e, -r, "cannot become user %s without "
			       "capabilities: %s", c->who->name, strerror(-r));
	if (SANITIZED) {
		snprintf(stands, CAGE_TEXT, "user %s, no capabilities; a "
			 "sanitizer's build: no seccomp, no Landlock",
			 c->who->name);
		return 0;
	}
	files = cage_files(c->cache, c->ca);
	if (files < 0)
		return err_set(e, -files, "Landlock: %s", strerror(-files));
	calls = cage_calls();
	if (calls < 0)
		return err_set(e, -calls, "seccomp: %s", strerror(-calls));
	snprintf(stands, CAGE_TEXT, "user %s, no capabilities, %d system "
		 "calls, Landlock %d%s", c->who->name, calls, files,
		 files ? "" : ": this kernel has none, all that this user may "
			      "read is in reach");
	return 0;
}
