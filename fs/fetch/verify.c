/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify.c - hashing, on threads of the pool. Everything that is handed to an
 * owner goes through piece_run or manifest_run; there is no other way out of
 * the fetcher (R1).
 *
 * A source whose block was wrong is left out for that version at once, and
 * what still comes from it for this window is cut off: the rest is hardly
 * better, and each block of it delays the right one.
 */
#include <errno.h>
#include <stdlib.h>

#include "common/bitmap.h"
#include "common/clock.h"
#include "common/log.h"
#include "fs/fetch/task.h"

/*
 * One check ended. Moves the task on if nobody else has it in hand; true: the
 * caller ends it. Wakes under the lock: without it the task, and with that the
 * fetcher, could be gone by then.
 */
static bool checked_locked(struct task *t, bool good, size_t source)
{
	struct fetch *f = t->f;
	bool end;

	t->checks--;
	if (good)
		t->fails = 0;
	else
		f->stats.blocks_bad++;
	if (!good && t->state == TASK_RUNNING && t->source == source)
		t->cut = true;
	end = t->state == TASK_CHECKING && task_settle_locked(t);
	if (!good && !end)
		fetch_wake(f);
	return end;
}

static void blame(const struct task *t, size_t source, const char *what,
		  uint64_t i)
{
	struct fetch *f = t->f;
	char digest[DIGEST_TEXT];

	if (!sources_lied(f->sources, source, t->digest, clock_mono_ns()))
		return;
	log_warn("fetch", "%s sent a wrong %s (%llu) of version %.12s: "
		 "not asked for this version for a while",
		 sources_url(f->sources, source), what, (unsigned long long)i,
		 digest_text(t->digest, digest));
}

static void piece_run(struct pool_job *job)
{
	struct piece *p = (struct piece *)job;
	struct fetch_window *w = p->w;
	struct task *t = &w->task;
	struct fetch *f = t->f;
	bool good = manifest_block_ok(w->m, p->i, p->buf->data, p->length);
	bool end;

	if (good) {
		w->owner->block(w->ctx, p->i, p->buf);
	} else {
		buf_put(p->buf);
		blame(t, p->source, "block", p->i);
	}
	lock_take(&f->lock);
	if (good) {
		f->stats.bytes[t->class_] += p->length;
		rate_add(&f->rate, clock_mono_ns(), p->length);
	} else {
		bitmap_clear(w->got, p->i - w->first);
	}
	end = checked_locked(t, good, p->source);
	lock_give(&f->lock);
	free(p);
	if (end)
		task_end(t);
}

void piece_submit(struct piece *p, enum wire_class class_)
{
	struct fetch *f = p->w->task.f;

	p->job.run = piece_run;
	p->buf->n = p->length;
	lock_take(&f->lock);
	bitmap_set(p->w->got, p->i - p->w->first);
	p->w->task.checks++;
	lock_give(&f->lock);
	pool_submit(f->pool, &p->job, class_);
}

struct manifest_job {
	struct pool_job job;
	struct manifest_task *mt;
	char *doc;
	size_t n, source;
};

static void manifest_run(struct pool_job *job)
{
	struct manifest_job *j = (struct manifest_job *)job;
	struct manifest_task *mt = j->mt;
	struct task *t = &mt->task;
	struct fetch *f = t->f;
	struct manifest *m = NULL;
	bool end;
	size_t source = j->source;
	int r = manifest_decode(j->doc, j->n, &mt->digest, &m, NULL);

	/* Short of memory here is no lie there; it is asked for again. */
	if (r < 0 && r != -ENOMEM)
		blame(t, source, "manifest", 0);
	free(j->doc);
	free(j);
	lock_take(&f->lock);
	if (r == 0) {
		mt->m = m;
		mt->error = 0;
	}
	end = checked_locked(t, r == 0, source);
	lock_give(&f->lock);
	if (end)
		task_end(t);
}

int manifest_submit(struct manifest_task *mt, char *doc, size_t n,
		    size_t source, enum wire_class class_)
{
	struct fetch *f = mt->task.f;
	struct manifest_job *j = malloc(sizeof(*j));

	if (!j)
		return -ENOMEM;
	*j = (struct manifest_job){
		.mt = mt, .doc = doc, .n = n, .source = source};
	j->job.run = manifest_run;
	lock_take(&f->lock);
	mt->task.checks++;
	lock_give(&f->lock);
	pool_submit(f->pool, &j->job, class_);
	return 0;
}
