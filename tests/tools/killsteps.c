/* SPDX-License-Identifier: Apache-2.0 */
/*
 * killsteps.c - kills a mount's workers at the named steps of their code
 * (fs/kernel/point.h), one after the other, each by its own debugger: the
 * program that is tested is the one that is installed.
 *
 *	killsteps SUPERVISOR WORKER HOOK SPARE STEP[:N]...
 *
 * HOOK is the address of kernel_test_point in the program, SPARE that of a
 * function that no worker calls (nm). The function becomes a breakpoint and a
 * return, and the hook points to it: so each step of each thread stops here,
 * with its name in the first argument. Workers that follow are caught when
 * the supervisor starts them, before their first instruction. A worker dies at
 * the N-th time (first) that it comes to STEP. Prints "ready", then each step
 * at which one died; ends after the last.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__

#define EVENTS                                                               \
	(PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |    \
	 PTRACE_O_TRACEEXEC)
#define OPCODES "\xcc\xc3" /* int3; ret */

static uint64_t hook, spare; /* in the file */
static pid_t worker;
static uint64_t base; /* where it is mapped in the worker */

static int die(const char *what)
{
	fprintf(stderr, "killsteps: %s: %s\n", what, strerror(errno));
	return 1;
}

static bool is_worker(pid_t pid)
{
	char path[64], exe[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = 0;
	return n > 0 && strcmp(strrchr(exe, '/'), "/stagefs") == 0;
}

/* Where its program begins; a sanitizer maps other things before. */
static uint64_t base_of(pid_t pid)
{
	char path[64], exe[4096], line[4400];
	uint64_t at = 0;
	ssize_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = n > 0 ? fopen(path, "r") : NULL;
	while (f && !at && fgets(line, sizeof(line), f))
		if (strstr(line, exe))
			at = strtoull(line, NULL, 16);
	if (f)
		fclose(f);
	return at;
}

static bool arm(pid_t pid)
{
	uint64_t target;
	char path[64];
	bool ok;
	int fd;

	worker = pid;
	base = base_of(pid);
	target = base + spare;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ok = fd >= 0 && base &&
	     pwrite(fd, OPCODES, 2, (off_t)target) == 2 &&
	     pwrite(fd, &target, sizeof(target), (off_t)(base + hook)) ==
		     sizeof(target);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Those that begin meanwhile are the children of traced ones, sooner or
 * later: until a look finds no new one. */
static bool seize_threads(pid_t pid)
{
	char path[64];
	bool more = true;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	while (more) {
		DIR *d = opendir(path);
		struct dirent *e;

		more = false;
		if (!d)
			return false;
		while ((e = readdir(d)))
			if (atoi(e->d_name) > 0 &&
			    ptrace(PTRACE_SEIZE, atoi(e->d_name), 0,
				   EVENTS) == 0)
				more = true;
		closedir(d);
	}
	return true;
}

/* The step at which this thread has stopped; false: it is none. */
static bool step_of(pid_t tid, char *name, size_t n)
{
	struct user_regs_struct regs;
	char path[64];
	ssize_t got;
	int fd;

	if (ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0 ||
	    regs.rip != base + spare + 1)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/mem", worker);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? -1 : pread(fd, name, n - 1, (off_t)regs.rdi);
	if (fd >= 0)
		close(fd);
	name[got > 0 ? got : 0] = 0;
	return got > 0;
}

/* Is this the time? "open.reply:3" */
static bool is_fatal(const char *wanted, const char *name, unsigned *times)
{
	size_t n = strcspn(wanted, ":");
	unsigned nth = wanted[n] ? (unsigned)atoi(wanted + n + 1) : 1;

	return strlen(name) == n && strncmp(wanted, name, n) == 0 &&
	       ++*times >= nth;
}

static int run(pid_t supervisor, char **steps)
{
	bool dying = false;
	unsigned times = 0;
	char name[64];
	int status;

	while (*steps || dying) {
		pid_t tid = waitpid(-1, &status, __WALL);
		int event = status >> 16, signal = 0;

		if (tid < 0)
			return die("wait");
		if (!WIFSTOPPED(status)) {
			if (tid == supervisor)
				return die("the supervisor has ended");
			if (tid == worker)
				dying = false;
			continue;
		}
		if (event == PTRACE_EVENT_EXEC) {
			if (*steps && is_worker(tid) && !arm(tid))
				return die("a new worker");
		} else if (event == 0 && WSTOPSIG(status) != SIGTRAP) {
			signal = WSTOPSIG(status);
		} else if (event == 0 && !dying && *steps &&
			   step_of(tid, name, sizeof(name)) &&
			   is_fatal(*steps, name, &times)) {
			printf("%s\n", *steps++);
			fflush(stdout);
			times = 0;
			dying = true;
			kill(worker, SIGKILL);
			continue;
		}
		ptrace(PTRACE_CONT, tid, 0, signal);
	}
	return 0;
}

int main(int argc, char **argv)
{
	pid_t supervisor = argc > 5 ? atoi(argv[1]) : 0;

	if (argc < 6)
		return 2;
	hook = strtoull(argv[3], NULL, 16);
	spare = strtoull(argv[4], NULL, 16);
	if (!seize_threads(supervisor) || !seize_threads(atoi(argv[2])))
		return die("attach");
	if (!arm(atoi(argv[2])))
		return die("arm");
	printf("ready\n");
	fflush(stdout);
	return run(supervisor, argv + 5);
}

#else

int main(void)
{
	fprintf(stderr, "killsteps: not for this processor\n");
	return 77;
}

#endif
