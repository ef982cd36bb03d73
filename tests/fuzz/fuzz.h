/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz.h - what a fuzz target looks like.
 *
 * A target defines LLVMFuzzerTestOneInput, sets fuzz_accepted, and aborts if
 * a property does not hold (FUZZ_MUST): "does not crash" alone finds little.
 * With -DSTAGEFS_FUZZ=ON (clang) it is linked with libFuzzer, else with
 * corpus_main.c, and then it is an ordinary test.
 */
#ifndef STAGEFS_TESTS_FUZZ_H
#define STAGEFS_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/*
 * 1: the last input was taken as right, 0: it was refused, -1: this target
 * does not tell. corpus_main.c compares it with the file's name (good-*,
 * bad-*), so a corpus that has gone stale is seen.
 */
__attribute__((weak)) int fuzz_accepted = -1;

#define FUZZ_MUST(what)                                                \
	do {                                                           \
		if (!(what)) {                                         \
			fprintf(stderr, "%s:%d: does not hold: %s\n",  \
				__FILE__, __LINE__, #what);            \
			abort();                                       \
		}                                                      \
	} while (0)

#endif
