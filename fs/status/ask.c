/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask.c - finds the mount and talks to its worker.
 *
 * A path is made absolute as text: realpath(3) would stat the mount. Only its
 * parent is resolved, if the text alone finds nothing, because a mount point
 * behind a symlink (/images -> /srv/images) has another name in mountinfo.
 */
#include "fs/status/ask.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/jget.h"
#include "fs/status/control.h"

#define LINE_MAX_BYTES (1u << 20) /* of an answer */
#define SILENT_S 60		  /* long work says something twice a second */
#define MOUNTINFO_MAX_BYTES (16u << 20)

/* ---- the mount point --------------------------------------------------- */

/* Absolute, without "." "..", double or trailing slashes; as text. */
static int make_absolute(const char *dir, char *out, size_t size)
{
	char both[2 * PATH_MAX], *save = NULL;
	size_t n = 0;

	if (*dir == '/') {
		snprintf(both, sizeof(both), "%s", dir);
	} else {
		if (!getcwd(both, PATH_MAX))
			return -errno;
		snprintf(both + strlen(both), sizeof(both) - strlen(both),
			 "/%s", dir);
	}
	if (strlen(dir) >= PATH_MAX || size < 2)
		return -ENAMETOOLONG;
	for (char *part = strtok_r(both, "/", &save); part;
	     part = strtok_r(NULL, "/", &save)) {
		if (strcmp(part, ".") == 0)
			continue;
		if (strcmp(part, "..") == 0) {
			while (n > 0 && out[--n] != '/')
				;
			continue;
		}
		if (n + strlen(part) + 2 > size)
			return -ENAMETOOLONG;
		out[n++] = '/';
		strcpy(out + n, part);
		n += strlen(part);
	}
	if (n == 0)
		out[n++] = '/';
	out[n] = 0;
	return 0;
}

/* mountinfo writes blanks and the like as \040. In place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
		    s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 +
				       (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

/*
 * The mount point of one line, if it is a stagefs. proc(5):
 * 36 35 98:0 /root /mount/point options... [tags...] - type source super
 */
static char *stagefs_point(char *line)
{
	char *type = strstr(line, " - "), *point = line, *end;

	if (!type || strncmp(type + 3, "fuse.stagefs ", 13) != 0)
		return NULL;
	for (int i = 0; i < 4; i++) {
		point = strchr(point, ' ');
		if (!point)
			return NULL;
		point++;
	}
	end = strchr(point, ' ');
	if (!end)
		return NULL;
	*end = 0;
	unescape(point);
	return point;
}

static bool is_or_holds(const char *point, const char *path)
{
	size_t n = strlen(point);

	return strncmp(point, path, n) == 0 &&
	       (path[n] == 0 || path[n] == '/' || strcmp(point, "/") == 0);
}

/* The longest that holds it; of two at one place the later hides the other. */
static bool find_in(char *text, const char *path, char *out, size_t size)
{
	char *save = NULL;
	bool found = false;

	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *point = stagefs_point(line);

		if (!point || !is_or_holds(point, path) ||
		    strlen(point) >= size ||
		    (found && strlen(point) < strlen(out)))
			continue;
		strcpy(out, point);
		found = true;
	}
	return found;
}

/* /a/b with /a resolved. */
static bool resolve_parent(char path[PATH_MAX])
{
	char parent[PATH_MAX], real[PATH_MAX], *last;
	int n;

	snprintf(parent, sizeof(parent), "%s", path);
	last = strrchr(parent, '/');
	if (!last || last == parent || !last[1])
		return false;
	*last = 0;
	if (!realpath(parent, real))
		return false;
	n = snprintf(path, PATH_MAX, "%s/%s",
		     strcmp(real, "/") == 0 ? "" : real, last + 1);
	return n > 0 && n < PATH_MAX;
}

int ask_find_mount(const char *dir, const char *mountinfo, char *out,
		   size_t size, struct err *e)
{
	CLEAN_FREE char *text = NULL, *again = NULL;
	char path[PATH_MAX];
	size_t n;
	int r = make_absolute(dir, path, sizeof(path));

	if (r)
		return err_set(e, -r, "%s: %s", dir, strerror(-r));
	if (mountinfo)
		text = strdup(mountinfo);
	else
		r = file_read("/proc/self/mountinfo", MOUNTINFO_MAX_BYTES,
			      &text, &n);
	again = text ? strdup(text) : NULL;
	if (r || !again)
		return err_set(e, r ? -r : ENOMEM, "/proc/self/mountinfo: %s",
			       strerror(r ? -r : ENOMEM));
	if (find_in(text, path, out, size) ||
	    (resolve_parent(path) && find_in(again, path, out, size)))
		return 0;
	return err_set(e, ENOENT, "%s: no stagefs is mounted there", dir);
}

