/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes; a replaced file is the old or the new one, whatever
 * goes wrong; open_beneath does not leave its folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fdio.h"

static char top[] = "/tmp/stagefs-fdio-XXXXXX";
static int dirfd_;

static int setup(void **state)
{
	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(top))
		return -1;
	dirfd_ = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"f", "link", "up", "deep/a/f",
					    "deep/f"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlinkat(dirfd_, names[i], 0);
	unlinkat(dirfd_, "deep/a/b", AT_REMOVEDIR);
	unlinkat(dirfd_, "deep/a", AT_REMOVEDIR);
	unlinkat(dirfd_, "deep", AT_REMOVEDIR);
	close(dirfd_);
	return rmdir(top);
}

static int count_entries(void)
{
	DIR *d = opendir(top);
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void assert_content(const char *name, const char *want)
{
	char *data = NULL;
	size_t n = 0;

	assert_int_equal(file_read_at(dirfd_, name, 1000, &data, &n), 0);
	assert_int_equal(n, strlen(want));
	assert_string_equal(data, want); /* the end byte is there */
	free(data);
}

static void test_replace(void **state)
{
	struct stat st;

	(void)state;
	umask(077);
	assert_int_equal(file_replace_at(dirfd_, "f", "one", 3, 0640), 0);
	umask(022);
	assert_content("f", "one");
	assert_int_equal(fstatat(dirfd_, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(file_replace_at(dirfd_, "f", "two", 3, 0644), 0);
	assert_content("f", "two");
	assert_int_equal(file_replace_at(dirfd_, "f", "", 0, 0644), 0);
	assert_content("f", "");
	assert_int_equal(count_entries(), 1);
	assert_int_equal(file_replace_at(dirfd_, "none/f", "x", 1, 0644),
			 -ENOENT);
}

/* A disk that takes no more: the old content stays, nothing is left over. */
static void test_replace_fails(void **state)
{
	struct rlimit old, small = {.rlim_cur = 2, .rlim_max = RLIM_INFINITY};

	(void)state;
	assert_int_equal(file_replace_at(dirfd_, "f", "old", 3, 0644), 0);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(file_replace_at(dirfd_, "f", "newer", 5, 0644),
			 -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_content("f", "old");
	assert_int_equal(count_entries(), 1);

	/* and a target that cannot be replaced */
	assert_int_equal(mkdirat(dirfd_, "deep", 0755), 0);
	assert_int_equal(file_replace_at(dirfd_, "deep", "x", 1, 0644),
			 -EISDIR);
	assert_int_equal(count_entries(), 2);
	assert_int_equal(unlinkat(dirfd_, "deep", AT_REMOVEDIR), 0);
}

static void test_read(void **state)
{
	char path[64], *data = NULL, *big = calloc(1, 100000);
	size_t n = 0;

	(void)state;
	snprintf(path, sizeof(path), "%s/f", top);
	memset(big, 'b', 99999);
	assert_int_equal(file_replace_at(dirfd_, "f", big, 99999, 0644), 0);
	assert_int_equal(file_read(path, 99999, &data, &n), 0);
	assert_int_equal(n, 99999);
	assert_string_equal(data, big);
	free(data);
	data = NULL;
	assert_int_equal(file_read(path, 99998, &data, &n), -EFBIG);
	assert_null(data);
	assert_int_equal(file_read_at(dirfd_, "none", 9, &data, &n), -ENOENT);
	assert_int_equal(file_read(top, 9, &data, &n), -EISDIR);
	/* a file that says it is empty and is not */
	assert_int_equal(file_read("/proc/self/stat", 4096, &data, &n), 0);
	assert_true(n > 10);
	free(data);
	data = NULL;
	assert_int_equal(file_read("/proc/self/stat", 10, &data, &n), -EFBIG);
	/* one that never ends */
	assert_int_equal(file_read("/dev/zero", 100000, &data, &n), -EFBIG);
	free(big);
}

static void test_pread_pwrite(void **state)
{
	char buf[8];
	int fd = openat(dirfd_, "f", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
			0644);

	(void)state;
	assert_int_equal(fd_pwrite_all(fd, "abcd", 4, 4), 0);
	assert_int_equal(fd_pread_all(fd, buf, 8, 0), 0);
	assert_memory_equal(buf, "\0\0\0\0abcd", 8);
	assert_int_equal(fd_pread_all(fd, buf, 5, 4), -ENODATA);
	assert_int_equal(fd_pread_all(fd, buf, 0, 99), 0);
	close(fd);
	assert_int_equal(fd_pread_all(-1, buf, 1, 0), -EBADF);
	assert_int_equal(fd_pwrite_all(-1, buf, 1, 0), -EBADF);
	assert_int_equal(fd_write_all(-1, buf, 1), -EBADF);
}

static void nothing(int sig)
{
	(void)sig;
}

struct pipe_reader {
	int fd;
	pthread_t writer;
	size_t n;
};

/* Reads slowly, and interrupts the writer while it waits. */
static void *read_pipe(void *arg)
{
	struct pipe_reader *p = arg;
	char buf[4096];
	ssize_t got;

	while ((got = read(p->fd, buf, sizeof(buf))) > 0) {
		p->n += (size_t)got;
		pthread_kill(p->writer, SIGUSR1);
	}
	return NULL;
}

static void test_write_interrupted(void **state)
{
	struct sigaction act = {.sa_handler = nothing}; /* no SA_RESTART */
	struct pipe_reader p = {.writer = pthread_self()};
	size_t n = 2 << 20;
	char *data = calloc(1, n);
	int fd[2];
	pthread_t t;

	(void)state;
	sigaction(SIGUSR1, &act, NULL);
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	p.fd = fd[0];
	pthread_create(&t, NULL, read_pipe, &p);
	assert_int_equal(fd_write_all(fd[1], data, n), 0);
	close(fd[1]);
	pthread_join(t, NULL);
	assert_int_equal(p.n, n);
	close(fd[0]);
	free(data);
}

static void test_beneath(void **state)
{
	char path[64];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/deep/a/b", top);
	fd = dir_make(path, 0755);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(fd);
	fd = dir_make(path, 0755); /* again */
	assert_true(fd >= 0);
	close(fd);

	fd = open_beneath(dirfd_, "deep/a/f", O_RDWR | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fsync_dir(fd), 0);
	close(fd);
	fd = open_beneath(dirfd_, "deep/a/f", O_RDONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(open_beneath(dirfd_, "deep/x", O_RDONLY, 0), -ENOENT);
	assert_int_equal(open_beneath(dirfd_, "../x", O_RDONLY, 0), -EXDEV);
	assert_int_equal(open_beneath(dirfd_, "/etc/passwd", O_RDONLY, 0),
			 -EXDEV);
	assert_int_equal(open_beneath(dirfd_, "deep/../../x", O_RDONLY, 0),
			 -EXDEV);
	assert_int_equal(symlinkat("deep/a/f", dirfd_, "link"), 0);
	assert_int_equal(open_beneath(dirfd_, "link", O_RDONLY, 0), -ELOOP);
	assert_int_equal(symlinkat("..", dirfd_, "up"), 0);
	assert_int_equal(open_beneath(dirfd_, "up/etc", O_RDONLY, 0), -ELOOP);

	/* a file in the way, and relative paths */
	snprintf(path, sizeof(path), "%s/deep/a/f/g", top);
	assert_int_equal(dir_make(path, 0755), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/deep/a/f", top);
	assert_int_equal(dir_make(path, 0755), -ENOTDIR);
	assert_int_equal(dir_make("", 0755), -ENOENT);
	fd = dir_make("/", 0755);
	assert_true(fd >= 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replace),
		cmocka_unit_test(test_replace_fails),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_pread_pwrite),
		cmocka_unit_test(test_write_interrupted),
		cmocka_unit_test(test_beneath),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
