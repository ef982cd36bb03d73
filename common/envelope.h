/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envelope.h - a signed JSON document, as the catalog and the orders travel.
 *
 *	stagefs-signed 1 <public key, base64> <signature, base64>\n
 *	<JSON text, to the end>
 *
 * The signature is Ed25519 over the JSON text's bytes as they are, so nothing
 * has to be put into a canonical form and nothing is parsed before it is
 * verified. What the document is for ("kind": "catalog") and whose ("store":
 * UUID) stand inside the signed text.
 */
#ifndef STAGEFS_COMMON_ENVELOPE_H
#define STAGEFS_COMMON_ENVELOPE_H

#include "common/crypto.h"

/* malloc'd text with an end byte. */
int envelope_seal(const struct sign_secret *k, const char *json, size_t n,
		  char **ret_text, size_t *ret_n);
/*
 * Finds the parts; copies nothing: *ret_json points into `text`. Checks the
 * signature against the key in the envelope; if `pin` is not NULL that key has
 * to be the pinned one (-EKEYREJECTED otherwise). -EBADMSG for a bad signature,
 * -EPROTO for something that is no envelope. ret_key may be NULL.
 */
int envelope_open(const char *text, size_t n, const struct sign_public *pin,
		  struct sign_public *ret_key, const char **ret_json,
		  size_t *ret_json_n, struct err *e);

#endif
