/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stopthread PID NAME: stops one thread of a process and nothing else of it,
 * as a deadlock would; prints its number, and holds it until it is killed.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int has_name(const char *pid, const char *tid, const char *name)
{
	char path[300], line[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/task/%s/comm", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	line[strcspn(line, "\n")] = 0;
	return !strcmp(line, name);
}

static int stop(const char *tid)
{
	pid_t t = atoi(tid);
	int status;

	if (ptrace(PTRACE_SEIZE, t, 0, 0) < 0 ||
	    ptrace(PTRACE_INTERRUPT, t, 0, 0) < 0 ||
	    waitpid(t, &status, __WALL) != t) {
		fprintf(stderr, "thread %s: %s\n", tid, strerror(errno));
		return 1;
	}
	puts(tid);
	fflush(stdout);
	/* Killed with its process, it is a zombie until its tracer has seen
	 * that. */
	while (waitpid(t, &status, __WALL) == t && WIFSTOPPED(status))
		;
	return 0;
}

int main(int argc, char **argv)
{
	char path[64], tid[24] = "";
	struct dirent *d;
	DIR *dir;

	if (argc != 3)
		return 2;
	snprintf(path, sizeof(path), "/proc/%s/task", argv[1]);
	dir = opendir(path);
	while (dir && !tid[0] && (d = readdir(dir)))
		if (has_name(argv[1], d->d_name, argv[2]))
			snprintf(tid, sizeof(tid), "%.20s", d->d_name);
	if (dir)
		closedir(dir);
	if (tid[0])
		return stop(tid);
	fprintf(stderr, "process %s has no thread %s\n", argv[1], argv[2]);
	return 1;
}
