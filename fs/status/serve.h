/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve.h - what the parts of the control socket's server share: control.c
 * has the connections, status.c answers status and list, work.c does fetch
 * and evict, verify.c verifies, why.c says why.
 */
#ifndef STAGEFS_FS_STATUS_SERVE_H
#define STAGEFS_FS_STATUS_SERVE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/lock.h"
#include "fs/status/control.h"

/* One connection: one request, its thread. */
struct client {
	struct control *control;
	const struct control_config *cfg;
	int fd;
	uid_t uid;
	bool used, over; /* under the control's lock */
	pthread_t thread;
};

/* Sends one line; takes `o` over, also if it fails. -EPIPE and friends: the
 * client is gone. NULL is -ENOMEM. */
int client_send(struct client *c, json_t *o);
/* The last line. `e` NULL: done, and fine. */
int client_done(struct client *c, const struct err *e);
/* Has it gone, or are we to end? Asked now and then by long work. */
bool client_gone(struct client *c);

/* Each answers one verb, up to the last line but for an error, which it
 * returns: 0 or -errno with `e` set. */
int serve_status(struct client *c, const json_t *request, struct err *e);
int serve_list(struct client *c, const json_t *request, struct err *e);
int serve_fetch(struct client *c, const json_t *request, struct err *e);
int serve_evict(struct client *c, const json_t *request, struct err *e);
int serve_verify(struct client *c, const json_t *request, struct err *e);
int serve_why(struct client *c, const json_t *request, struct err *e);
int serve_upgrade(struct client *c, const json_t *request, struct err *e);

/* The version that the catalog has under a name; -ENOENT, -EISDIR. */
int find_published(struct client *c, const char *name,
		   struct version_ident *ret, struct err *e);

/*
 * Fetches what is missing of a version and waits for the end, with a line of
 * progress now and then. -ECANCELED if the client went.
 */
int work_fetch(struct client *c, const struct version_ident *ident,
	       struct err *e);

#endif
