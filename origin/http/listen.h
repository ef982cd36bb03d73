/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.h - addresses to listen on, "10.1.1.1:8420", "[fe80::1]:8420",
 * "origin.example:8420", and their sockets.
 */
#ifndef STAGEFS_ORIGIN_HTTP_LISTEN_H
#define STAGEFS_ORIGIN_HTTP_LISTEN_H

#include <stddef.h>

#include "common/err.h"

#define LISTEN_MAX 16
#define LISTEN_TEXT 80

/*
 * A list, separated by commas. Opens a socket for each address that a name
 * has; puts the descriptors into `fds` (LISTEN_MAX long). One line of error:
 * what is wrong with the text, or which address cannot be had and why.
 */
int listen_open(const char *list, int *fds, size_t *ret_n, struct err *e);
void listen_close(int *fds, size_t n);
/* Where it listens, the port that the kernel chose included. */
const char *listen_text(int fd, char out[LISTEN_TEXT]);

#endif
