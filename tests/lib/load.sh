# SPDX-License-Identifier: Apache-2.0
# A production server at work, for cases that do something to it meanwhile;
# after share.sh:
#
#	load_publish; mount_fs m; share_start m; ganesha_start; samba_start
#	load_start; ...; load_end
#
# Over NFS v4, v3 and SMB, stations read an image that is stored, and others
# come, read one that is not, and go; programs of this machine open and read.
# All of them compare what they get. load_end fails if one of them saw an error
# or a wrong byte.

KINDS='v4 v3 smb'
STALL_MS=20

url() { case $1 in v*) nfs_url "$2" "${1#v}" ;; *) smb_url "$2" ;; esac; }

load_publish()
{
	local kind i
	random_file "$T/cached" 40000000 cached
	publish "$T/cached" cached
	for kind in $KINDS; do
		for i in 1 2 3; do
			random_file "$T/$kind.$i" 30000000 "$kind.$i"
			publish "$T/$kind.$i" "$kind.$i"
		done
	done
}

# Until there is $T/stop. An image is evicted for the next visit, unless
# somebody has it open.
load_visits() # KIND
{
	local i n=0 bytes=(65536 1048576 262144)
	while [ ! -e "$T/stop" ]; do
		i=$((n % 3 + 1))
		n=$((n + 1))
		in_share "$TOOLS/netread" -r -w $STALL_MS -b "${bytes[n % 3]}" \
			"$T/$1.$i" "$(url "$1" "$1.$i")" || return
		"$STAGEFS_BIN" evict "$SHARED" "$1.$i" > /dev/null 2>&1 || :
	done
	echo "$n visits"
}

load_start()
{
	local kind
	same_bytes "$T/cached" "$SHARED/cached"
	for kind in $KINDS; do
		in_share_bg "$kind" "$TOOLS/netread" -rl -w $STALL_MS -b 131072 \
			-n 100 "$T/cached" "$(url "$kind" cached)"
		load_visits "$kind" >> "$T/visits.$kind.log" 2>&1 &
		declare -g "VISITS_$kind=$!"
		PIDS+=($!)
	done
	# Each read with an open: with passthrough all that is left to the
	# worker.
	"$TOOLS/stalls" -w -l $STALL_MS -t 2 "$SHARED/cached" "$T/cached" \
		> "$T/local.log" 2>&1 &
	LOCAL_PID=$!
	PIDS+=($LOCAL_PID)
	LOAD_SENT=$(origin_sent)
}

load_end()
{
	local name kind pid
	touch "$T/stop"
	for name in local $KINDS; do
		pid=${name^^}_PID
		kill -USR1 "${!pid}" 2> /dev/null ||
			fail "$name: $(tail -n 3 "$T/$name.log")"
		wait "${!pid}" || fail "$name: $(tail -n 3 "$T/$name.log")"
		say "$name: $(tail -n 1 "$T/$name.log")"
	done
	for kind in $KINDS; do
		pid=VISITS_$kind
		wait "${!pid}" || fail "$kind: $(tail -n 3 "$T/visits.$kind.log")"
		say "$kind: $(tail -n 1 "$T/visits.$kind.log")"
	done
	say "$(($(origin_sent) - LOAD_SENT)) bytes left the origin"
}

# load_event: something is done to it, now.
load_event() { echo "${EPOCHREALTIME/./}" >> "$T/events"; }

# load_pauses: for each of these events, how long anybody had to wait at the
# most until the next one; of these, "MEDIAN P99 LONGEST" in ms.
load_pauses()
{
	/usr/bin/python3 - "$T" <<- 'END'
	import bisect, glob, sys
	events = [int(line) // 1000 for line in open(sys.argv[1] + "/events")]
	longest = [0] * len(events)
	for path in glob.glob(sys.argv[1] + "/*.log"):
	    for line in open(path, errors="replace"):
	        if line.startswith("stall "):
	            begin, took = map(int, line.split()[1:])
	            i = bisect.bisect(events, begin + took) - 1
	            if i >= 0:
	                longest[i] = max(longest[i], took)
	longest.sort()
	print(longest[len(longest) // 2], longest[int((len(longest) - 1) * .99)],
	      longest[-1])
	END
}
