/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outcome.c - what follows from how a transfer went: is the source to blame,
 * what is counted, when is the task tried again.
 *
 * The back-off of a source is shared by all versions and ends with the first
 * answer that is good; a version that the source cannot give needs one of its
 * own, or it would be asked for without end. That one starts when every source
 * had its chance: one that answered in vain is passed over until then.
 */
#include "common/clock.h"
#include "common/log.h"
#include "fs/fetch/task.h"

#define SAY_AGAIN_NS (60 * NS_PER_S)

/* Why, for status and log. NULL: the source is not to blame. */
const char *outcome_why(const struct slot *s, CURLcode code)
{
	switch (s->fault) {
	case FAULT_CUT:
	case FAULT_MEMORY:
	case FAULT_ABSENT:
		return NULL;
	case FAULT_STATUS:
	case FAULT_RANGE:
		return s->said;
	case FAULT_ENCODED:
		return "it compressed the data";
	case FAULT_LONG:
		return "more bytes than announced";
	case FAULT_HEADERS:
		return "endless headers";
	case FAULT_STALL:
		/* The source gives prefetch what it can spare. */
		if (s->sent_class == CLASS_PREFETCH)
			return NULL;
		return "too few bytes came for too long";
	case FAULT_NONE:
	default:
		break;
	}
	if (code == CURLE_OUT_OF_MEMORY)
		return NULL;
	/* We kept it waiting: it had a right to give up. */
	if (code != CURLE_OK && s->paused_ns > NS_PER_S)
		return NULL;
	if (code == CURLE_OK)
		return "the answer was too short";
	return s->error[0] ? s->error : curl_easy_strerror(code);
}

static void count_locked(const struct slot *s, CURLcode code)
{
	struct fetch_stats *st = &s->f->stats;

	st->requests[s->sent_class]++;
	if (s->fault == FAULT_STATUS)
		st->wrong_status++;
	else if (s->fault == FAULT_RANGE || s->fault == FAULT_ENCODED)
		st->wrong_range++;
	else if (s->fault == FAULT_STALL)
		st->stalls++;
	else if (s->fault == FAULT_LONG ||
		 (s->fault == FAULT_NONE && s->head_ok && !slot_complete(s)))
		st->short_body++;
	if (s->fault != FAULT_CUT && (code != CURLE_OK || !slot_complete(s)))
		st->retries++;
}

static void back_off_locked(struct task *t, uint64_t now_ns)
{
	unsigned n_sources = (unsigned)sources_count(t->f->sources);

	if (++t->fails > n_sources)
		t->not_before_ns =
			now_ns + sources_backoff_ns(t->fails - n_sources);
}

static void measure(struct slot *s)
{
	uint64_t now_ns = clock_mono_ns();
	uint64_t took_ns = now_ns - s->start_ns - s->paused_ns;
	struct fetch *f = s->f;

	/* The origin holds prefetch back: it says nothing about the line. */
	if (s->sent_class == CLASS_PREFETCH)
		return;
	atomic_store(&f->average_bps,
		     rate_average(atomic_load(&f->average_bps), s->got_bytes,
				  took_ns));
}

/*
 * Once a minute for each source and kind: who answers one window like that
 * does so with all. That nobody answers is a state of the sources, which is
 * said elsewhere.
 */
static void say(const struct slot *s, CURLcode code, const char *why)
{
	struct fetch *f = s->f;
	unsigned kind = s->fault ? (unsigned)s->fault
				 : FAULT_COUNT + (unsigned)code;
	uint64_t *told_ns = &f->told_ns[s->source][kind];
	const char *url = sources_url(f->sources, s->source);

	if (code == CURLE_COULDNT_CONNECT ||
	    code == CURLE_COULDNT_RESOLVE_HOST ||
	    (*told_ns && f->now_ns - *told_ns < SAY_AGAIN_NS)) {
		log_debug("fetch", "%s: %s", url, why);
		return;
	}
	*told_ns = f->now_ns;
	log_warn("fetch", "%s: %s: not used, asking again", url, why);
}

/* Something came: it is there, whatever it said. */
static bool answered(const struct slot *s)
{
	return s->header_bytes > 0;
}

/* What the source is told about how it did. */
static void judge(struct slot *s, CURLcode code, const char *why)
{
	struct fetch *f = s->f;

	if (why) {
		if (answered(s))
			sources_useless(f->sources, s->source,
					s->task->digest, f->now_ns, why);
		else
			sources_failed(f->sources, s->source, f->now_ns, why);
		say(s, code, why);
	} else if (s->fault == FAULT_ABSENT) {
		sources_worked(f->sources, s->source, f->now_ns);
	}
}

void outcome_tell(struct slot *s, CURLcode code, const char *why)
{
	measure(s);
	judge(s, code, why);
}

void outcome_note_locked(struct slot *s, CURLcode code, const char *why)
{
	struct task *t = s->task;

	count_locked(s, code);
	if (s->fault == FAULT_ABSENT)
		t->absent |= UINT32_C(1) << s->source;
	if (why && answered(s))
		t->useless |= UINT32_C(1) << s->source;
	if (why || s->fault == FAULT_MEMORY)
		back_off_locked(t, s->f->now_ns);
}
