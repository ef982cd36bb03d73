/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cage_calls.c - seccomp: the system calls that the worker's libraries make,
 * with all threads (there is one yet).
 *
 * What is not listed has no such call (ENOSYS): that is what a C library that
 * is newer than this list takes for an older kernel and goes round, clone3()
 * for one (which is why that is not logged). To kill for it would turn an
 * update of a library into a mount that dies ten times a minute.
 *
 * What only an intruder tries (another program, another process's memory,
 * mounts, kernel modules) ends the worker at once: the supervisor logs "Bad
 * system call" and starts a clean one.
 *
 * Arguments are looked at where a call is harmless but for some of them. Those
 * behind a pointer cannot be: clone3 is out for that.
 */
#include "fs/cage.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const allowed[] = {
	/* files */
	"read", "readv", "pread64", "preadv", "preadv2", "write", "writev",
	"pwrite64", "pwritev", "pwritev2", "open", "openat", "openat2",
	"close", "close_range", "stat", "fstat", "lstat", "newfstatat",
	"statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2",
	"readlink", "readlinkat", "getdents", "getdents64", "lseek", "getcwd",
	"rename", "renameat", "renameat2", "link", "linkat", "unlink",
	"unlinkat", "mkdir", "mkdirat", "rmdir", "truncate", "ftruncate",
	"fallocate", "fadvise64", "readahead", "fsync", "fdatasync",
	"sync_file_range", "fchmod", "fchmodat", "fchown", "utimensat",
	"futimesat", "umask", "flock", "fcntl", "dup", "dup2", "dup3", "pipe",
	"pipe2", "splice", "tee", "sendfile", "copy_file_range",
	/* memory */
	"mmap", "munmap", "mremap", "mprotect", "madvise", "msync", "mincore",
	"mlock", "mlock2", "munlock", "brk", "memfd_create",
	/* sockets; see below for socket() itself */
	"connect", "bind", "accept", "accept4", "sendto", "recvfrom",
	"sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "shutdown",
	"getsockname", "getpeername", "getsockopt",
	/* waiting */
	"poll", "ppoll", "select", "pselect6", "epoll_create",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
	"epoll_pwait2", "eventfd", "eventfd2", "timerfd_create",
	"timerfd_settime", "timerfd_gettime", "nanosleep", "clock_nanosleep",
	"restart_syscall",
	/* threads and signals; see below for clone() and tgkill() */
	"futex", "futex_waitv", "set_robust_list", "get_robust_list", "rseq",
	"set_tid_address", "membarrier", "sched_yield", "sched_getaffinity",
	"sched_getparam", "sched_getscheduler", "sched_get_priority_max",
	"sched_get_priority_min", "rt_sigaction", "rt_sigprocmask",
	"rt_sigreturn", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait",
	"sigaltstack", "exit", "exit_group", "arch_prctl",
	/* who and when */
	"gettid", "getpid", "getppid", "getuid", "geteuid", "getgid",
	"getegid", "getresuid", "getresgid", "getgroups", "getpgrp", "getsid",
	"capget", "getrandom", "getrusage", "getrlimit", "times", "sysinfo",
	"uname", "time", "gettimeofday", "clock_gettime", "clock_getres",
	"getcpu",
};

static const char *const deadly[] = {
	"execve", "execveat", "ptrace", "process_vm_readv",
	"process_vm_writev", "pidfd_getfd", "mount", "umount2", "pivot_root",
	"chroot", "fsopen", "fsmount", "fspick", "open_tree", "move_mount",
	"mount_setattr", "setns", "unshare", "open_by_handle_at",
	"init_module", "finit_module", "delete_module", "kexec_load",
	"kexec_file_load", "bpf", "perf_event_open", "userfaultfd", "keyctl",
	"add_key", "request_key", "reboot", "swapon", "swapoff", "iopl",
	"ioperm", "setuid", "setgid", "setreuid", "setregid", "setresuid",
	"setresgid", "setgroups", "setfsuid", "setfsgid", "capset", "listen",
};

/* A call, allowed if (argument & mask) is the value. */
struct narrow {
	const char *name;
	unsigned argument;
	uint64_t mask, value;
};

#define INT UINT32_MAX /* the upper half of an int is anything */

static const struct narrow narrows[] = {
	{"clone", 0, CLONE_THREAD, CLONE_THREAD}, /* no process */
	{"socket", 0, INT, AF_UNIX},
	{"socket", 0, INT, AF_INET},
	{"socket", 0, INT, AF_INET6},
	{"socket", 0, INT, AF_NETLINK}, /* getaddrinfo(3): addresses we have */
	{"socketpair", 0, INT, AF_UNIX},
	{"prlimit64", 0, INT, 0}, /* its own */
	{"prctl", 0, INT, PR_SET_NAME},
	{"prctl", 0, INT, PR_GET_NAME},
	{"prctl", 0, INT, 0x53564d41}, /* PR_SET_VMA, a name too */
	{"ioctl", 1, INT, TCGETS}, /* isatty(3) */
	{"ioctl", 1, INT, FIONBIO},
	{"ioctl", 1, INT, FIONREAD},
	{"ioctl", 1, INT, SIOCGIFINDEX}, /* resolv.conf(5): fe80::1%eth0 */
};

/* Those that this libseccomp or this machine does not have are left out. */
static int rule(scmp_filter_ctx f, uint32_t action, const char *name,
		unsigned n, const struct scmp_arg_cmp *arg)
{
	int number = seccomp_syscall_resolve_name(name);

	if (number == __NR_SCMP_ERROR || number < 0)
		return 0;
	return seccomp_rule_add_array(f, action, number, n, arg);
}

static int add_narrow(scmp_filter_ctx f)
{
	/* close(2) by the supervisor, to which a descriptor was sent, must
	 * not linger. */
	const struct scmp_arg_cmp other_level =
		SCMP_A1_32(SCMP_CMP_NE, SOL_SOCKET);
	const struct scmp_arg_cmp other_option =
		SCMP_A2_32(SCMP_CMP_NE, SO_LINGER);
	const struct scmp_arg_cmp self =
		SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)getpid());
	int r = 0;

	for (size_t i = 0; !r && i < sizeof(narrows) / sizeof(*narrows); i++) {
		const struct narrow *n = &narrows[i];
		const struct scmp_arg_cmp c = SCMP_CMP64(
			n->argument, SCMP_CMP_MASKED_EQ, n->mask, n->value);

		r = rule(f, SCMP_ACT_ALLOW, n->name, 1, &c);
	}
	if (!r)
		r = rule(f, SCMP_ACT_ALLOW, "setsockopt", 1, &other_level);
	if (!r)
		r = rule(f, SCMP_ACT_ALLOW, "setsockopt", 1, &other_option);
	if (!r)
		r = rule(f, SCMP_ACT_ALLOW, "tgkill", 1, &self);
	return r;
}

int cage_calls(void)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	const int n = sizeof(allowed) / sizeof(allowed[0]);
	int r = f ? 0 : -ENOMEM;

	if (!r)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	for (int i = 0; !r && i < n; i++)
		r = rule(f, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
	for (size_t i = 0; !r && i < sizeof(deadly) / sizeof(deadly[0]); i++)
		r = rule(f, SCMP_ACT_KILL_PROCESS, deadly[i], 0, NULL);
	if (!r)
		r = add_narrow(f);
	if (!r)
		r = seccomp_load(f);
	seccomp_release(f);
	return r < 0 ? r : n;
}
