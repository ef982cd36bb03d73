/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.c - the control socket of `stagefs status` and its like, under a
 * name that anybody can compute from the mount point. Made here, because
 * /run/stagefs belongs to root; served by the worker, which gets the
 * listening descriptor and so keeps it over restarts.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RUN_DIR "/run/stagefs"

static uint64_t fnv1a64(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;

	while (*s)
		h = (h ^ (uint8_t)*s++) * 0x100000001b3u;
	return h;
}

int control_make(const char *mountpoint, struct control_socket *ret,
		 char why[LINE_MAX_BYTES])
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct control_socket c;
	struct stat st;

	snprintf(c.path, sizeof(c.path), RUN_DIR "/%016llx.sock",
		 (unsigned long long)fnv1a64(mountpoint));
	memcpy(a.sun_path, c.path, sizeof(c.path));
	c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c.fd < 0)
		goto fail;
	if (mkdir(RUN_DIR, 0755) < 0 && errno != EEXIST)
		goto fail;
	/* Nothing is mounted there (checked), so an old file is a leftover. */
	unlink(c.path);
	if (bind(c.fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    chmod(c.path, 0666) < 0 || listen(c.fd, 16) < 0 ||
	    lstat(c.path, &st) < 0)
		goto fail;
	c.dev = st.st_dev;
	c.ino = st.st_ino;
	*ret = c;
	return 0;
fail:
	refuse(why, EXIT_SYSTEM, "control socket %s: %s", c.path,
	       strerror(errno));
	if (c.fd >= 0)
		close(c.fd);
	return EXIT_SYSTEM;
}

void control_remove(const struct control_socket *c)
{
	struct stat st;

	/* The next mount of the same folder may have made its own already. */
	if (lstat(c->path, &st) == 0 && st.st_dev == c->dev &&
	    st.st_ino == c->ino)
		unlink(c->path);
}
