/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Foreign bytes never pass as signed by a key of ours; what we seal comes back;
 * and sealed bytes that were changed do not pass.
 */
#include <string.h>

#include "common/envelope.h"
#include "tests/fuzz/fuzz.h"

/* The key of the seeds (seeds.c). */
static const uint8_t seed[SIGN_KEY_BYTES] = "stagefs fuzz corpus, not secret";

static void check_own(const struct sign_secret *own, const uint8_t *data,
		      size_t n)
{
	const char *json = NULL;
	size_t text_n = 0, json_n = 0, at;
	struct err e;
	char *text;

	FUZZ_MUST(envelope_seal(own, (const char *)data, n, &text, &text_n) ==
		  0);
	FUZZ_MUST(envelope_open(text, text_n, &own->pub, NULL, &json, &json_n,
				&e) == 0);
	FUZZ_MUST(json_n == n && (n == 0 || memcmp(json, data, n) == 0));
	at = (n ? data[0] * (size_t)251 + n : 0) % text_n;
	text[at] = (char)(text[at] ^ 0x10);
	FUZZ_MUST(envelope_open(text, text_n, &own->pub, NULL, &json, &json_n,
				&e) < 0);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *text = (const char *)data, *json = NULL;
	struct sign_secret own, fresh;
	struct sign_public key;
	struct err e = {{0}};
	size_t json_n = 0;

	FUZZ_MUST(sign_from_seed(seed, &own) == 0);
	fuzz_accepted = envelope_open(text, n, NULL, &key, &json, &json_n,
				      &e) == 0;
	if (fuzz_accepted) {
		FUZZ_MUST(json + json_n == text + n && json_n < n);
	} else {
		FUZZ_MUST(!json && e.text[0]);
	}
	FUZZ_MUST(sign_keygen(&fresh) == 0);
	FUZZ_MUST(envelope_open(text, n, &fresh.pub, NULL, &json, &json_n,
				&e) < 0);
	check_own(&own, data, n);
	return 0;
}
