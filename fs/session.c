/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/session.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fs/supervisor/wire.h"

int session_make(void)
{
	CLEAN_FD int fd = memfd_create("stagefs-session",
				       MFD_CLOEXEC | MFD_ALLOW_SEALING);
	const uint32_t head[2] = {SESSION_MAGIC, SESSION_LAYOUT};

	/* A worker that made it shorter would take the supervisor with it
	 * (SIGBUS). */
	if (fd < 0 || ftruncate(fd, sizeof(struct session_area)) < 0 ||
	    fcntl(fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
	    pwrite(fd, head, sizeof(head), 0) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int session_map(int fd, struct session_area **ret)
{
	struct session_area *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				      MAP_SHARED, fd, 0);

	if (s == MAP_FAILED)
		return -errno;
	*ret = s;
	return 0;
}
