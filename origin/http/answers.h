/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answers.h - what the desk answers, request by request. One thread's.
 */
#ifndef STAGEFS_ORIGIN_HTTP_ANSWERS_H
#define STAGEFS_ORIGIN_HTTP_ANSWERS_H

#include "origin/http/desk.h"

struct answers;

int answers_new(const struct desk_config *c, struct answers **ret,
		struct err *e);
void answers_free(struct answers *a);
struct db *answers_db(struct answers *a);

/* What decides whether a held order request may have an answer now. */
struct answers_state {
	uint64_t last_order, revision;
};
int answers_look(struct answers *a, struct answers_state *ret);

/* The server of this order request was seen. */
void answers_seen(struct answers *a, const struct desk_job *job);
/*
 * True: answered, *ret_reply is the reply (NULL if there was no memory for
 * one). False: nothing to say yet; never with `now`.
 */
bool answers_orders(struct answers *a, const struct desk_job *job, bool now,
		    struct desk_reply **ret_reply);
/* Any other request. NULL: out of memory. */
struct desk_reply *answers_make(struct answers *a, const struct desk_job *job);

#endif
