/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.h - why something failed, in one line that a user can act on.
 *
 * Functions return 0 or -errno. Those whose failure a person will read also
 * take a `struct err *` (NULL is allowed) and fill it. Modules return, edges
 * (CLI, daemons' loops) print or log.
 *
 *	return err_set(e, ENOSPC, "%s: disk is full: free %s or ...", dir, s);
 */
#ifndef STAGEFS_COMMON_ERR_H
#define STAGEFS_COMMON_ERR_H

struct err {
	char text[1024]; /* one line, no newline; "" after success */
};

/*
 * Fills `e` (cut to fit; control characters and broken UTF-8 that came from
 * outside are shown as '?'), and returns -code. `code` > 0.
 */
int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "what: " before the text that `e` has. Returns -code. */
int err_prefix(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
