/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.c - one walk over the code points of a part decides; the path check is
 * the part check between the slashes. No normalization (NFC): Linux, NFS and
 * Samba compare bytes, and a name has to come out as it went in.
 */
#include "common/names.h"

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "common/limits.h"
#include "common/utf8.h"

static const char smb_forbidden[] = "\\:*?\"<>|";

static int check_characters(const char *part, size_t n, struct err *e)
{
	uint32_t code = 0;

	for (size_t i = 0; i < n;) {
		size_t len = utf8_decode(part + i, n - i, &code);

		if (len == 0)
			return err_set(e, EINVAL,
				       "name '%.*s' is not valid UTF-8", (int)n,
				       part);
		if (utf8_is_control(code))
			return err_set(e, EINVAL,
				       "name '%.*s' has a control character",
				       (int)n, part);
		if (code == '/' || (code < 0x80 && strchr(smb_forbidden,
							  (int)code)))
			return err_set(e, EINVAL,
				       "name '%.*s' has a '%c', which SMB "
				       "clients cannot use",
				       (int)n, part, (int)code);
		i += len;
	}
	/* `code` is the last one. */
	if (code == ' ' || code == '.')
		return err_set(e, EINVAL,
			       "name '%.*s' ends in a %s, which Windows drops",
			       (int)n, part, code == ' ' ? "blank" : "dot");
	return 0;
}

static int check_part(const char *part, size_t n, struct err *e)
{
	if (n == 0)
		return err_set(e, EINVAL, "a name must not be empty");
	if (n > STAGEFS_NAME_MAX_BYTES)
		return err_set(e, ENAMETOOLONG,
			       "name '%.40s...' is longer than %d bytes", part,
			       STAGEFS_NAME_MAX_BYTES);
	if ((n == 1 && part[0] == '.') ||
	    (n == 2 && part[0] == '.' && part[1] == '.'))
		return err_set(e, EINVAL, "a name must not be '%.*s'", (int)n,
			       part);
	return check_characters(part, n, e);
}

int name_check_part(const char *part, struct err *e)
{
	return check_part(part, strlen(part), e);
}

int name_check_image(const char *name, struct err *e)
{
	size_t n = strlen(name);
	int depth = 0;

	if (n == 0)
		return err_set(e, EINVAL, "an image name must not be empty");
	if (n > STAGEFS_PATH_MAX_BYTES)
		return err_set(e, ENAMETOOLONG,
			       "name '%.40s...' is longer than %d bytes", name,
			       STAGEFS_PATH_MAX_BYTES);
	if (name[0] == '/')
		return err_set(e, EINVAL,
			       "name '%s' starts with '/': names are relative, "
			       "like win11/base.wim",
			       name);
	for (const char *p = name;; p++) {
		size_t len = strcspn(p, "/");
		int r;

		if (len == 0)
			return err_set(e, EINVAL,
				       "name '%s' has an empty part: remove "
				       "the '/' too many",
				       name);
		if (++depth > STAGEFS_PATH_MAX_DEPTH)
			return err_set(e, ENAMETOOLONG,
				       "name '%.40s...' is more than %d deep",
				       name, STAGEFS_PATH_MAX_DEPTH);
		r = check_part(p, len, e);
		if (r < 0)
			return r;
		p += len;
		if (!*p)
			return 0;
	}
}

static bool ascii_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

int name_check_server(const char *name, struct err *e)
{
	size_t n = strlen(name);

	if (n == 0)
		return err_set(e, EINVAL, "a server name must not be empty");
	if (n > STAGEFS_SERVER_NAME_MAX_BYTES)
		return err_set(e, ENAMETOOLONG,
			       "server name '%.40s...' is longer than %d bytes",
			       name, STAGEFS_SERVER_NAME_MAX_BYTES);
	for (size_t i = 0; i < n; i++)
		if (!ascii_alnum(name[i]) &&
		    (i == 0 || !strchr("-_.", name[i])))
			return err_set(e, EINVAL,
				       "server name '%s': use letters, digits, "
				       "'-', '_' and '.', and start with a "
				       "letter or digit",
				       name);
	return 0;
}

/* Made once, kept for good: the process's own locale is not asked. */
static locale_t fold_locale;

static void fold_locale_make(void)
{
	fold_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

char *name_fold(const char *name)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	size_t n = strlen(name), out = 0;
	char *folded;

	pthread_once(&once, fold_locale_make);
	if (!fold_locale)
		return NULL;
	/* A two-byte character may fold to one of three (U+023A). */
	folded = malloc(n * 2 + 5);
	if (!folded)
		return NULL;
	for (size_t in = 0; in < n;) {
		uint32_t code;
		size_t len = utf8_decode(name + in, n - in, &code);

		if (len == 0) {
			free(folded);
			return NULL;
		}
		code = (uint32_t)towlower_l(
			towupper_l((wint_t)code, fold_locale), fold_locale);
		out += utf8_encode(code, folded + out);
		in += len;
	}
	folded[out] = 0;
	return folded;
}
