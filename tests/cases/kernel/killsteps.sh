#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 11
# Workers are killed at each step of opening, closing and taking over
# (fs/kernel/opens.c says what the next one makes of it), on the real kernel and
# under load: no error, no lost open, no lost file, no mixed modes.
. "$(dirname "$0")/../../lib/common.sh"

# TIMES of the first, second, ... that come to a step.
TIMES=${TIMES:-1}
address() { nm "$STAGEFS_BIN" | awk -v s="$1" '$3 == s { print $1 }'; }
hook=$(address kernel_test_point)
spare=$(address run_umount) # a verb: no worker calls it
[ -n "$hook" ] && [ -n "$spare" ] || fail "the program has no symbols"

once=(open.register open.registered open.end open.fill open.publish open.answered
	release.freed release.unregister release.reply
	# The one that follows owes an answer, and dies over it.
	open.counted resume.answer open.reply resume.answered open.replied resume.resend)
# The table that stands in for what the kernel does not repeat.
[ -z "${STAGEFS_NO_RESEND:-}" ] || once+=(taken.landed taken.filled taken.kept taken.answered)
steps=("${once[@]}")
for t in $(seq 2 "$TIMES"); do
	for s in "${once[@]}"; do
		# A new slot is taken in the beginning; a worker resumes once.
		case $s in open.end) ;; resume.*) steps+=("$s") ;; *) steps+=("$s:$t") ;; esac
	done
done

seed=${SEED:-$RANDOM}
for i in a b c; do
	random_file "$T/$i" 1500000 "$i$seed"
	[ -n "${images:-}" ] || origin_start
	publish "$T/$i" $i
	images="${images:-} $i=$T/$i"
done
STAGEFS_MAY_DIE=1 mount_fs m
"$TOOLS/killsteps" "$(supervisor_pid m)" "$(worker_pid m)" "$hook" "$spare" "${steps[@]}" > "$T/steps" 2> "$T/steps.err" &
killer=$!
PIDS+=($killer)
ready() { grep -q ready "$T/steps" || ! kill -0 $killer; }
eventually 20 ready
[ "$(uname -m)" = x86_64 ] || exit 77
# shellcheck disable=SC2086
/usr/bin/python3 "$TESTS/tools/openmodel.py" --mount "$T/m" --stagefs "$STAGEFS_BIN" \
	--supervisor "$(supervisor_pid m)" --publish /bin/false --seed "$seed" --while $killer $images ||
	fail "seed $seed, died last at $(tail -n 1 "$T/steps")"
wait $killer || fail "$(cat "$T/steps.err")"
equal "$(grep -cv ready "$T/steps")" ${#steps[@]} "steps"
say "$(($(status_of m .worker.starts) - 1)) workers died at ${#steps[@]} steps"
umount_fs m
