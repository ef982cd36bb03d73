/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h - which names images and servers may have.
 *
 * An image name is a relative path, "win11/base.wim": UTF-8 (no overlong
 * forms, no surrogates), parts of 1 to 255 bytes, at most 64 deep and 1023
 * bytes; no part is "." or "..", none has control characters (C0, DEL, C1),
 * none has characters that SMB cannot show (\ : * ? " < > |) and none ends in
 * a blank or a dot (Windows drops them); no empty part, so no leading,
 * trailing or double slash. The same check runs at `image add` and on every
 * catalog entry that arrives from the network.
 */
#ifndef STAGEFS_COMMON_NAMES_H
#define STAGEFS_COMMON_NAMES_H

#include "common/err.h"

/* One part of a path, as in a catalog entry. 0, -EINVAL or -ENAMETOOLONG. */
int name_check_part(const char *part, struct err *e);
/* A whole image name. */
int name_check_image(const char *name, struct err *e);
/* A server: letters, digits, '-', '_', '.', 1 to 63, starts alphanumeric. */
int name_check_server(const char *name, struct err *e);

/*
 * Caseless form, the key for "differs only in case" (SMB). Simple case
 * folding by code point (towlower of towupper in C.UTF-8). Returns malloc'd
 * text, NULL if out of memory or not UTF-8. Thread safe.
 */
char *name_fold(const char *name);

#endif
