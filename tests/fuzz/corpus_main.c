/* SPDX-License-Identifier: Apache-2.0 */
/*
 * corpus_main.c - runs a fuzz target over its corpus, without libFuzzer: each
 * file once, and a few hundred changed forms of each. The changes depend on
 * nothing but the files, so a failure comes again; --only FILE:N repeats one.
 *
 *	corpus_main FOLDER...
 *	corpus_main --only FILE[:CHANGE]
 *
 * Fails if there is no file: a test over nothing proves nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "common/fdio.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/xorshift.h"

#define CHANGES 400
#define FILE_MAX_BYTES (1u << 20)
#define GROWTH_MAX_BYTES 4096

struct file {
	char path[512];
	const char *name;
	uint8_t *data;
	size_t n;
};

static struct file *files;
static size_t n_files;

static uint64_t seed;

static size_t below(size_t n)
{
	return n ? (size_t)(xorshift(&seed) % n) : 0;
}

/* Where a run that crashes was, for whoever has to repeat it. */
static char doing[600];

static void on_crash(int sig)
{
	ssize_t ignored = write(2, "while at: --only ", 17);

	ignored = write(2, doing, strlen(doing));
	ignored = write(2, "\n", 1);
	(void)ignored;
	signal(sig, SIG_DFL);
	raise(sig);
}

static int load(const char *folder, const char *name)
{
	struct file *more = realloc(files, (n_files + 1) * sizeof(*files));
	struct file *f;
	char *data;
	int r;

	if (!more)
		return -ENOMEM;
	files = more;
	f = &files[n_files];
	snprintf(f->path, sizeof(f->path), "%s%s%s", folder,
		 folder[0] ? "/" : "", name);
	r = file_read(f->path, FILE_MAX_BYTES, &data, &f->n);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", f->path, strerror(-r));
		return r;
	}
	f->data = (uint8_t *)data;
	n_files++;
	return 0;
}

static int load_folder(const char *folder)
{
	struct dirent **list;
	int n = scandir(folder, &list, NULL, alphasort), r = 0;

	if (n < 0) {
		fprintf(stderr, "%s: %s\n", folder, strerror(errno));
		return -errno;
	}
	for (int i = 0; i < n; i++) {
		if (r == 0 && list[i]->d_name[0] != '.')
			r = load(folder, list[i]->d_name);
		free(list[i]);
	}
	free(list);
	return r;
}

