/* SPDX-License-Identifier: Apache-2.0 */
/*
 * desk.h - the thread that answers what needs the database: catalog,
 * descriptors, orders, reports, metrics.
 *
 * The loops never touch SQLite: a commit waits for the disk, and for any other
 * process that is writing, while a loop has readers to serve. A loop leaves a
 * job here and gets the reply into its mailbox. An order request for which
 * there is nothing yet stays here, as a few words of memory, until there is or
 * its time is up.
 */
#ifndef STAGEFS_ORIGIN_HTTP_DESK_H
#define STAGEFS_ORIGIN_HTTP_DESK_H

#include "origin/http/metrics.h"
#include "origin/http/pacing.h"
#include "origin/http/route.h"
#include "origin/http/text.h"
#include "origin/store/store.h"

struct desk;
struct loop;

/* Made by a loop, ended by the desk. */
struct desk_job {
	struct desk_job *prev, *next;
	struct loop *loop;
	uint64_t token; /* the loop's name for the request */
	bool cancel;	/* forget the one held with this token */
	struct route_match match;
	char address[64];
	char *none_match; /* If-None-Match, or NULL */
	char *body;
	size_t body_n;
	uint64_t until_ns; /* the desk's: hold no longer */
};

/* Made by the desk, ended by the loop. */
struct desk_reply {
	struct desk_reply *next;
	uint64_t token;
	int status;
	const char *type; /* of the body */
	char etag[128];	  /* with quotes, or "" */
	struct text *body; /* NULL: none */
};

struct desk_config {
	struct store *store;
	struct pacing *pacing;
	struct metrics *metrics;
	/* Hands a reply to its loop; called by the desk's thread, no lock. */
	void (*reply)(struct loop *loop, struct desk_reply *r);
};

int desk_start(const struct desk_config *c, struct desk **ret, struct err *e);
/* Takes the job on success. -EBUSY: too much is waiting (503). */
int desk_submit(struct desk *d, struct desk_job *job);
/* The database changed, surely: look now instead of at the next tick. */
void desk_wake(struct desk *d);
/* Answers all that it holds, then ends. Submitting fails from then on. */
void desk_stop(struct desk *d);
void desk_free(struct desk *d);

void desk_job_free(struct desk_job *job);
void desk_reply_free(struct desk_reply *r);

#endif
