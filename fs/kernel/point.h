/* SPDX-License-Identifier: Apache-2.0 */
/*
 * point.h - named points where a test may kill the process. NULL in
 * production. They are the steps of opens.c and taken.c:
 *
 *	open.register open.registered	a backing file
 *	open.fill open.end open.publish
 *	open.counted open.reply open.replied open.answered
 *	release.freed release.unregister release.reply
 *	resume.answer resume.answered resume.resend
 *	taken.landed taken.filled taken.kept taken.answered
 *
 * Some are passed with locks held: the hook may end the process, no more.
 */
#ifndef STAGEFS_FS_KERNEL_POINT_H
#define STAGEFS_FS_KERNEL_POINT_H

extern void (*kernel_test_point)(const char *name);

static inline void kernel_point(const char *name)
{
	if (__builtin_expect(kernel_test_point != 0, 0))
		kernel_test_point(name);
}

#endif
