# SPDX-License-Identifier: Apache-2.0
# Faults of an origin on the way of a read, for tests/cases/bad/data_*.sh: each
# on a mount and an image of its own, all at once, through one proxy that lies.
#
#	fault NAME FAULT[,MEMBERS] OUTCOME COUNTER 'LOG' [OPTIONS]
#	...
#	faults_run
#
# FAULT and MEMBERS are badorigin.py's; a member "path" says what else than the
# image's data it strikes. OUTCOME: "right", or what cat says. COUNTER: of
# `stagefs status --json` (jq), has to grow. LOG: exactly one line matches.
#
# What is true of all: bytes that a reader got are right, as far as they go;
# nothing wrong is stored; and once the fault ends, it reads right.

FAULT_BYTES=3500000
fault_names=() fault_rules=
declare -A fault_outcome fault_counter fault_log fault_options

fault()
{
	local name=$1 members='' path
	random_file "$T/$name.img" $FAULT_BYTES "$name"
	publish "$T/$name.img" "$name"
	path=/v1/data/$(origin image show --json "$name" | jq -r .image.digest)
	case $2 in *,*) members=",${2#*,}" ;; esac
	members=${members//DIGEST/${path##*/}}
	fault_rules+="${fault_rules:+,}{\"name\":\"$name\",\"path\":\"$path\",\"fault\":\"${2%%,*}\"$members}"
	fault_names+=("$name")
	fault_outcome[$name]=$3 fault_counter[$name]=$4
	fault_log[$name]=$5 fault_options[$name]=${6:-}
}

# A fault takes effect on a read.
fault_strikes()
{
	local name=$1 m=m.$1
	if [ "${fault_outcome[$name]}" = right ]; then
		same_bytes "$T/$name.img" "$T/$m/$name"
	else
		local status=0
		cat "$T/$m/$name" > "$T/$m.got" 2> "$T/$m.err" || status=$?
		[ "$status" = 1 ] || fail "$name: read without an error"
		grep -q "${fault_outcome[$name]}" "$T/$m.err" ||
			fail "$name: $(cat "$T/$m.err"), not ${fault_outcome[$name]}"
		cmp -n "$(stat -c %s "$T/$m.got")" "$T/$m.got" "$T/$name.img"
	fi
}

fault_was_told()
{
	local name=$1 m=m.$1 n
	n=$(status_of "$m" "${fault_counter[$name]}")
	[ "$n" -gt 0 ] || fail "$name: not counted in ${fault_counter[$name]}"
	n=$(grep -cE "${fault_log[$name]}" "$T/$m.log" || :)
	[ "$n" = 1 ] || fail "$name: $n lines in the log: /${fault_log[$name]}/"
	"$STAGEFS_BIN" status --metrics "$T/$m" > "$T/$m.metrics"
	grep -qE '^stagefs_(fetch_(retries|wrong_[a-z]*|stalls)|bad_blocks|source_failures|reads_failed)_total.* [1-9]' \
		"$T/$m.metrics" || fail "$name: not in the metrics"
}

nothing_bad() # MOUNT
{
	"$STAGEFS_BIN" verify --json "$T/$1" > "$T/$1.verify"
	equal "$(jq '[.images[].bad] | add // 0' "$T/$1.verify")" 0 "$1: bad blocks are stored"
}

fault_ended()
{
	local name=$1 m=m.$1
	nothing_bad "$m"
	eventually 40 cmp "$T/$name.img" "$T/$m/$name"
	eventually 20 image_is "$m" "$name" complete
	nothing_bad "$m"
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

fault_mount() { mount_fs "m.$1" "io-timeout=2s,fill-after=1M${fault_options[$1]:+,${fault_options[$1]}}"; }

faults_run()
{
	origin_start
	proxy_start
	proxy _script "[$fault_rules]"
	faults_all fault_mount
	faults_all fault_strikes
	faults_all fault_was_told
	equal "$(proxy _log | jq -r '.rules[] | select(.hits == 0) | .name')" "" "never struck"
	proxy _script '[]'
	faults_all fault_ended
}
