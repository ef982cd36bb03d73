/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.h - how many connections each address has, so that one of them cannot
 * keep all others out. An IPv6 network of 64 bits counts as one address: a
 * machine may have all of it.
 *
 * Any thread.
 */
#ifndef STAGEFS_ORIGIN_HTTP_PEERS_H
#define STAGEFS_ORIGIN_HTTP_PEERS_H

#include <stdbool.h>
#include <sys/socket.h>

struct peers;
struct peer;

/* max: connections that an address may have. -ENOMEM. */
int peers_new(unsigned max, struct peers **ret);
/* After the last peers_leave. NULL is fine. */
void peers_free(struct peers *p);

/*
 * One more of this address: to be given back with peers_leave. NULL: it has no
 * address that could be counted, or there is no memory. *ret_above: how many
 * too many it has with this one. *ret_first: it is the first one too many since
 * the address had less than half.
 */
struct peer *peers_join(struct peers *p, const struct sockaddr_storage *address,
			unsigned *ret_above, bool *ret_first);
/* NULL is fine. */
void peers_leave(struct peers *p, struct peer *peer);

#endif
