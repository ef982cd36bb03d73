/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade.c - the supervisor becomes the program that is installed now, with
 * exec(2): the process, its children and its descriptors stay, so the mount
 * and the worker, which goes on serving, notice nothing. The new one then has
 * the old worker drain (answer what it has taken or leave it to its
 * successor, write the cache's state, let go of its lock) and starts the new
 * one.
 *
 * Before the point of no return both new programs have to run and to say that
 * they understand what is handed over (SUPERVISOR_COMPAT): a package half
 * installed, or for another machine, costs nothing. If the new worker dies
 * before it serves, or again and again, the old program, whose descriptor is
 * still open, goes on.
 *
 * Rejected: a second supervisor process beside the old one, to which the
 * descriptors are sent. The worker would not be its child.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STATE "%d,0:%u,%lu,"

static void refuse(const struct supervisor *s, const char *why)
{
	char text[SUPERVISOR_MESSAGE_MAX_BYTES];

	snprintf(text, sizeof(text), "%.1000s: %s: nothing has changed",
		 s->program, why);
	say("upgrade: %s", text);
	worker_tell(&s->worker, MSG_REFUSED, text);
}

void upgrade(struct supervisor *s)
{
	char state[256];

	if (program_run(s, "mount", "--can-resume=" SUPERVISOR_COMPAT) != 0) {
		refuse(s, "it does not run, or cannot take over");
		return;
	}
	snprintf(state, sizeof(state), "--resume=" STATE "%s", s->worker.pid,
		 s->dev, s->socket_ino, s->socket);
	mark(SUPERVISOR_FUSE_FD, SUPERVISOR_PROGRAM_FD, 0);
	execl(s->program, s->program, "mount", s->source, s->point, "-o",
	      s->options, state, (char *)NULL);
	mark(SUPERVISOR_FUSE_FD, SUPERVISOR_PROGRAM_FD, FD_CLOEXEC);
	refuse(s, strerror(errno));
}

void take_over(struct supervisor *s, char **argv)
{
	s->source = argv[1];
	s->point = argv[2];
	s->options = argv[4];
	s->program = argv[5];
	s->pending = true;
	s->worker = (struct worker){.link = -1, .fd = {-1, -1}};
	mark(SUPERVISOR_FUSE_FD, SUPERVISOR_VERDICT_FD, FD_CLOEXEC);
	s->session = mmap(NULL, sizeof(*s->session), PROT_READ | PROT_WRITE,
			  MAP_SHARED, SUPERVISOR_SESSION_FD, 0);
	if (s->session == MAP_FAILED ||
	    sscanf(argv[6], "--state=" STATE "%63s", &s->worker.pid,
		   &s->dev, &s->socket_ino, s->socket) != 4) {
		fail(s, 2, "the supervisor cannot take over %s", argv[6]);
	} else if (s->worker.pid) {
		say("upgrade: " STAGEFS_VERSION " has taken over %s", s->point);
		s->pending = false;
		s->upgraded = s->untried = true;
		s->worker.link = SUPERVISOR_LINK_FD;
		worker_tell(&s->worker, MSG_DRAIN, "");
		enter(s, DRAINING, s->hang_ms / 6);
	}
}
