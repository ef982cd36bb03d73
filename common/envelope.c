/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envelope.c - the first line has a fixed length, so finding the parts is a
 * matter of offsets. A signature inside the JSON was rejected: it would need a
 * canonical form, and a parser that runs before anything is verified.
 */
#include "common/envelope.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WORD "stagefs-signed "
#define HEAD WORD "1 "
#define HEAD_BYTES (sizeof(HEAD) - 1)
#define KEY_AT HEAD_BYTES
#define SIGN_AT (KEY_AT + SIGN_KEY_TEXT - 1 + 1)
#define NEWLINE_AT (SIGN_AT + SIGN_TEXT - 1)
#define JSON_AT (NEWLINE_AT + 1)

int envelope_seal(const struct sign_secret *k, const char *json, size_t n,
		  char **ret_text, size_t *ret_n)
{
	uint8_t sig[SIGN_BYTES];
	char *text;
	int r;

	if (n > SIZE_MAX - JSON_AT - 1)
		return -EINVAL;
	r = sign_make(k, json, n, sig);
	if (r < 0)
		return r;
	text = malloc(JSON_AT + n + 1);
	if (!text)
		return -ENOMEM;
	memcpy(text, HEAD, HEAD_BYTES);
	sign_public_text(&k->pub, text + KEY_AT);
	text[SIGN_AT - 1] = ' ';
	base64_encode(sig, sizeof(sig), text + SIGN_AT, SIGN_TEXT);
	text[NEWLINE_AT] = '\n';
	memcpy(text + JSON_AT, json, n);
	text[JSON_AT + n] = 0;
	*ret_text = text;
	*ret_n = JSON_AT + n;
	return 0;
}

static int not_envelope(const char *text, size_t n, struct err *e)
{
	if (n > sizeof(WORD) && memcmp(text, WORD, sizeof(WORD) - 1) == 0 &&
	    memcmp(text, HEAD, HEAD_BYTES) != 0)
		return err_set(e, EPROTO,
			       "signed in a form that this version of stagefs "
			       "does not know: install a newer one");
	return err_set(e, EPROTO, "not a signed document of a stagefs origin");
}

int envelope_open(const char *text, size_t n, const struct sign_public *pin,
		  struct sign_public *ret_key, const char **ret_json,
		  size_t *ret_json_n, struct err *e)
{
	struct sign_public key;
	uint8_t sig[SIGN_BYTES];
	int r;

	if (n < JSON_AT || memcmp(text, HEAD, HEAD_BYTES) != 0 ||
	    text[SIGN_AT - 1] != ' ' || text[NEWLINE_AT] != '\n' ||
	    base64_decode(text + KEY_AT, SIGN_KEY_TEXT - 1, key.b,
			  sizeof(key.b)) != SIGN_KEY_BYTES ||
	    base64_decode(text + SIGN_AT, SIGN_TEXT - 1, sig, sizeof(sig)) !=
		    SIGN_BYTES)
		return not_envelope(text, n, e);
	if (pin && memcmp(pin->b, key.b, sizeof(key.b)) != 0) {
		char want[SIGN_KEY_TEXT], got[SIGN_KEY_TEXT];

		return err_set(e, EKEYREJECTED,
			       "signed with the key %s, not with the trusted "
			       "one, %s",
			       sign_public_text(&key, got),
			       sign_public_text(pin, want));
	}
	r = sign_check(&key, text + JSON_AT, n - JSON_AT, sig);
	if (r < 0)
		return err_set(e, -r, "%s",
			       r == -EBADMSG ? "the signature does not match"
					     : "cannot check the signature");
	if (ret_key)
		*ret_key = key;
	*ret_json = text + JSON_AT;
	*ret_json_n = n - JSON_AT;
	return 0;
}