/* ---- the socket -------------------------------------------------------- */

static int connect_to(const char *point, int *ret, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char path[CONTROL_PATH_MAX];
	CLEAN_FD int fd = -1;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s",
		 control_path(point, path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, errno, "socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_set(e, errno, "%s: its control socket %s does not "
			       "answer: %s", point, path, strerror(errno));
	*ret = TAKE_FD(fd);
	return 0;
}

bool ask_is_dead(const char *point)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
						  SOCK_NONBLOCK, 0);

	/* Both hold the listening socket. */
	control_path(point, a.sun_path);
	return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 &&
	       (errno == ECONNREFUSED || errno == ENOENT);
}

/* All of one line; `buf` keeps what comes after it. */
struct lines {
	int fd;
	char *buf;
	size_t n, used, cap;
};

static int next_line(struct lines *l, char **ret, struct err *e)
{
	for (;;) {
		char *end = l->n > l->used ? memchr(l->buf + l->used, '\n',
						    l->n - l->used) : NULL;
		ssize_t r;

		if (end) {
			*end = 0;
			*ret = l->buf + l->used;
			l->used = (size_t)(end - l->buf) + 1;
			return 0;
		}
		if (l->used) {
			memmove(l->buf, l->buf + l->used, l->n - l->used);
			l->n -= l->used;
			l->used = 0;
		}
		if (l->n == l->cap) {
			size_t cap = l->cap ? 2 * l->cap : 4096;
			char *p = cap <= LINE_MAX_BYTES ? realloc(l->buf, cap)
							: NULL;

			if (!p)
				return err_set(e, E2BIG, "an answer is too "
					       "long");
			l->buf = p;
			l->cap = cap;
		}
		r = recv(l->fd, l->buf + l->n, l->cap - l->n, 0);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			return err_set(e, ETIMEDOUT, "no answer for %d s",
				       SILENT_S);
		if (r <= 0)
			return err_set(e, ECONNRESET, "the mount's worker "
				       "ended before its answer did");
		l->n += (size_t)r;
	}
}

static int send_request(int fd, const char *verb, json_t *args, struct err *e)
{
	json_t *o = args ? args : json_object();
	CLEAN_FREE char *text = NULL;
	size_t n;

	json_object_set_new(o, "verb", json_string(verb));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text)
		return err_set(e, EINVAL, "a name that is no UTF-8");
	n = strlen(text);
	text[n] = '\n';
	if (n + 1 > CONTROL_LINE_MAX_BYTES)
		return err_set(e, ENAMETOOLONG, "the name is too long");
	if (send(fd, text, n + 1, MSG_NOSIGNAL) != (ssize_t)(n + 1))
		return err_set(e, errno, "control socket: %s",
			       strerror(errno));
	return 0;
}

/* 1: that was the last line. */
static int take_line(const char *text, json_t **ret, struct err *e)
{
	const char *why = NULL;
	bool done = false;
	json_t *o = NULL;
	int r = jget_parse(text, strlen(text), &o, e);

	if (!r)
		r = jget_bool_opt(o, "done", &done, e);
	if (!r && done) {
		r = jget_text_opt(o, "error", 4096, &why, e);
		if (!r && why)
			r = err_set(e, EREMOTEIO, "%s", why);
		json_decref(o);
		return r ? r : 1;
	}
	if (r) {
		json_decref(o);
		return r;
	}
	*ret = o;
	return 0;
}

int ask_socket(int fd, const char *verb, json_t *args,
	       int (*each)(void *ctx, const json_t *line), void *ctx,
	       struct err *e)
{
	struct timeval tv = {.tv_sec = SILENT_S};
	struct lines l = {.fd = fd};
	char *text = NULL;
	int r;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	r = send_request(fd, verb, args, e);
	while (!r) {
		json_t *o = NULL;

		r = next_line(&l, &text, e);
		if (!r)
			r = take_line(text, &o, e);
		if (!r)
			r = each(ctx, o);
		json_decref(o);
	}
	free(l.buf);
	close(fd);
	return r == 1 ? 0 : r;
}

int ask_mount(const char *dir, const char *verb, json_t *args,
	      int (*each)(void *ctx, const json_t *line), void *ctx,
	      struct err *e)
{
	char point[PATH_MAX];
	int fd = -1, r;

	r = ask_find_mount(dir, NULL, point, sizeof(point), e);
	if (!r)
		r = connect_to(point, &fd, e);
	if (r) {
		json_decref(args);
		return r;
	}
	return ask_socket(fd, verb, args, each, ctx, e);
}

/* ---- members ----------------------------------------------------------- */

uint64_t ask_u64(const json_t *o, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(o, name));
}

const char *ask_text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

bool ask_bool(const json_t *o, const char *name)
{
	return json_is_true(json_object_get(o, name));
}
