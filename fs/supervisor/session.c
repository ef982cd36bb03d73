/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - the memory that outlives workers. A memfd and not a file: it
 * ends with the mount, needs no name, and no disk can delay or tear it.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
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
