# SPDX-License-Identifier: Apache-2.0
# Faults of an origin on the way of a read, for tests/cases/bad/data_*.sh: each
# on a mount and an image of its own, all at once, through one proxy that lies.
#
#	fault NAME FAULT[,MEMBERS] OUTCOME COUNTER 'LOG'
#	...
#	faults_run [MOUNT-OPTIONS]	FAULT_SECOND_SOURCE=1: an honest one is there
#
# FAULT and MEMBERS are badorigin.py's; a member "path" says what else than the
# image's data it strikes, with DIGEST for the image's. OUTCOME: "right", or
# what cat says. COUNTER: of `stagefs status --json` (jq), has to grow. LOG: a
# line that matches; said once, however often it is asked again.
#
# What is true of all: bytes that a reader got are right, as far as they go;
# nothing wrong is stored; and once the fault ends, it reads right.
#
# A reader that gives up may do so before the fault was noticed, on a machine
# that is busy: it reads again until outcome, counter and log say it.

FAULT_BYTES=3500000
fault_names=() fault_rules=
declare -A fault_outcome fault_counter fault_log

fault()
{
	local name=$1 members='' digest path
	random_file "$T/$name.img" $FAULT_BYTES "$name"
	publish "$T/$name.img" "$name"
	digest=$(origin image show --json "$name" | jq -r .image.digest)
	case $2 in *,*) members=",${2#*,}" ;; esac
	case $members in
	*'"path"'*) path= ;;
	*) path="\"path\":\"/v1/data/$digest\"," ;;
	esac
	fault_rules+="${fault_rules:+,}{\"name\":\"$name\",$path\"fault\":\"${2%%,*}\"${members//DIGEST/$digest}}"
	fault_names+=("$name")
	fault_outcome[$name]=$3 fault_counter[$name]=$4 fault_log[$name]=$5
}

fault_read()
{
	local name=$1 m=m.$1 status=0
	cat "$T/$m/$name" > "$T/$m.got" 2> "$T/$m.err" || status=$?
	cmp -n "$(stat -c %s "$T/$m.got")" "$T/$m.got" "$T/$name.img" ||
		fail "$name: wrong bytes"
	if [ "${fault_outcome[$name]}" = right ]; then
		equal $status 0 "$name: $(cat "$T/$m.err")"
		equal "$(stat -c %s "$T/$m.got")" $FAULT_BYTES
		touch "$T/$m.met"
		return
	fi
	equal $status 1 "$name: read without an error"
	if grep -q "${fault_outcome[$name]}" "$T/$m.err"; then
		touch "$T/$m.met"
	else
		grep -q 'timed out' "$T/$m.err" ||
			fail "$name: $(cat "$T/$m.err"), not ${fault_outcome[$name]}"
	fi
}

fault_said()
{
	[ -e "$T/m.$1.met" ] &&
		[ "$(status_of "m.$1" "${fault_counter[$1]}")" -gt 0 ] &&
		grep -qE "${fault_log[$1]}" "$T/m.$1.log"
}

fault_strikes()
{
	local name=$1 m=m.$1 n
	for _ in {1..20}; do
		fault_read "$name"
		fault_said "$name" && break
		sleep 1.1 # what has just timed out fails at once
	done
	fault_said "$name" || fail "$name: $(cat "$T/$m.err"), ${fault_counter[$name]} is $(
		status_of "$m" "${fault_counter[$name]}"), /${fault_log[$name]}/ in: $(cat "$T/$m.log")"
	# Once for each kind; there may be two, as when what is refused ends.
	n=$(grep -c 'asking again\|not asked for this version' "$T/$m.log" || :)
	[ "$n" -le 2 ] || fail "$name: $n lines in the log"
	"$STAGEFS_BIN" status --metrics "$T/$m" > "$T/$m.metrics"
	grep -qE '^stagefs_(fetch_(retries|wrong_[a-z]*|stalls|short_[a-z]*)|bad_blocks|source_failures|reads_failed)_total.* [1-9]' \
		"$T/$m.metrics" || fail "$name: not in the metrics"
}

nothing_bad() # MOUNT
{
	"$STAGEFS_BIN" verify --json "$T/$1" > "$T/$1.verify"
	equal "$(jq '[.images[].bad] | add // 0' "$T/$1.verify")" 0 "$1: bad blocks are stored"
}

# The origin has come to its senses.
fault_ended()
{
	local name=$1 m=m.$1
	nothing_bad "$m"
	# Who lied is not asked for minutes; a mount anew forgets that.
	if [[ ${fault_counter[$name]} = *bad_blocks ]]; then
		end_fs "$m"
		fault_mount "$name"
	fi
	eventually 60 cmp "$T/$name.img" "$T/$m/$name"
	umount_fs "$m"
}

# Each of a step's in a process of its own.
faults_all()
{
	local name pid pids=()
	for name in "${fault_names[@]}"; do
		("$1" "$name") &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid" || fail "$1"; done
}

fault_mount() { mount_fs "m.$1" "fill-after=1M,$fault_options"; }

faults_run()
{
	fault_options=${1:-}
	origin_start
	proxy_start
	[ -z "${FAULT_SECOND_SOURCE:-}" ] || MOUNT_URL=$MOUNT_URL,$URL
	proxy _script "[$fault_rules]"
	faults_all fault_mount
	faults_all fault_strikes
	equal "$(proxy _log | jq -r '.rules[] | select(.hits == 0) | .name')" "" "never struck"
	proxy _script '[]'
	faults_all fault_ended
}
