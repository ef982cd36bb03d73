/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.h - the worker's end of the link to its supervisor (wire.h): a thread
 * that answers pings and hears how the worker is to end.
 */
#ifndef STAGEFS_FS_LINK_H
#define STAGEFS_FS_LINK_H

#include <stdbool.h>

#include "common/err.h"

struct link;

enum link_end {
	LINK_ON,    /* no end is in sight */
	LINK_DRAIN, /* another worker follows: leave requests to it */
	LINK_STOP,  /* the mount goes: answer what waits */
	LINK_GONE,  /* the supervisor has died, and with it the mount */
};

struct link_config {
	int fd; /* owned by the caller */
	/* Does it make progress? Asked for each ping, and again until it
	 * does. */
	bool (*well)(void *ctx);
	/* Told once, after link_ended() has changed. Must not wait. */
	void (*end)(void *ctx);
	void *ctx;
};

/* Both callbacks come from the link's thread, no lock held. 0 or -errno. */
int link_new(const struct link_config *cfg, struct link **ret);
void link_free(struct link *l); /* NULL is fine */

void link_tell(struct link *l, char message, const char *text);
/* Waits for MSG_MOUNTED. 0, or -ECONNRESET if the end came first. */
int link_await_mounted(struct link *l);
enum link_end link_ended(struct link *l);
/*
 * Asks for an upgrade and waits: 0 if it has begun (LINK_DRAIN), -EREMOTEIO
 * with the supervisor's reason, -ETIMEDOUT, -ECONNRESET. Any thread.
 */
int link_upgrade(struct link *l, struct err *e);

#endif
