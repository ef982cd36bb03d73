/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.h - /dev/fuse as libfuse sees it (DESIGN.md section 7).
 *
 * A FUSE connection starts with one INIT request, which the kernel sends once
 * in its life. The first worker's channel keeps it in the session area; the
 * channel of a later worker gives that copy to libfuse as its first message,
 * keeps libfuse's reply from the kernel, which has one already, and then asks
 * the kernel to repeat every request that the dead worker had taken. Where the
 * kernel cannot (before Linux 6.9) they come from the session area: taken.h.
 *
 * One descriptor, shared by all threads: requests taken through a cloned one
 * die with it (fs/fuse/dev.c, fuse_dev_release).
 */
#ifndef STAGEFS_FS_KERNEL_CHANNEL_H
#define STAGEFS_FS_KERNEL_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "fs/kernel/taken.h"

struct open_answer;
struct session_area;

struct channel {
	struct session_area *session;
	struct taken taken;
	bool repeats;	      /* the kernel can repeat requests */
	bool passthrough;     /* to be switched on, if the kernel has it */
	bool replay;	      /* the first read gives the kept INIT */
	uint64_t init_unique; /* of the INIT in work, 0: none */
};

/* Looks at the session area. -EPROTO if it is not ours, or -ENOMEM. */
int channel_init(struct channel *c, struct session_area *session,
		 bool passthrough);
void channel_done(struct channel *c);

/*
 * Read and write of struct fuse_custom_io, on `fd`. Until the INIT has been
 * answered only one thread may call them.
 */
ssize_t channel_read(struct channel *c, int fd, void *buf, size_t n);
ssize_t channel_writev(struct channel *c, int fd, struct iovec *iov, int n);

/* The number of the request that this thread has read last: libfuse serves it
 * in the same thread, and does not tell its number. */
uint64_t channel_request(void);

/* What struct fuse_open_out is since Linux 6.9. */
struct channel_open_out {
	uint64_t fh;
	uint32_t flags;
	int32_t backing_id;
};
struct channel_open_out channel_open_out(const struct open_answer *a);
/* Answers the OPEN `unique`, past libfuse. 0 or -errno; -ENOENT: the kernel
 * has its answer. */
int channel_answer_open(struct channel *c, int fd, uint64_t unique,
			const struct open_answer *a);

/*
 * What an earlier worker took comes again; and all names are looked up again
 * (what it was to notify may be lost), if the kernel can do that. Does nothing
 * for the first worker. STAGEFS_NO_RESEND in the environment, for tests, makes
 * the kernel one from before Linux 6.9.
 */
void channel_resume(struct channel *c, int fd);

#endif