/* The input lies in memory of exactly its size: ASan sees a read beyond. */
static void run(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	if (!copy)
		abort();
	memcpy(copy, data, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

/* Opens a gap of `by` bytes at `at`; false if there is no room. */
static bool insert_gap(uint8_t *b, size_t *n, size_t room, size_t at, size_t by)
{
	if (by > room - *n)
		return false;
	memmove(b + at + by, b + at, *n - at);
	*n += by;
	return true;
}

static void change_number(uint8_t *b, size_t *n, size_t room)
{
	static const char *const odd[] = {
		"0", "1", "-1", "2147483648", "4294967296",
		"9223372036854775807", "9223372036854775808",
		"18446744073709551615", "1e999", "0.5", "\"7\"", "null", "[]"};
	const char *with = odd[below(sizeof(odd) / sizeof(*odd))];
	size_t at = below(*n), end, len = strlen(with);

	while (at < *n && (b[at] < '0' || b[at] > '9'))
		at++;
	for (end = at; end < *n && b[end] >= '0' && b[end] <= '9';)
		end++;
	if (at == *n)
		return;
	memmove(b + at, b + end, *n - end);
	*n -= end - at;
	if (insert_gap(b, n, room, at, len))
		memcpy(b + at, with, len);
}

static void change_once(uint8_t *b, size_t *n, size_t room)
{
	static const uint8_t odd[] = {0,    1,	 '"', '\\', '/', '.', '[', ']',
				      '{',  '}', ',', ':',  '-', ' ', '\n',
				      0x7f, 0x80, 0xc0, 0xed, 0xff};
	const struct file *other = &files[below(n_files)];
	size_t at = below(*n + 1), len = 1 + below(below(4) ? 8 : 200);

	switch (below(8)) {
	case 0: /* a bit */
		if (at < *n)
			b[at] ^= (uint8_t)(1 << below(8));
		break;
	case 1: /* an odd byte */
		if (at < *n)
			b[at] = odd[below(sizeof(odd))];
		break;
	case 2: /* less */
		if (len > *n - at)
			len = *n - at;
		memmove(b + at, b + at + len, *n - at - len);
		*n -= len;
		break;
	case 3: /* the same again */
		if (len > *n - at)
			len = *n - at;
		if (insert_gap(b, n, room, at, len))
			memmove(b + at, b + at + len, len);
		break;
	case 4: /* noise */
		if (!insert_gap(b, n, room, at, len))
			break;
		while (len--)
			b[at + len] = (uint8_t)below(256);
		break;
	case 5: /* the end is missing */
		*n = at;
		break;
	case 6: /* a piece of another file */
		if (len > other->n)
			len = other->n;
		if (insert_gap(b, n, room, at, len))
			memcpy(b + at, other->data + below(other->n - len + 1),
			       len);
		break;
	default:
		change_number(b, n, room);
		break;
	}
}

static void run_changed(const struct file *f, unsigned change)
{
	size_t room = f->n + GROWTH_MAX_BYTES, n = f->n;
	uint8_t *b = malloc(room);

	if (!b)
		abort();
	memcpy(b, f->data, n);
	/* FNV-1a of the name: another file more changes no other's run. */
	seed = UINT64_C(0xcbf29ce484222325);
	for (const char *p = f->name; *p; p++)
		seed = (seed ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	seed = (seed ^ change) * UINT64_C(0x100000001b3);
	seed |= 1;
	for (size_t times = 1 + below(4); times--;)
		change_once(b, &n, room);
	run(b, n);
	free(b);
}

static bool as_named(const struct file *f)
{
	int want = strncmp(f->name, "good-", 5) == 0   ? 1
		   : strncmp(f->name, "bad-", 4) == 0 ? 0
						      : -1;

	if (fuzz_accepted < 0 || want < 0 || fuzz_accepted == want)
		return true;
	fprintf(stderr, "%s: was %s\n", f->path,
		want ? "refused" : "taken as right");
	return false;
}

static int run_only(char *what)
{
	char *colon = strrchr(what, ':');

	if (colon)
		*colon = 0;
	if (load("", what) < 0)
		return 1;
	files[0].name = strrchr(what, '/') ? strrchr(what, '/') + 1 : what;
	if (colon)
		run_changed(&files[0], (unsigned)atoi(colon + 1));
	else
		run(files[0].data, files[0].n);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long runs = 0;
	bool ok = true;

	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
	if (argc == 3 && strcmp(argv[1], "--only") == 0)
		return run_only(argv[2]);
	for (int i = 1; i < argc; i++)
		if (load_folder(argv[i]) < 0)
			return 1;
	if (n_files == 0) {
		fprintf(stderr, "no corpus: usage: %s FOLDER...\n", argv[0]);
		return 1;
	}
	for (size_t i = 0; i < n_files; i++) {
		files[i].name = strrchr(files[i].path, '/') + 1;
		snprintf(doing, sizeof(doing), "%s", files[i].path);
		run(files[i].data, files[i].n);
		ok &= as_named(&files[i]);
		runs++;
	}
	for (size_t i = 0; i < n_files; i++)
		for (unsigned c = 0; c < CHANGES; c++, runs++) {
			snprintf(doing, sizeof(doing), "%s:%u", files[i].path,
				 c);
			run_changed(&files[i], c);
		}
	for (size_t i = 0; i < n_files; i++)
		free(files[i].data);
	free(files);
	printf("%zu files, %lu runs\n", n_files, runs);
	return ok ? 0 : 1;
}
