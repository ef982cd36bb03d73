/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer.h - is the head of an HTTP answer what was asked for? Looked at
 * before a byte of the body is used. Pure: no sockets, no curl.
 */
#ifndef STAGEFS_FS_FETCH_ANSWER_H
#define STAGEFS_FS_FETCH_ANSWER_H

#include <stdint.h>

struct answer_head {
	int status;
	unsigned n_content_range;     /* how many such headers came */
	const char *content_range;    /* or NULL */
	const char *content_encoding; /* or NULL */
	int64_t content_length;	      /* -1: not said */
};

enum answer {
	ANSWER_GOOD,
	ANSWER_ABSENT,	     /* 404, 410: this source does not have it */
	ANSWER_WRONG_STATUS, /* 200 to a range request, 5xx, 3xx, ... */
	ANSWER_WRONG_RANGE,  /* bytes of another place or size */
	ANSWER_ENCODED,	     /* compressed */
};

/* To a request of bytes [first, last] of a file of `total` bytes. */
enum answer answer_to_range(const struct answer_head *h, uint64_t first,
			    uint64_t last, uint64_t total);
/* To a request of a whole document of at most `max` bytes. */
enum answer answer_to_whole(const struct answer_head *h, uint64_t max);

#endif
