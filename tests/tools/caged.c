/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caged USER CACHE ACTION [PATH]: goes where the worker goes (fs/cage.h), tries
 * one thing there, and prints "ok" or the name of the error. What is deadly
 * ends it with SIGSYS.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs/cage.h"
#include "fs/privilege.h"

static const char *path;

static int sys(long r)
{
	return r < 0 ? -errno : 0;
}

static int try_read(void)
{
	char c;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : sys(read(fd, &c, 1));
}

static int try_write(void)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : sys(write(fd, "x", 1));
}

static int try_create(void)
{
	return sys(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
}

static int try_list(void)
{
	return sys(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int try_truncate(void)
{
	return sys(truncate(path, 0));
}

static int try_symlink(void)
{
	return sys(syscall(SYS_symlinkat, "/", AT_FDCWD, path));
}

static int try_remove(void)
{
	return sys(unlink(path));
}

static int try_exec(void)
{
	execl("/bin/true", "true", (char *)NULL);
	return -errno;
}

static int try_fork(void)
{
	pid_t p = fork();

	if (p == 0)
		_exit(0);
	return sys(p);
}

static int try_clone3(void)
{
	return sys(syscall(SYS_clone3, NULL, 0));
}

static void *nothing(void *arg)
{
	return arg;
}

/* Into *arg. */
static void *seccomp_mode(void *arg)
{
	int *mode = arg;

	*mode = (int)syscall(SYS_execve, "/bin/true", NULL, NULL);
	return arg;
}

static int try_thread(void)
{
	pthread_t t;
	int r = pthread_create(&t, NULL, nothing, NULL);

	if (!r)
		r = pthread_join(t, NULL);
	return -r;
}

static int try_exec_thread(void)
{
	int mode = 0;
	pthread_t t;

	pthread_create(&t, NULL, seccomp_mode, &mode);
	pthread_join(t, NULL);
	return mode;
}

static int try_ptrace(void)
{
	return sys(ptrace(PTRACE_ATTACH, getppid(), 0, 0));
}

static int try_memory(void)
{
	char c;
	struct iovec own = {&c, 1}, other = {&c, 1};

	return sys(process_vm_readv(getppid(), &own, 1, &other, 1, 0));
}

static int try_kill(void)
{
	return sys(kill(getppid(), 0));
}

static int try_mount(void)
{
	return sys(mount("none", "/mnt", "tmpfs", 0, ""));
}

static int try_umount(void)
{
	return sys(umount2(path, MNT_DETACH));
}

static int try_namespace(void)
{
	return sys(syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */));
}

static int try_setuid(void)
{
	return sys(syscall(SYS_setuid, 0));
}

static int try_module(void)
{
	return sys(syscall(SYS_init_module, NULL, 0, ""));
}

static int try_keys(void)
{
	return sys(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
}

static int try_uring(void)
{
	return sys(syscall(SYS_io_uring_setup, 1, NULL));
}

static int try_packet(void)
{
	return sys(socket(AF_PACKET, SOCK_RAW, 0));
}

static int try_vsock(void)
{
	return sys(socket(40, SOCK_STREAM, 0));
}

static int try_netlink(void)
{
	return sys(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
}

static int try_bind(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? -errno : sys(bind(fd, (struct sockaddr *)&a,
					  sizeof(a)));
}

static int try_listen(void)
{
	return sys(listen(socket(AF_INET, SOCK_STREAM, 0), 1));
}

static int try_linger(void)
{
	struct linger l = {1, 3600};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) < 0)
		return -EPROTO;
	return sys(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
}

/* PATH: the name of one that listens. */
static int try_abstract(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t n = strlen(path);

	memcpy(a.sun_path + 1, path, n);
	return sys(connect(fd, (struct sockaddr *)&a,
			   (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				       1 + n)));
}

/* PATH: a host's name. */
static int try_resolve(void)
{
	struct addrinfo *all;
	int r = getaddrinfo(path, "80", NULL, &all);

	if (r == 0)
		freeaddrinfo(all);
	return r == 0 ? 0 : r == EAI_SYSTEM ? -errno : -ENXIO;
}

/* Ends it, with SIGABRT. */
static int try_abort(void)
{
	abort();
}

static int try_capability(void)
{
	return prctl(PR_CAPBSET_READ, 21, 0, 0, 0) == 1 ? 0 : -EPERM;
}

static const struct action {
	const char *name;
	int (*act)(void);
} actions[] = {
	{"read", try_read},	    {"write", try_write},
	{"create", try_create},	    {"list", try_list},
	{"truncate", try_truncate}, {"symlink", try_symlink},
	{"remove", try_remove},	    {"exec", try_exec},
	{"exec-thread", try_exec_thread},
	{"fork", try_fork},	    {"clone3", try_clone3},
	{"thread", try_thread},	    {"ptrace", try_ptrace},
	{"memory", try_memory},	    {"kill", try_kill},
	{"mount", try_mount},	    {"umount", try_umount},
	{"namespace", try_namespace}, {"setuid", try_setuid},
	{"module", try_module},	    {"keys", try_keys},
	{"uring", try_uring},	    {"packet", try_packet},
	{"vsock", try_vsock},	    {"netlink", try_netlink},
	{"bind", try_bind},	    {"listen", try_listen},
	{"linger", try_linger},	    {"abstract", try_abstract},
	{"resolve", try_resolve},   {"capability", try_capability},
	{"abort", try_abort},
};

int main(int argc, char **argv)
{
	struct identity who;
	struct err e;
	char stands[CAGE_TEXT];
	int r;

	if (argc < 4)
		return 2;
	path = argc > 4 ? argv[4] : "";
	if (identity_find(argv[1], "", &who, &e) < 0 ||
	    cage_enter(&(struct cage){.who = &who, .cache = argv[2], .ca = ""},
		       stands, &e) < 0) {
		fprintf(stderr, "caged: %s\n", e.text);
		return 1;
	}
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(actions[i].name, argv[3]))
			continue;
		r = actions[i].act();
		puts(r ? strerrorname_np(-r) : "ok");
		return 0;
	}
	if (!strcmp(argv[3], "stands"))
		return puts(stands) < 0;
	return 2;
}
