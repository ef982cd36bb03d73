/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spacewatch.c - how much a cache ever took (C3). Every 10 ms it adds up what
 * the files of CACHE have allocated, and asks statfs of MOUNT; until SIGTERM,
 * then prints the most it saw.
 *
 *	spacewatch CACHE MOUNT
 *	-> "disk BYTES df BYTES samples N"
 *
 * A file that is deleted but still open has left the folder and still takes
 * space, so files that /proc/PID/fd of the worker shows as deleted count too,
 * with a third argument PID.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define EVERY_NS 10000000
#define UNIT_BYTES 512

static volatile sig_atomic_t over;

static void on_term(int sig)
{
	(void)sig;
	over = 1;
}

/* Regular files of a folder; with `deleted`, those that have no name. */
static uint64_t add_up(const char *path, int deleted)
{
	DIR *d = opendir(path);
	struct dirent *e;
	uint64_t sum = 0;
	struct stat st;

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		if (fstatat(dirfd(d), e->d_name, &st,
			    deleted ? 0 : AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (!deleted || st.st_nlink == 0)
			sum += (uint64_t)st.st_blocks * UNIT_BYTES;
	}
	closedir(d);
	return sum;
}

int main(int argc, char **argv)
{
	uint64_t disk_max = 0, df_max = 0, samples = 0;
	char data[4096], fds[64] = "";
	struct statvfs v;

	if (argc < 3)
		return 2;
	snprintf(data, sizeof(data), "%s/data", argv[1]);
	if (argc > 3)
		snprintf(fds, sizeof(fds), "/proc/%s/fd", argv[3]);
	signal(SIGTERM, on_term);
	for (; !over; samples++) {
		uint64_t disk = add_up(argv[1], 0) + add_up(data, 0), df;

		if (fds[0])
			disk += add_up(fds, 1);
		if (disk > disk_max)
			disk_max = disk;
		if (statvfs(argv[2], &v) == 0) {
			df = (v.f_blocks - v.f_bfree) * v.f_frsize;
			if (df > df_max)
				df_max = df;
		}
		nanosleep(&(struct timespec){.tv_nsec = EVERY_NS}, NULL);
	}
	printf("disk %" PRIu64 " df %" PRIu64 " samples %" PRIu64 "\n",
	       disk_max, df_max, samples);
	return 0;
}
