/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seeds.c - writes the corpora of the documents: right ones by our own
 * encoders (good-*), and ones that are wrong in one place (bad-*). Run it in
 * tests/fuzz/corpus/ after a change of the format; the same program writes
 * the same files.
 *
 *	fuzz_seeds FOLDER
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/envelope.h"
#include "common/fdio.h"
#include "common/manifest.h"
#include "tests/unit/common/wire_random.h"

static const char *top;

static void save(const char *what, const char *name, const void *data, size_t n)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, what);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/%s", top, what, name);
	if (file_replace_at(AT_FDCWD, path, data, n, 0644) < 0) {
		perror(path);
		exit(1);
	}
}

static void save_text(const char *what, const char *name, const char *text)
{
	save(what, name, text, strlen(text));
}

/* The right document with `with` in place of the first `old`. */
static void save_changed(const char *what, const char *name, const char *json,
			 const char *old, const char *with)
{
	const char *at = strstr(json, old);
	size_t n = strlen(json) + strlen(with) + 1;
	char *text = malloc(n);

	if (!at || !text) {
		fprintf(stderr, "%s/%s: no %s\n", what, name, old);
		exit(1);
	}
	snprintf(text, n, "%.*s%s%s", (int)(at - json), json, with,
		 at + strlen(old));
	save_text(what, name, text);
	free(text);
}

static void make_catalogs(void)
{
	struct random r = {11};
	struct wire_catalog c;
	char name[32], *json = NULL;
	size_t n;

	for (size_t i = 0; i < 4; i++) {
		free(json);
		do {
			random_catalog(&r, i * 4, &c);
			if (c.n_entries >= i)
				break;
			wire_catalog_free(&c);
		} while (true);
		c.more = i == 3;
		wire_catalog_encode(&c, &json, &n);
		snprintf(name, sizeof(name), "good-%zu.json", i);
		save("catalog", name, json, n);
		wire_catalog_free(&c);
	}
	save_changed("catalog", "bad-id.json", json, "\"id\":", "\"id\":0,\"x\":");
	save_changed("catalog", "bad-twice.json", json, "\"id\":",
		     "\"id\":7,\"id\":");
	save_changed("catalog", "bad-kind.json", json, "catalog", "orders");
	save_changed("catalog", "bad-format.json", json, "\"format\":1",
		     "\"format\":2");
	save_changed("catalog", "bad-store.json", json, "\"store\":\"",
		     "\"store\":\"x");
	save_changed("catalog", "bad-name.json", json, "\"name\":\"",
		     "\"name\":\"../");
	save_changed("catalog", "bad-nul.json", json, "\"name\":\"",
		     "\"name\":\"\\u0000");
	save_changed("catalog", "bad-revision.json", json, "\"revision\":",
		     "\"revision\":-");
	save_changed("catalog", "bad-deep.json", json, "[",
		     "[[[[[[[[[[[[[[[[[[[[");
	save("catalog", "bad-cut.json", json, n - 7);
	free(json);
}

static void make_orders(void)
{
	struct random r = {12};
	struct wire_orders s;
	char name[32], *json = NULL;
	size_t n;

	for (size_t i = 0; i < 3; i++) {
		free(json);
		do {
			random_orders(&r, i * 8, &s);
			if (s.n_orders >= i * 4)
				break;
			wire_orders_free(&s);
		} while (true);
		wire_orders_encode(&s, &json, &n);
		snprintf(name, sizeof(name), "good-%zu.json", i);
		save("orders", name, json, n);
		wire_orders_free(&s);
	}
	save_changed("orders", "bad-number.json", json, "\"number\":",
		     "\"number\":0,\"x\":");
	save_changed("orders", "bad-server.json", json, "\"server\":\"",
		     "\"server\":\"/");
	save_changed("orders", "bad-kind.json", json, "\"orders\":[",
		     "\"orders\":[{\"number\":1,\"kind\":\"format\"},");
	save_changed("orders", "bad-list.json", json, "\"orders\":[",
		     "\"orders\":[[],");
	save_changed("orders", "bad-digest.json", json, "\"digest\":\"",
		     "\"digest\":\"0");
	save("orders", "bad-cut.json", json, n / 2);
	free(json);
}

static void make_reports(void)
{
	struct random r = {13};
	struct wire_report w;
	char name[32], *json = NULL;
	size_t n;

	for (size_t i = 0; i < 3; i++) {
		free(json);
		random_report(&r, &w);
		w.state = (enum wire_report_state)i;
		wire_report_encode(&w, &json, &n);
		snprintf(name, sizeof(name), "good-%zu.json", i);
		save("report", name, json, n);
	}
	save_changed("report", "bad-state.json", json, "failed", "fine");
	save_changed("report", "bad-number.json", json, "\"number\":",
		     "\"number\":-");
	save_changed("report", "bad-message.json", json, "\"message\":\"",
		     "\"message\":\"a\\nb");
	save("report", "bad-cut.json", json, n - 1);
	free(json);
}

