/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locks.h - every lock of the origin's daemon, in the order in which a thread
 * may take them (lower first), and what each protects. See common/lock.h.
 *
 * SQLite handles are not shared: each thread opens its own.
 */
#ifndef STAGEFS_ORIGIN_LOCKS_H
#define STAGEFS_ORIGIN_LOCKS_H

enum origin_lock_level {
	LOCK_DAEMON = 10,  /* serve: what the loops and the scheduler share */
	LOCK_DESK = 12,	   /* desk: its queue */
	LOCK_MAILBOX = 14, /* loop: answers that wait to be sent */
	LOCK_PEERS = 16,   /* peers: connections of each address */
	LOCK_PACING = 20,  /* pacing: connections, budgets */
	LOCK_METRICS = 30,
	LOCK_ZONES = 40, /* zone: libical's tables of time zones */
};

#endif
