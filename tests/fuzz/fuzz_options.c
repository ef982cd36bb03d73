/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an admin types: "MOUNT-OPTIONS\nURLS". What is taken lies in its range,
 * and paths are absolute; what is refused says so in one line, and changes
 * nothing.
 */
#include <string.h>

#include "common/names.h"
#include "fs/fetch/sources.h"
#include "fs/options.h"
#include "tests/fuzz/fuzz.h"

static void check_options(const char *text)
{
	static struct mount_options m;
	struct err e = {{0}};

	m = (struct mount_options){.memory_bytes = 77};
	fuzz_accepted = mount_options_parse(text, &m, &e) == 0;
	if (!fuzz_accepted) {
		FUZZ_MUST(e.text[0] && !strchr(e.text, '\n'));
		FUZZ_MUST(m.memory_bytes == 77);
		return;
	}
	FUZZ_MUST(m.cache[0] == '/');
	FUZZ_MUST(!m.key[0] || m.key[0] == '/');
	FUZZ_MUST(!m.ca[0] || m.ca[0] == '/');
	FUZZ_MUST(!m.log[0] || m.log[0] == '/');
	FUZZ_MUST(!m.name[0] || name_check_server(m.name, NULL) == 0);
	FUZZ_MUST(!m.capacity_bytes || m.capacity_bytes >= 1u << 20);
	FUZZ_MUST(m.memory_bytes >= 32u << 20);
	FUZZ_MUST(m.look_ahead_bytes >= 1u << 20);
	FUZZ_MUST(m.io_timeout_ms >= 100 && m.io_timeout_ms <= 3600000);
}

static void check_urls(const char *text)
{
	struct sources *s = NULL;
	struct err e = {{0}};

	if (sources_new(text, &s, &e) < 0) {
		FUZZ_MUST(!s && e.text[0] && !strchr(e.text, '\n'));
		return;
	}
	FUZZ_MUST(sources_count(s) >= 1 && sources_count(s) <= SOURCES_MAX);
	for (size_t i = 0; i < sources_count(s); i++) {
		const char *url = sources_url(s, i);
		const char *host = strstr(url, "://");

		FUZZ_MUST(strncmp(url, "http", 4) == 0 && host && host[3]);
		FUZZ_MUST(!strpbrk(host + 3, "/@?# \r\n\\"));
	}
	sources_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1), *urls;

	FUZZ_MUST(text);
	memcpy(text, data, n);
	text[n] = '\0';
	urls = strchr(text, '\n');
	if (urls)
		*urls++ = '\0';
	check_options(text);
	if (urls)
		check_urls(urls);
	free(text);
	return 0;
}
