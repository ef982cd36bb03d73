/* SPDX-License-Identifier: Apache-2.0 */
/*
 * umlregs.c - preloaded into user-mode-linux, so that it starts on processors
 * with large registers (AMX).
 *
 * Its 6.1 kernel keeps 2,696 bytes of floating point state of each process. A
 * host that has more takes only the whole back (xstateregs_set: EFAULT), and
 * it panics: "ptrace set fp regs failed, errno = 14". Here the rest is added,
 * as it is at that moment: what nobody in there uses.
 */
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

long ptrace(enum __ptrace_request request, ...)
{
	static char whole[64 << 10]; /* one thread calls */
	struct iovec all = {whole, sizeof(whole)}, *part;
	long word, r;
	void *addr, *data;
	va_list ap;
	pid_t pid;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA ||
	    request == PTRACE_PEEKUSER) { /* the C library's way with these */
		r = syscall(SYS_ptrace, request, pid, addr, &word);
		return r < 0 ? r : word;
	}
	if (request == PTRACE_SETREGSET && (long)addr == NT_X86_XSTATE) {
		part = data;
		if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, addr, &all) < 0)
			return -1;
		if (all.iov_len > part->iov_len) {
			memcpy(whole, part->iov_base, part->iov_len);
			data = &all;
		}
	}
	return syscall(SYS_ptrace, request, pid, addr, data);
}
