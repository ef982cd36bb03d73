/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.c - a hash of those that are connected, under a lock: connections of
 * one address are spread over all loops. An address is in it for as long as it
 * has a connection, so their number is bounded by that of all connections.
 */
#include "origin/http/peers.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/lock.h"
#include "origin/locks.h"

#define NETWORK_BYTES 8 /* of an IPv6 address */

struct peer {
	uint8_t key[NETWORK_BYTES];
	unsigned n;
	bool told;
	UT_hash_handle hh;
};

struct peers {
	unsigned max; /* set once */
	struct lock lock;
	struct peer *peer;
};

int peers_new(unsigned max, struct peers **ret)
{
	struct peers *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->max = max;
	lock_init(&p->lock, LOCK_PEERS);
	*ret = p;
	return 0;
}

void peers_free(struct peers *p)
{
	struct peer *peer, *next;

	if (!p)
		return;
	HASH_ITER(hh, p->peer, peer, next) {
		HASH_DEL(p->peer, peer);
		free(peer);
	}
	lock_destroy(&p->lock);
	free(p);
}

/* An IPv4 address with zeros before it, where no network of IPv6 has any. */
static bool key_of(const struct sockaddr_storage *ss,
		   uint8_t key[NETWORK_BYTES])
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;

	memset(key, 0, NETWORK_BYTES);
	if (ss->ss_family == AF_INET)
		memcpy(key + 4, &in->sin_addr, 4);
	else if (ss->ss_family == AF_INET6)
		memcpy(key, &in6->sin6_addr, NETWORK_BYTES);
	else
		return false;
	return true;
}

static struct peer *find_locked(struct peers *p,
				const uint8_t key[NETWORK_BYTES])
{
	struct peer *peer;

	lock_assert_held(&p->lock);
	HASH_FIND(hh, p->peer, key, NETWORK_BYTES, peer);
	if (peer)
		return peer;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return NULL;
	memcpy(peer->key, key, NETWORK_BYTES);
	HASH_ADD(hh, p->peer, key, NETWORK_BYTES, peer);
	return peer;
}

struct peer *peers_join(struct peers *p, const struct sockaddr_storage *address,
			unsigned *ret_above, bool *ret_first)
{
	uint8_t key[NETWORK_BYTES];
	struct peer *peer;

	*ret_above = 0;
	*ret_first = false;
	if (!key_of(address, key))
		return NULL;
	LOCK_SCOPE(&p->lock);
	peer = find_locked(p, key);
	if (!peer)
		return NULL;
	peer->n++;
	if (peer->n > p->max) {
		*ret_above = peer->n - p->max;
		*ret_first = !peer->told;
		peer->told = true;
	}
	return peer;
}

void peers_leave(struct peers *p, struct peer *peer)
{
	if (!peer)
		return;
	LOCK_SCOPE(&p->lock);
	peer->n--;
	if (peer->n < p->max / 2)
		peer->told = false;
	if (peer->n == 0) {
		HASH_DEL(p->peer, peer);
		free(peer);
	}
}
