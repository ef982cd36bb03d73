#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# https: nginx in front of the origin. With the right ca= it reads and takes
# orders; a certificate of somebody unknown, for another host, that has
# expired, or a ca= that is no use, is refused at the first mount; later,
# when it holds something, it serves that with a warning. No word of this goes
# through without TLS.
. "$(dirname "$0")/../../lib/common.sh"

command -v nginx > /dev/null || { say "no nginx"; exit 77; }
random_file "$T/a" 5000000 a
origin_start
publish "$T/a" a
PLAIN=$URL

# ---- a CA, what it signed, and a stranger
ssl() { openssl "$@" 2>> "$T/openssl.log" || fail "openssl $*: $(tail "$T/openssl.log")"; }
ca() # NAME
{
	ssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-subj "/CN=$1" -days 30 -keyout "$T/$1.key" -out "$T/$1.pem"
}
cert() # NAME SAN CA DAYS
{
	ssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-subj "/CN=$1" -keyout "$T/$1.key" -out "$T/$1.csr"
	printf 'subjectAltName=%s\n' "$2" > "$T/$1.ext"
	ssl x509 -req -in "$T/$1.csr" -CA "$T/$3.pem" -CAkey "$T/$3.key" \
		-CAcreateserial -days "$4" -extfile "$T/$1.ext" -out "$T/$1.pem"
}
ca ours
ca stranger
cert good DNS:localhost,IP:127.0.0.1 ours 2
cert other DNS:origin.example ours 2
cert expired DNS:localhost,IP:127.0.0.1 ours -1
cert unknown DNS:localhost,IP:127.0.0.1 stranger 2

# ---- one port for each
mkdir "$T/nginx"
{
	echo "daemon off; master_process off; pid $T/nginx/pid; error_log $T/nginx.log;"
	echo "events {} http { access_log off; proxy_buffering off; proxy_http_version 1.1;"
	for d in client_body proxy fastcgi uwsgi scgi; do echo "${d}_temp_path $T/nginx/$d;"; done
	for name in good other expired unknown; do
		declare "port_$name=$(free_port)"
		port=port_$name
		echo "server { listen 127.0.0.1:${!port} ssl;"
		echo "ssl_certificate $T/$name.pem; ssl_certificate_key $T/$name.key;"
		echo "location / { proxy_pass $PLAIN; proxy_read_timeout 120s; } }"
	done
	echo "}"
} > "$T/nginx.conf"
nginx -c "$T/nginx.conf" -e "$T/nginx.log" &
PIDS+=($!)
eventually 20 curl -fsS --cacert "$T/ours.pem" "https://127.0.0.1:$port_good/healthz"
url() { local port=port_$1; echo "https://${2:-127.0.0.1}:${!port}"; }

try() # URL OPTIONS
{
	mkdir -p "$T/x"
	timeout 120 "$MOUNT_BIN" "$1" "$T/x" -o \
		"name=x,cache=$T/x.cache,capacity=1G,min-free=0,user=root,log=$T/x.log,$2"
}
no() # 'REGEX' URL OPTIONS
{
	rm -rf "$T/x.cache"
	refused "^mount.stagefs: .*$1" try "$2" "$3"
	equal "$status" 1 "$*"
	equal "$(mounts_below)" ""
}

# ---- refused
requests() { curl -fsS "$PLAIN/metrics" | awk '/^stagefs_origin_requests_total/ { n += $2 } END { print n + 0 }'; }
before=$(requests)
no "certificate.*(verif|self|local issuer|unable)" "$(url good)" io-timeout=5s
no "certificate" "$(url unknown)" "ca=$T/ours.pem"
no "certificate has expired" "$(url expired)" "ca=$T/ours.pem"
no "(certificate subject|subject name|alternative).*match" "$(url other)" "ca=$T/ours.pem"
no "option ca=$T/none: No such file" "$(url good)" "ca=$T/none"
no "option ca: no certificates there: .*$T/a" "$(url good)" "ca=$T/a"
no "option ca: no certificates there: .*$T" "$(url good)" "ca=$T"
no "SSL|TLS|wrong version" "https://127.0.0.1:$PORT" "ca=$T/ours.pem"
no "400|plain HTTP" "http://127.0.0.1:$port_good" "ca=$T/ours.pem"
equal "$(requests)" "$((before + 1))" "requests that came through" # its own

# ---- right
MOUNT_URL=$(url good localhost) mount_fs m "ca=$T/ours.pem"
same_bytes "$T/a" "$T/m/a"
publish "$T/a" b
eventually 10 has_image m b
known() { origin server show m > /dev/null; }
eventually 20 known
origin order prefetch m b > /dev/null
eventually 20 image_is m b complete
same_bytes "$T/a" "$T/m/b"
end_fs m

unreachable() { [ "$(status_of m '.sources[0].reachable')" = false ]; }
# ---- later: what it holds is served, whatever became of the certificate
# (It waits two seconds for an answer.)
warned()
{
	MOUNT_URL=$(url "$1") mount_fs m "ca=$T/ours.pem" 2> "$T/err"
	grep -Eq '^mount.stagefs: warning: .*(certificate|subject name).*: mounted with what the cache holds' "$T/err" && return
	end_fs m
	return 1
}
for name in unknown expired other; do
	eventually 60 warned $name
	equal "$(wc -l < "$T/err")" 1
	same_bytes "$T/a" "$T/m/b"
	eventually 20 unreachable
	end_fs m
done
