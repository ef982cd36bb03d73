/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - what supervisor, worker and `stagefs mount` share: descriptors,
 * messages, and the session area. The only header of this folder that others
 * may include.
 *
 * Descriptors have fixed numbers, so that nothing has to be said about them.
 * `stagefs mount` opens all but link and signals and becomes the supervisor,
 * which starts workers with the first four.
 */
#ifndef STAGEFS_FS_SUPERVISOR_WIRE_H
#define STAGEFS_FS_SUPERVISOR_WIRE_H

#include <stdint.h>

#define SUPERVISOR_FUSE_FD 3	/* /dev/fuse, mounted after "ready" */
#define SUPERVISOR_CONTROL_FD 4 /* listening Unix socket of the CLI */
#define SUPERVISOR_LINK_FD 5	/* socket pair between the two */
#define SUPERVISOR_SESSION_FD 6 /* memfd with a struct session_area */
#define SUPERVISOR_SIGNAL_FD 7
#define SUPERVISOR_PROGRAM_FD 8     /* what workers are started from */
#define SUPERVISOR_OLD_PROGRAM_FD 9 /* the same before an upgrade */
/* Pipe to who waits for the mount: the exit status in one byte, and a line if
 * there is one to print. */
#define SUPERVISOR_VERDICT_FD 10

#define SUPERVISOR_MAX_READ_BYTES (1u << 20) /* of a mount, as in INIT */

/*
 * Arguments: mount.stagefs SOURCE POINT -o OPTIONS PROGRAM --state=STATE, with
 * PROGRAM the path of stagefs. STATE: the worker's pid, MAJOR:MINOR of the
 * mount (0:0: it is to be made), inode and path of the control socket, with
 * commas in between; pid 0: somebody waits for the mount.
 */
#define SUPERVISOR_ARGS 7

/*
 * Messages over the link (SOCK_SEQPACKET): one letter, then perhaps text.
 *
 *	worker				supervisor
 *	MSG_READY, or MSG_ERROR text
 *					mount(2); MSG_MOUNTED
 *	MSG_SERVING
 *					MSG_PING, now and then
 *	MSG_PONG, if all is well
 *	MSG_UPGRADE
 *					MSG_REFUSED text; or, as another
 *					program, MSG_DRAIN
 *	its end, with status 0
 *					MSG_STOP, at SIGTERM
 *	its end
 *	MSG_BACKING_OPEN + 2 descriptors
 *					a struct backing_answer over the second
 *	MSG_BACKING_CLOSE "7 12 13"
 *
 * A worker that is started again gets MSG_MOUNTED for its "ready" as well. It
 * sees that it is not the first one by `started`.
 *
 * MSG_BACKING_OPEN: the first descriptor is a file that the kernel is to read
 * by itself, the second one end of a socket pair (SOCK_SEQPACKET) made for
 * this one answer. So answers need no numbers, any thread may ask, and one who
 * has stopped waiting has closed his end: the supervisor sees that nobody
 * took the answer and takes the registration back.
 */
enum supervisor_message {
	MSG_READY = 'R',
	MSG_ERROR = 'E', /* one line of text, without an end byte */
	MSG_MOUNTED = 'M',
	MSG_SERVING = 'S', /* perhaps a warning for who waits for the mount */
	MSG_PING = 'P',
	MSG_PONG = 'A',
	MSG_UPGRADE = 'U',
	MSG_REFUSED = 'N',
	MSG_DRAIN = 'D',
	MSG_STOP = 'X',
	MSG_BACKING_OPEN = 'B',
	MSG_BACKING_CLOSE = 'C', /* ids in decimal, blanks in between */
};
#define SUPERVISOR_MESSAGE_MAX_BYTES 1200

/*
 * What one version hands over to another (`stagefs upgrade`): arguments,
 * descriptors, these messages, and the session area. `stagefs mount` asked with
 * --can-resume=THIS, and the supervisor's program, to which it hands that on,
 * exit with 0 if they can go on from there.
 */
#define SUPERVISOR_COMPAT "2.3" /* of these; SESSION_LAYOUT */

struct backing_answer {
	int32_t id; /* > 0, or -errno */
};

/*
 * What has to outlive a worker, in a memfd that the supervisor holds. It is
 * written by one worker at a time, but for `started` and `backing`, which are
 * the supervisor's. Each field is written before the one that says that it
 * counts (`init_bytes`, then `init_answered`; an open's fields, then its
 * `word`), so a kill between any two stores leaves a state that the next
 * worker can go on from. Sparse: pages that nobody wrote take no memory.
 */
#define SESSION_MAGIC 0x73746773u /* "stgs" */
#define SESSION_LAYOUT 3u
#define SESSION_INIT_MAX_BYTES 512u
#define SESSION_HEAD_BYTES 4096u
#define SESSION_BACKINGS_MAX 65536u
#define SESSION_OPENS_BITS 20
#define SESSION_OPENS_MAX (1u << SESSION_OPENS_BITS)

/*
 * One open file of the kernel. `word` is generation << 2 | state. See
 * fs/kernel/opens.c for its life.
 */
struct session_open {
	uint64_t word;	 /* atomic */
	uint64_t id;	 /* of the image */
	uint64_t unique; /* of the OPEN that made it */
	uint32_t backing_id; /* 0: cached mode */
	uint32_t reserved;
};

/*
 * A request that the worker has taken and not answered; fs/kernel/taken.c.
 * The kernel's numbers are even: 0 is a free place, 1 one that is being
 * filled.
 */
#define SESSION_TAKEN_BITS 14
#define SESSION_TAKEN_MAX (1u << SESSION_TAKEN_BITS)
struct session_taken {
	uint64_t unique; /* atomic */
	uint32_t bytes;	 /* 0: longer than there is room */
	uint32_t reserved;
	uint8_t msg[496];
};

/* Where a thread of the worker reads the next one: as large as libfuse's. */
#define SESSION_LANDINGS 32u
#define SESSION_LANDING_BYTES ((1u << 20) + 4096u)
struct session_landing {
	uint8_t msg[SESSION_LANDING_BYTES]; /* its first 4 bytes 0: nothing */
};

struct session_area {
	uint32_t magic, layout;
	uint32_t started;	/* workers started so far */
	uint32_t init_bytes;	/* 0: no INIT has been seen yet */
	uint32_t init_answered; /* the kernel has its answer */
	uint32_t passthrough;	/* that answer has switched it on */
	uint32_t opens_end;	/* no open at or behind it was ever in use */
	uint32_t reserved;
	uint8_t init[SESSION_INIT_MAX_BYTES]; /* the request, as read */
	uint8_t room[SESSION_HEAD_BYTES - SESSION_INIT_MAX_BYTES - 32];
	/* Files registered with the kernel, in any order; 0: none. Written by
	 * the supervisor once the kernel has one, and once it has not. */
	uint32_t backing[SESSION_BACKINGS_MAX];
	struct session_open open[SESSION_OPENS_MAX];
	struct session_taken taken[SESSION_TAKEN_MAX];
	struct session_landing landing[SESSION_LANDINGS];
};
_Static_assert(sizeof(struct session_area) ==
		       SESSION_HEAD_BYTES + SESSION_BACKINGS_MAX * 4 +
			       SESSION_OPENS_MAX * 32 +
			       SESSION_TAKEN_MAX * 512 +
			       SESSION_LANDINGS * SESSION_LANDING_BYTES,
	       "the layout of the session area is an interface");

#endif
