/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name that is taken has nothing in it that leaves a folder, that a
 * terminal obeys, or that a client cannot open. Looked at in another way than
 * names.c does: by what must not be found in the text.
 */
#include <string.h>

#include "common/limits.h"
#include "common/names.h"
#include "common/utf8.h"
#include "tests/fuzz/fuzz.h"

static void check_image(const char *name)
{
	size_t n = strlen(name);
	char *framed = malloc(n + 3), *once, *twice;

	FUZZ_MUST(n > 0 && n <= STAGEFS_PATH_MAX_BYTES);
	/* "/name/": each part then stands between two slashes */
	sprintf(framed, "/%s/", name);
	FUZZ_MUST(!strstr(framed, "//"));
	FUZZ_MUST(!strstr(framed, "/./") && !strstr(framed, "/../"));
	FUZZ_MUST(!strstr(framed, "./") && !strstr(framed, " /"));
	FUZZ_MUST(strcspn(name, "\\:*?\"<>|\x7f") == n);
	for (size_t i = 0; i < n; i++)
		FUZZ_MUST((unsigned char)name[i] >= 0x20);
	free(framed);

	once = name_fold(name);
	FUZZ_MUST(once);
	twice = name_fold(once);
	FUZZ_MUST(twice && strcmp(once, twice) == 0);
	free(once);
	free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *name = malloc(n + 1), *clean, *folded;
	struct err e = {{0}};

	memcpy(name, data, n);
	name[n] = 0;
	fuzz_accepted = name_check_image(name, &e) == 0;
	if (fuzz_accepted)
		check_image(name);
	else
		FUZZ_MUST(e.text[0] && !strchr(e.text, '\n'));
	if (name_check_part(name, &e) == 0) {
		FUZZ_MUST(!strchr(name, '/'));
		FUZZ_MUST(strlen(name) <= STAGEFS_NAME_MAX_BYTES);
		check_image(name);
	}
	if (name_check_server(name, &e) == 0)
		FUZZ_MUST(strlen(name) <= STAGEFS_SERVER_NAME_MAX_BYTES &&
			  !strpbrk(name, "/ \n'\"$`;&|"));
	folded = name_fold(name);
	free(folded);

	clean = strdup(name);
	utf8_clean(clean);
	FUZZ_MUST(strlen(clean) <= strlen(name));
	for (const char *p = clean; *p;) {
		uint32_t code = 0;
		size_t len = utf8_decode(p, strlen(p), &code);

		FUZZ_MUST(len > 0 && !utf8_is_control(code));
		p += len;
	}
	free(clean);
	free(name);
	return 0;
}
