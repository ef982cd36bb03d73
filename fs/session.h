/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - the memory that outlives workers (fs/supervisor/wire.h). A memfd
 * and not a file: it ends with the mount, needs no name, and no disk can delay
 * or tear it.
 */
#ifndef STAGEFS_FS_SESSION_H
#define STAGEFS_FS_SESSION_H

struct session_area;

/* A new one. Returns the descriptor or -errno. */
int session_make(void);
/* The worker's view of it, for good. 0 or -errno. */
int session_map(int fd, struct session_area **ret);

#endif
