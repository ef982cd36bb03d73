/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8.h - strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing
 * above U+10FFFF. No locale.
 */
#ifndef STAGEFS_COMMON_UTF8_H
#define STAGEFS_COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes (1 to 4) of the code point at `s`, at most `n`; 0 if it is broken. */
size_t utf8_decode(const char *s, size_t n, uint32_t *ret);
/* Writes 1 to 4 bytes. `code` has to be a valid one. */
size_t utf8_encode(uint32_t code, char out[4]);
/* C0, DEL, C1, and the line separators U+2028 and U+2029. */
bool utf8_is_control(uint32_t code);
/*
 * Makes text that came from outside fit to print on one line: control
 * characters and bytes that are no UTF-8 become '?', each. In place.
 */
void utf8_clean(char *s);

#endif
