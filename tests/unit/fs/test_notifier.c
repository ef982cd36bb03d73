/* SPDX-License-Identifier: Apache-2.0 */
/* test_notifier.c - what the kernel gets, in another process, that ends with
 * the socket, and for which nobody waits after the end. */
#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/kernel/notifier.h"

static pid_t start(int *ret_fd, int *ret_kernel)
{
	int fd, pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	pid = notifier_fork(&fd);
	assert_true(pid >= 0);
	if (pid == 0) {
		close(pair[0]);
		notifier_run(fd, pair[1]);
	}
	close(pair[1]);
	*ret_fd = fd;
	*ret_kernel = pair[0];
	return pid;
}

static void expect_end(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void names_are_told(void **state)
{
	struct {
		struct fuse_out_header out;
		struct fuse_notify_inval_entry_out entry;
		char name[256];
	} got;
	char longest[300];
	int fd, kernel;
	pid_t pid = start(&fd, &kernel);

	(void)state;
	memset(longest, 'x', 255);
	longest[255] = 0;
	for (int i = 0; i < 2; i++) {
		const char *name = i ? longest : "base.wim";
		size_t n = strlen(name), all = 16 + 16 + n + 1;

		assert_int_equal(notifier_entry(fd, 77, name), 0);
		assert_int_equal(recv(kernel, &got, sizeof(got), 0), all);
		assert_int_equal(got.out.len, all);
		assert_int_equal(got.out.unique, 0);
		assert_int_equal(got.out.error, FUSE_NOTIFY_INVAL_ENTRY);
		assert_int_equal(got.entry.parent, 77);
		assert_int_equal(got.entry.namelen, n);
		assert_string_equal(got.name, name);
	}
	close(fd);
	expect_end(pid);
	close(kernel);
}

static void inodes_are_told(void **state)
{
	struct {
		struct fuse_out_header out;
		struct fuse_notify_inval_inode_out inode;
	} got;
	int fd, kernel;
	pid_t pid = start(&fd, &kernel);

	(void)state;
	for (int pages = 0; pages < 2; pages++) {
		assert_int_equal(notifier_inode(fd, 99, pages), 0);
		assert_int_equal(recv(kernel, &got, sizeof(got), 0), 40);
		assert_int_equal(got.out.len, 40);
		assert_int_equal(got.out.unique, 0);
		assert_int_equal(got.out.error, FUSE_NOTIFY_INVAL_INODE);
		assert_int_equal(got.inode.ino, 99);
		assert_true(got.inode.off == (pages ? 0 : -1));
		assert_int_equal(got.inode.len, 0);
	}
	close(fd);
	expect_end(pid);
	close(kernel);
}

static void *fill(void *arg)
{
	while (notifier_entry(*(int *)arg, 1, "name") == 0)
		;
	return NULL;
}

/* The kernel takes nothing any more. */
static void the_end_waits_for_nobody(void **state)
{
	int fd, kernel;
	pid_t pid = start(&fd, &kernel);
	pthread_t t;

	(void)state;
	pthread_create(&t, NULL, fill, &fd);
	usleep(20000);
	notifier_end(fd);
	pthread_join(t, NULL);
	assert_int_equal(notifier_entry(fd, 1, "name"), -EPIPE);
	close(kernel);
	waitpid(pid, NULL, 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_told),
		cmocka_unit_test(inodes_are_told),
		cmocka_unit_test(the_end_waits_for_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
