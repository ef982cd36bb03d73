/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - the memory that outlives workers. A memfd and not a file: it
 * ends with the mount, needs no name, and no disk can delay or tear it.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/supervisor/wire.h"

int session_make(struct session_area **ret)
{
	int fd = memfd_create("stagefs-session", MFD_CLOEXEC);
	struct session_area *area;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(*area)) < 0)
		goto fail;
	area = mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED,
		    fd, 0);
	if (area == MAP_FAILED)
		goto fail;
	area->magic = SESSION_MAGIC;
	area->layout = SESSION_LAYOUT;
	*ret = area;
	return fd;
fail:
	close(fd);
	return -errno;
}

void session_forget_connection(struct session_area *s)
{
	s->init_bytes = s->init_answered = s->passthrough = 0;
	s->opens_end = 0;
	/* Words first used anew start from 0 as well, which is fine: no file
	 * handle of the old connection can come over the new one. Gives the
	 * pages back. */
	if (madvise(s->backing, sizeof(s->backing) + sizeof(s->open),
		    MADV_REMOVE) < 0) {
		memset(s->backing, 0, sizeof(s->backing));
		memset(s->open, 0, sizeof(s->open));
	}
}
