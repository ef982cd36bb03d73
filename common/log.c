/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - a line is made on the stack and written with one write(2), so lines
 * of several threads and processes do not mix, and no lock is needed. syslog(3)
 * was rejected: it has a lock, and needs a socket that a caged worker cannot
 * open.
 */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/fdio.h"
#include "common/utf8.h"

#define LINE_MAX_BYTES 2048

enum style { STYLE_UNKNOWN, STYLE_JOURNAL, STYLE_TIME };

static char debug_list[256]; /* set once, before threads */
static atomic_int log_fd = STDERR_FILENO;
static atomic_int log_style = STYLE_UNKNOWN;

void log_set_debug(const char *components)
{
	snprintf(debug_list, sizeof(debug_list), "%s",
		 components ? components : "");
}

void log_set_fd(int fd)
{
	atomic_store(&log_fd, fd);
	atomic_store(&log_style, STYLE_UNKNOWN);
}

bool log_debug_on(const char *component)
{
	const char *p = debug_list;
	size_t want = strlen(component);

	while (*p) {
		size_t n = strcspn(p, ",");

		if ((n == want && memcmp(p, component, n) == 0) ||
		    (n == 3 && memcmp(p, "all", 3) == 0))
			return true;
		p += n + (p[n] == ',');
	}
	return false;
}

/*
 * sd-daemon(3): the variable names the device and inode of the stream, because
 * it is inherited even by programs whose stderr went elsewhere.
 */
static enum style style_of(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	    fstat(fd, &st) == 0 && st.st_dev == dev && st.st_ino == ino)
		return STYLE_JOURNAL;
	return STYLE_TIME;
}

static int put_head(char *line, size_t size, int style, enum log_level level)
{
	static const char *const name[] = {"error", "warning", "info", "debug"};
	static const int priority[] = {3, 4, 6, 7};
	struct timespec now;
	struct tm tm;
	char stamp[32];

	if (style == STYLE_JOURNAL)
		return snprintf(line, size, "<%d>", priority[level]);
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &tm);
	return snprintf(line, size, "%s.%03ld %s: ", stamp,
			now.tv_nsec / 1000000, name[level]);
}

void log_write(enum log_level level, const char *component, const char *fmt,
	       ...)
{
	int saved = errno, fd = atomic_load(&log_fd);
	int style = atomic_load(&log_style);
	char line[LINE_MAX_BYTES];
	size_t n, room = sizeof(line) - 1; /* for the newline */
	va_list args;

	if (style == STYLE_UNKNOWN) {
		style = (int)style_of(fd);
		atomic_store(&log_style, style);
	}
	n = (size_t)put_head(line, room, style, level);
	n += (size_t)snprintf(line + n, room - n, "%.64s: ", component);
	errno = saved; /* for %m */
	va_start(args, fmt);
	if (vsnprintf(line + n, room - n, fmt, args) < 0)
		line[n] = 0;
	va_end(args);
	utf8_clean(line);
	n = strlen(line);
	line[n++] = '\n';
	/* There is nobody left to tell if this fails. */
	(void)fd_write_all(fd, line, n);
	errno = saved;
}
