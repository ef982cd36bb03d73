/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request to the control socket, to which anybody may connect: through a
 * real one, with a cache, a catalog and a reader of the unit test. Each is
 * answered with lines of JSON, the last of which ends it.
 */
#include "common/jget.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fs/control_world.h"

#define ANSWER_MAX (256u << 10)

static void end(void)
{
	void *unused;

	tear_down(&unused);
	manifest_free(manifest);
}

static void begin(void)
{
	void *unused;

	(void)ask; /* of the unit test */
	make_content();
	FUZZ_MUST(set_up(&unused) == 0);
	atexit(end);
}

static size_t ask_raw(const uint8_t *line, size_t n, char *answer)
{
	size_t all = 0;
	ssize_t got;
	int fd = dial();

	/* It may hang up before it has read all of too much. */
	if (send(fd, line, n, MSG_NOSIGNAL) == (ssize_t)n)
		(void)!send(fd, "\n", 1, MSG_NOSIGNAL);
	do { /* libFuzzer has a timer: EINTR */
		got = recv(fd, answer + all, ANSWER_MAX - 1 - all, 0);
		all += got > 0 ? (size_t)got : 0;
	} while (got > 0 || (got < 0 && errno == EINTR));
	close(fd);
	answer[all] = '\0';
	return all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char answer[ANSWER_MAX];
	const uint8_t *newline = memchr(data, '\n', n);
	char *line, *rest = answer, *last = NULL;
	json_t *o = NULL;
	struct err e;
	size_t all;

	if (!t.control)
		begin();
	all = ask_raw(data, newline ? (size_t)(newline - data) : n, answer);
	FUZZ_MUST(all > 0 && answer[all - 1] == '\n');
	answer[all - 1] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		json_decref(o);
		o = NULL;
		FUZZ_MUST(jget_parse(line, strlen(line), &o, &e) == 0);
		last = line;
	}
	FUZZ_MUST(last && json_is_true(json_object_get(o, "done")));
	fuzz_accepted = !json_object_get(o, "error");
	json_decref(o);
	return 0;
}
