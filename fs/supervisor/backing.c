/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backing.c - registers the worker's data files with the kernel, so that it
 * reads them itself (passthrough). That takes CAP_SYS_ADMIN, which the worker
 * has not: it sends the open file, and gets a number that it may use in its
 * answers to OPEN.
 *
 * The kernel opens the file anew with our rights, not with those of the
 * worker (fs/backing-file.c). So what comes has to be a file that the worker
 * was able to open itself, and for writing, as it does with its own: with an
 * O_PATH descriptor it could otherwise show the world what only root may read,
 * and with one of /proc or /sys what is there for root only, though everybody
 * may open it (kallsyms).
 *
 * Nothing here may ask the file system of that file, which may be the worker's
 * own: fcntl(2) does not, and the type is known when it is open. close(2)
 * could wait for it, or for a socket that lingers; the worker's cage does not
 * let it have either (fs/cage.h).
 *
 * Each number is kept in the session area from the moment that the kernel has
 * it. A worker that follows one killed in between compares these with what is
 * open and has the others closed.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* <linux/fuse.h> of Linux 6.9; Debian 12 has an older one. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define DEV_IOC_BACKING_OPEN _IOW(229, 1, struct backing_map)
#define DEV_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

static int check_file(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct statx x;

	if (flags < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
			       STATX_TYPE, &x) < 0)
		return -errno;
	if ((flags & (O_PATH | O_ACCMODE)) == O_RDWR && S_ISREG(x.stx_mode))
		return 0;
	return -EACCES;
}

/* The place of `id`, or NULL; 0 finds a free one. */
static uint32_t *place_of(struct session_area *s, uint32_t id)
{
	for (uint32_t i = 0; i < SESSION_BACKINGS_MAX; i++)
		if (s->backing[i] == id)
			return &s->backing[i];
	return NULL;
}

static int32_t register_file(int fuse_fd, struct session_area *s, int fd)
{
	struct backing_map map = {.fd = fd};
	uint32_t *place = place_of(s, 0);
	int id = check_file(fd);

	if (id < 0 || !place)
		return id < 0 ? id : -ENOSPC;
	id = ioctl(fuse_fd, DEV_IOC_BACKING_OPEN, &map);
	if (id < 0)
		return -errno;
	__atomic_store_n(place, (uint32_t)id, __ATOMIC_RELEASE);
	return id;
}

static void unregister(int fuse_fd, struct session_area *s, uint32_t id)
{
	uint32_t *place = place_of(s, id);

	if (!place)
		return;
	ioctl(fuse_fd, DEV_IOC_BACKING_CLOSE, &id);
	__atomic_store_n(place, 0, __ATOMIC_RELEASE);
}

void backing_open(struct worker *w, int fuse_fd, struct session_area *s)
{
	struct backing_answer a;

	if (w->fd[0] < 0 || w->fd[1] < 0)
		return;
	a.id = register_file(fuse_fd, s, w->fd[0]);
	/* Whoever asked has stopped waiting, or died. */
	if (send(w->fd[1], &a, sizeof(a), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
	    a.id > 0)
		unregister(fuse_fd, s, (uint32_t)a.id);
	worker_drop_fds(w);
}

void backing_close(int fuse_fd, struct session_area *s, const char *ids)
{
	unsigned id;
	int n;

	for (; sscanf(ids, "%u%n", &id, &n) == 1; ids += n)
		if (id)
			unregister(fuse_fd, s, id);
}
