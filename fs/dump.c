/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump.c - the last words of a worker that is about to be killed because it
 * hangs; what is needed to find out why.
 *
 * In the worker everything happens in signal handlers, of the thread that gets
 * the process's SIGUSR1 and then of each thread in turn, because no lock and
 * no thread can be relied on. What a handler may call is little
 * (signal-safety(7)): system calls, and backtrace(3) once it has been called
 * before.
 *
 * A worker that does not get that far, because it is stopped or sits in the
 * kernel, is described from outside, as far as /proc does.
 */
#include "fs/dump.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define FRAMES_MAX 48
#define FIGURES_MAX 8
#define THREAD_WAIT_MS 100
#define OWN_WORDS_MS 1000

static struct {
	const char *name;
	const uint64_t *value;
} figure[FIGURES_MAX];
static unsigned n_figures;
static unsigned told; /* atomic: threads that have told their part */
static int tasks = -1; /* /proc/self/task */

/* ---- in the worker ------------------------------------------------------- */

static void put(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

static void put_number(uint64_t n)
{
	char digits[24], *p = digits + sizeof(digits) - 1;

	*p = 0;
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	put(p);
}

static void tell_own(void)
{
	void *frame[FRAMES_MAX];
	char name[16] = "";
	int n = backtrace(frame, FRAMES_MAX);

	prctl(PR_GET_NAME, name);
	put("thread ");
	put_number((uint64_t)syscall(SYS_gettid));
	put(" ");
	put(name);
	put(":\n");
	backtrace_symbols_fd(frame, n, STDERR_FILENO);
	__atomic_add_fetch(&told, 1, __ATOMIC_RELEASE);
}

static void ask_thread(pid_t tid)
{
	unsigned before = __atomic_load_n(&told, __ATOMIC_ACQUIRE);

	if (syscall(SYS_tgkill, getpid(), tid, SIGUSR1) < 0)
		return;
	for (int ms = 0; ms < THREAD_WAIT_MS; ms++) {
		if (__atomic_load_n(&told, __ATOMIC_ACQUIRE) != before)
			return;
		nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
	}
}

struct entry { /* getdents64(2) */
	uint64_t ino, off;
	uint16_t len;
	uint8_t type;
	char name[];
};

static void ask_threads(void)
{
	_Alignas(struct entry) char buf[4096];
	pid_t self = (pid_t)syscall(SYS_gettid);
	long n;

	lseek(tasks, 0, SEEK_SET);
	while ((n = syscall(SYS_getdents64, tasks, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n;) {
			const struct entry *e = (const void *)(buf + at);
			pid_t tid = 0;

			for (const char *p = e->name;
			     *p >= '0' && *p <= '9'; p++)
				tid = tid * 10 + *p - '0';
			if (tid && tid != self)
				ask_thread(tid);
			at += e->len;
		}
	}
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)signal, (void)context;
	if (info->si_code == SI_TKILL && info->si_pid == getpid()) {
		tell_own();
	} else {
		put("---- state of the worker\n");
		for (unsigned i = 0; i < n_figures; i++) {
			put(figure[i].name);
			put(" ");
			put_number(__atomic_load_n(figure[i].value,
						   __ATOMIC_RELAXED));
			put("\n");
		}
		tell_own();
		ask_threads();
		put("---- end of the state\n");
	}
	errno = saved;
}

void dump_prepare(void)
{
	struct sigaction a = {.sa_sigaction = on_signal,
			      .sa_flags = SA_SIGINFO | SA_RESTART};
	void *frame[1];

	backtrace(frame, 1); /* loads what it needs */
	tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sigaction(SIGUSR1, &a, NULL);
}

void dump_figure(const char *name, const uint64_t *value)
{
	if (n_figures == FIGURES_MAX)
		return;
	figure[n_figures].name = name;
	figure[n_figures].value = value;
	n_figures++;
}

/* ---- from outside -------------------------------------------------------- */

static const char *first_line(int dir, const char *tid, const char *name,
			      char out[256])
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%.20s/%s", tid, name);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, out, 255);
		close(fd);
	}
	if (n < 0)
		return "?";
	out[n] = 0;
	out[strcspn(out, "\n")] = 0;
	return out;
}

bool dump_at_disk(void)
{
	char stat[256];
	struct dirent *d;
	DIR *of = opendir("/proc/self/task");
	bool found = false;

	while (of && !found && (d = readdir(of))) {
		const char *state = strrchr(first_line(dirfd(of), d->d_name,
						       "stat", stat), ')');

		found = state && state[1] && state[2] == 'D';
	}
	if (of)
		closedir(of);
	return found;
}

int dump_process(int pid)
{
	char path[64], comm[256], wchan[256], call[256], stat[256];
	struct dirent *d;
	DIR *of;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	of = opendir(path);
	if (!of)
		return -errno;
	while ((d = readdir(of))) {
		int dir = dirfd(of);
		const char *state;

		if (d->d_name[0] == '.')
			continue;
		state = strrchr(first_line(dir, d->d_name, "stat", stat), ')');
		log_err("dump", "thread %s %s: state %.1s, in %s, system call "
				"%s", d->d_name,
			first_line(dir, d->d_name, "comm", comm),
			state && state[1] ? state + 2 : "?",
			first_line(dir, d->d_name, "wchan", wchan),
			first_line(dir, d->d_name, "syscall", call));
	}
	closedir(of);
	kill(pid, SIGUSR1);
	nanosleep(&(struct timespec){.tv_sec = OWN_WORDS_MS / 1000}, NULL);
	return 0;
}
