/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notifier.c - a process that does nothing but write notifications.
 *
 * A notification waits in the kernel, and cannot be killed there:
 *
 *	of a name	for the lock of its folder (fs/fuse/dir.c,
 *			fuse_reverse_inval_entry), which a lookup in that folder
 *			has until a worker has answered it
 *	of pages	for reads of them (fs/fuse/inode.c,
 *			fuse_reverse_inval_inode), which may be parked
 *
 * So a worker that notifies by itself, and is killed with such a request
 * unanswered, does not end: its thread waits for an answer that only the next
 * worker would give, which is not started before this one has ended. The same
 * in a worker that makes way for another one. Only an abort of the connection
 * would help.
 *
 * Hence another process: it may wait as long as it likes. It gets whole
 * messages over a socket and ends with the worker, or after it, when it was
 * answered.
 *
 * Rejected: to stop notifying before a worker drains; it does not help one
 * that is killed because a handler hangs. FUSE_NOTIFY_INC_EPOCH, which takes
 * no lock: only since Linux 6.16, and all names would be looked up again.
 */
#include "fs/kernel/notifier.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/limits.h"

struct entry_message {
	struct fuse_out_header out;
	struct fuse_notify_inval_entry_out entry;
	char name[STAGEFS_NAME_MAX_BYTES + 1];
};

struct inode_message {
	struct fuse_out_header out;
	struct fuse_notify_inval_inode_out inode;
};

/* In ps(1) it is no second worker, not even for a moment. */
static void rename_verb(const char *from, const char *to)
{
	char *verb = program_invocation_name +
		     strlen(program_invocation_name) + 1;

	if (strcmp(program_invocation_name, "stagefs") == 0 &&
	    strcmp(verb, from) == 0)
		memcpy(verb, to, strlen(from));
}

pid_t notifier_fork(int *ret_fd)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	rename_verb("worker", "notify");
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_NAME, "notifier");
		close(pair[0]);
		*ret_fd = pair[1];
		return 0;
	}
	rename_verb("notify", "worker");
	close(pair[1]);
	if (pid < 0) {
		pid = -errno;
		close(pair[0]);
		return pid;
	}
	*ret_fd = pair[0];
	return pid;
}

void notifier_run(int fd, int fuse_fd)
{
	struct entry_message m; /* the longest */
	ssize_t n;

	/* Of what the worker has open nothing may outlive it here. */
	if (dup2(fd, 0) < 0 || dup2(fuse_fd, 1) < 0)
		_exit(1);
	closefrom(2);
	while ((n = recv(0, &m, sizeof(m), 0)) > 0)
		/* ENOENT is the usual error: the kernel had not cached it. */
		if (write(1, &m, (size_t)n) < 0 && errno == ENODEV)
			break; /* unmounted */
	_exit(0);
}

static int tell(int fd, const void *m, size_t n)
{
	return send(fd, m, n, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int notifier_entry(int fd, uint64_t parent, const char *name)
{
	size_t n = strnlen(name, STAGEFS_NAME_MAX_BYTES);
	size_t all = offsetof(struct entry_message, name) + n + 1;
	struct entry_message m = {
		.out = {.len = (uint32_t)all,
			.error = FUSE_NOTIFY_INVAL_ENTRY},
		.entry = {.parent = parent, .namelen = (uint32_t)n}};

	memcpy(m.name, name, n);
	return tell(fd, &m, all);
}

int notifier_inode(int fd, uint64_t id, bool pages)
{
	/* A negative offset: attributes only, the pages stay. */
	const struct inode_message m = {
		.out = {.len = sizeof(m), .error = FUSE_NOTIFY_INVAL_INODE},
		.inode = {.ino = id, .off = pages ? 0 : -1}};

	return tell(fd, &m, sizeof(m));
}

void notifier_end(int fd)
{
	shutdown(fd, SHUT_RDWR);
}