static void make_descriptors(void)
{
	struct random r = {14};
	struct wire_descriptor d;
	char name[32], *json = NULL;
	size_t n;

	for (size_t i = 0; i < 4; i++) {
		free(json);
		do {
			random_descriptor(&r, i * 3, &d);
			if (d.n_images >= i && (i < 3 || d.n_gone))
				break;
			wire_descriptor_free(&d);
		} while (true);
		wire_descriptor_encode(&d, &json, &n);
		snprintf(name, sizeof(name), "good-%zu.json", i);
		save("descriptor", name, json, n);
		wire_descriptor_free(&d);
	}
	save_changed("descriptor", "bad-seq.json", json, "\"seq\":",
		     "\"seq\":0,\"x\":");
	save_changed("descriptor", "bad-full.json", json, "\"base\":",
		     "\"base\":0,\"x\":");
	save_changed("descriptor", "bad-gone.json", json, "\"gone\":[",
		     "\"gone\":[1,");
	save_changed("descriptor", "bad-stored.json", json, "\"stored\":",
		     "\"stored\":9");
	save_changed("descriptor", "bad-boot.json", json, "\"boot\":\"",
		     "\"boot\":\"-");
	save("descriptor", "bad-cut.json", json, n - 30);
	free(json);
}

static void make_manifests(void)
{
	static const uint64_t lengths[] = {0, 1, 65536, 5 * 65536 - 3};
	char name[32];
	void *data = NULL;
	size_t n;

	for (size_t i = 0; i < 4; i++) {
		uint64_t blocks = manifest_block_count(lengths[i], 65536);
		struct digest *hash = calloc(blocks + 1, sizeof(*hash));
		struct random r = {15};
		struct manifest *m;

		free(data);
		for (uint64_t b = 0; b < blocks; b++)
			random_digest(&r, &hash[b]);
		if (manifest_build(lengths[i], 65536, hash, &m) < 0 ||
		    manifest_encode(m, &data, &n) < 0)
			exit(1);
		snprintf(name, sizeof(name), "good-%zu.bin", i);
		save("manifest", name, data, n);
		manifest_free(m);
	}
	save("manifest", "bad-cut.bin", data, n - 1);
	save("manifest", "bad-head.bin", data, 23);
	((uint8_t *)data)[8] = 1;
	save("manifest", "bad-block.bin", data, n);
	((uint8_t *)data)[8] = 0;
	((uint8_t *)data)[23] = 0xff;
	save("manifest", "bad-length.bin", data, n);
	((uint8_t *)data)[0] = 's';
	save("manifest", "bad-magic.bin", data, n);
	free(data);
}

static void make_envelopes(void)
{
	static const uint8_t seed[SIGN_KEY_BYTES] =
		"stagefs fuzz corpus, not secret";
	struct sign_secret k;
	char *text;
	size_t n;

	if (sign_from_seed(seed, &k) < 0 ||
	    envelope_seal(&k, "{\"format\":1}", 12, &text, &n) < 0)
		exit(1);
	save("envelope", "good-1", text, n);
	save("envelope", "bad-cut", text, 150);
	text[20]++;
	save("envelope", "bad-key", text, n);
	text[20]--;
	text[n - 2] = '2';
	save("envelope", "bad-text", text, n);
	text[15] = '2';
	save("envelope", "bad-version", text, n);
	free(text);
	if (envelope_seal(&k, "", 0, &text, &n) < 0)
		exit(1);
	save("envelope", "good-2", text, n);
	free(text);
	save_text("envelope", "bad-page", "<html><body>It works!</body></html>");
}

static void make_names(void)
{
	char deep[140] = "";

	save_text("names", "good-1", "win11/base.wim");
	save_text("names", "good-2", "linux/r\xc3\xa9scue \xe2\x82\xac.iso");
	save_text("names", "good-3", "a+b/.x/{1},~'&%=");
	for (int i = 0; i < 64; i++)
		strcat(deep, "d/");
	deep[127] = 0;
	save_text("names", "good-4", deep);
	strcat(deep, "/e");
	save_text("names", "bad-deep", deep);
	save_text("names", "bad-up", "a/../../etc/passwd");
	save_text("names", "bad-root", "/etc/passwd");
	save_text("names", "bad-overlong", "a\xc0\xaf\xc0\xae");
	save_text("names", "bad-surrogate", "a\xed\xa0\x80z");
	save_text("names", "bad-control", "a\x1b[31m");
	save_text("names", "bad-c1", "a\xc2\x9bz");
	save_text("names", "bad-blank", "a /b");
	save_text("names", "bad-dot", "con./x");
	save_text("names", "bad-smb", "C:\\x");
	save_text("names", "bad-empty", "");
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	top = argv[1];
	make_catalogs();
	make_orders();
	make_reports();
	make_descriptors();
	make_manifests();
	make_envelopes();
	make_names();
	return 0;
}
