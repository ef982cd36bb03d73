/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - what supervisor and worker share: descriptors, messages, and the
 * session area. The only header of this folder that others may include.
 *
 * The supervisor starts the worker with these descriptors open:
 */
#ifndef STAGEFS_FS_SUPERVISOR_WIRE_H
#define STAGEFS_FS_SUPERVISOR_WIRE_H

#include <stdint.h>

#define SUPERVISOR_FUSE_FD 3	/* /dev/fuse, mounted after "ready" */
#define SUPERVISOR_CONTROL_FD 4 /* listening Unix socket of the CLI */
#define SUPERVISOR_LINK_FD 5	/* socket pair between the two */
#define SUPERVISOR_SESSION_FD 6 /* memfd with a struct session_area */

/*
 * Messages over the link (SOCK_SEQPACKET): one letter, then perhaps text.
 *
 *	worker				supervisor
 *	MSG_READY [warning], or MSG_ERROR text
 *					mount(2); MSG_MOUNTED
 *	MSG_SERVING
 *
 * A worker that is started again gets MSG_MOUNTED for its "ready" as well. It
 * sees that it is not the first one by `started`.
 */
enum supervisor_message {
	MSG_READY = 'R',
	MSG_ERROR = 'E', /* one line of text, without an end byte */
	MSG_MOUNTED = 'M',
	MSG_SERVING = 'S',
};
#define SUPERVISOR_MESSAGE_MAX_BYTES 1200

/*
 * What has to outlive a worker, in a memfd that the supervisor holds. It is
 * written by one worker at a time; each field is written before the one that
 * says that it counts (`init_bytes`, then `init_answered`), so a kill between
 * any two stores leaves a state that the next worker can go on from.
 *
 * `room` is where the table of open inodes goes (mode, count, backing id).
 */
#define SESSION_MAGIC 0x73746773u /* "stgs" */
#define SESSION_LAYOUT 1u
#define SESSION_INIT_MAX_BYTES 512u
#define SESSION_AREA_BYTES (1u << 20)

struct session_area {
	uint32_t magic, layout;
	uint32_t started;	/* workers started so far */
	uint32_t init_bytes;	/* 0: no INIT has been seen yet */
	uint32_t init_answered; /* the kernel has its answer */
	uint32_t reserved[3];
	uint8_t init[SESSION_INIT_MAX_BYTES]; /* the request, as read */
	uint8_t room[SESSION_AREA_BYTES - SESSION_INIT_MAX_BYTES - 32];
};
_Static_assert(sizeof(struct session_area) == SESSION_AREA_BYTES,
	       "the layout of the session area is an interface");

#endif
