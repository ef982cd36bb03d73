#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# What the daemon answers: bytes, ranges, conditions, methods, parallel readers.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/a" 20000003 1
: > "$T/empty"
origin init > /dev/null
origin image add "$T/a" --name win/a.img > /dev/null
origin image add "$T/empty" --name win/empty.img > /dev/null
origin_start --threads 2 --debug http
digest_of() { origin image show "$1" --json | jq -r .image.digest; }
A=$(digest_of win/a.img)
DATA=$URL/v1/data/$A

# code CURL-ARGUMENTS...: the status; head and body in $T/head, $T/body.
code()
{
	rm -f "$T/body"		# curl leaves it alone if there is no body
	curl -sS -D "$T/head" -o "$T/body" -w '%{http_code}' "$@"
}
header() { tr -d '\r' < "$T/head" | sed -n "s/^$1: //Ip"; }

# ---- whole and in part
equal "$(code "$DATA")" 200
same_bytes "$T/body" "$T/a"
equal "$(header content-length)" 20000003
equal "$(header etag)" "\"$A\""
equal "$(header cache-control)" "public, max-age=31536000, immutable"
equal "$(header accept-ranges)" bytes
for range in 0-0 0-99 1048575-1048577 20000002-20000002 3000000- -1 -1000; do
	equal "$(code -r "$range" "$DATA")" 206 "$range"
	case $range in
	-*) tail -c "${range#-}" "$T/a" > "$T/want"; first=$((20000003 - ${range#-})) ;;
	*-) tail -c +$((${range%-} + 1)) "$T/a" > "$T/want"; first=${range%-} ;;
	*)  first=${range%-*}
	    tail -c +$((first + 1)) "$T/a" | head -c $((${range#*-} - first + 1)) > "$T/want" || : ;;
	esac
	same_bytes "$T/body" "$T/want"
	n=$(stat -c %s "$T/want")
	equal "$(header content-range)" "bytes $first-$((first + n - 1))/20000003"
done
equal "$(code -r 20000003- "$DATA")" 416
equal "$(header content-range)" "bytes */20000003"
equal "$(header cache-control)" ""
equal "$(code -r 5-2 "$DATA")" 200
equal "$(code -r 0-1,5-6 "$DATA")" 200	# RFC 9110 14.2: may be ignored
same_bytes "$T/body" "$T/a"

# ---- conditions
equal "$(code -H "If-None-Match: \"$A\"" "$DATA")" 304
equal "$(stat -c %s "$T/body" 2>/dev/null || echo 0)" 0
equal "$(code -r 0-9 -H "If-Range: \"$A\"" "$DATA")" 206
equal "$(code -r 0-9 -H 'If-Range: "other"' "$DATA")" 200
equal "$(code -r 0-9 -H 'If-Range: Mon, 23 Nov 2026 09:18:56 GMT' "$DATA")" 200

# ---- HEAD, an empty image, manifests
equal "$(code -I "$DATA")" 200
equal "$(header content-length)" 20000003
equal "$(code -I -r 0-9 "$DATA")" 200	# Range is for GET
E=$(digest_of win/empty.img)
equal "$(code "$URL/v1/data/$E")" 200
equal "$(header content-length)" 0
equal "$(code -r 0- "$URL/v1/data/$E")" 416
equal "$(code "$URL/v1/manifests/$A")" 200
equal "$(sum "$T/body")" "$A"
same_bytes "$T/body" "$STORE/manifests/$A"
equal "$(code -r 0-7 "$URL/v1/manifests/$A")" 206
equal "$(cat "$T/body")" STGMANI1

# ---- the catalog
equal "$(code "$URL/v1/catalog")" 200
etag=$(header etag)
tail -n +2 "$T/body" | jq -e '.revision == 2 and (.entries | length) == 3' > /dev/null
equal "$(code -H "If-None-Match: $etag" "$URL/v1/catalog")" 304
equal "$(code "$URL/v1/catalog?since=2")" 200
tail -n +2 "$T/body" | jq -e '.entries == [] and .since == 2' > /dev/null
origin image add "$T/a" --name win/b.img > /dev/null	# beside the daemon
equal "$(code -H "If-None-Match: $etag" "$URL/v1/catalog")" 200
equal "$(code -I "$URL/v1/catalog")" 200
equal "$(code "$URL/v1/catalog?since=x")" 400

# ---- what is not there, what is not done
equal "$(code "$URL/v1/data/${A%?}0")" 404
equal "$(code "$URL/v1/data/$A.")" 404
equal "$(code --path-as-is "$URL/v1/data/../../secret.pem")" 404
equal "$(code --path-as-is "$URL/v1/data/..%2f..%2fsecret.pem")" 404
equal "$(wc -l < "$T/body")" 1
equal "$(code -X DELETE "$DATA")" 405
equal "$(header allow)" "GET, HEAD"
equal "$(code -X OPTIONS "$DATA")" 405
equal "$(code -d x "$URL/v1/servers/line3/descriptor")" 405
equal "$(header allow)" PUT

# ---- a removed image is gone at once, though the daemon has it open
origin image remove win/empty.img > /dev/null
equal "$(code "$URL/v1/data/$E")" 404

# ---- keep-alive: many requests, one connection
before=$(curl -fsS "$URL/metrics" | awk '/^stagefs_origin_connections_total/ { print $2 }')
for i in $(seq 50); do echo "url=$DATA"; echo "range=$i-$((i + 9))"; echo "output=$T/part.$i"; [ "$i" = 50 ] || echo next; done > "$T/many"
curl -fsS -K "$T/many"
for i in 1 17 50; do
	tail -c +$((i + 1)) "$T/a" | head -c 10 > "$T/want" || :
	cmp "$T/part.$i" "$T/want"
done
after=$(curl -fsS "$URL/metrics" | awk '/^stagefs_origin_connections_total/ { print $2 }')
equal $((after - before)) 2 "connections for 50 requests and a look at the metrics"

# ---- 64 readers at once
sent=$(origin_sent)
seq 64 | xargs -P 64 -I{} sh -c "curl -fsS '$DATA' | sha256sum" | sort | uniq -c > "$T/sums"
equal "$(awk '{ print $1, $2 }' "$T/sums")" "64 $(sum "$T/a")"
equal $(($(origin_sent) - sent)) $((64 * 20000003)) "bytes of images, heads not counted"

# ---- clients that leave in the middle
for i in $(seq 20); do
	{ curl -sS "$DATA" || :; } 2> /dev/null | head -c 100000 > /dev/null || :
done
equal "$(code "$DATA")" 200
same_bytes "$T/body" "$T/a"
idle() { [ "$(curl -fsS "$URL/metrics" | awk '/^stagefs_origin_connections / { print $2 }')" = 1 ]; }
eventually 10 idle

# ---- the log of requests, and a clean end
eventually 10 grep -q "GET /v1/data/$A: 206" "$T/origin.log"
kill -TERM "$ORIGIN_PID"
wait "$ORIGIN_PID"
origin_stop 2> /dev/null || :
