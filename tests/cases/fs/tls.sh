#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# https by a name, with certificates of ca=, from within the worker's cage; also
# after a restart of the worker. Another authority's are not believed.
. "$(dirname "$0")/../../lib/common.sh"
command -v nginx > /dev/null || exit 77

chmod 755 "$T"
random_file "$T/a" 5000000 a
origin_start
publish "$T/a" a
authority()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-days 2 -subj "/CN=localhost" -addext "subjectAltName=DNS:localhost" \
		-keyout "$T/$1.key" -out "$T/$1.pem" 2> "$T/openssl.err" ||
		fail "$(cat "$T/openssl.err")"
}
authority ours
authority theirs
tls=$(free_port)
cat > "$T/nginx.conf" << END
daemon off;
pid $T/nginx.pid;
error_log $T/nginx.log;
events {}
http {
	access_log off;
	client_body_temp_path $T/n1; proxy_temp_path $T/n2;
	fastcgi_temp_path $T/n3; uwsgi_temp_path $T/n4; scgi_temp_path $T/n5;
	server {
		listen 127.0.0.1:$tls ssl;
		ssl_certificate $T/ours.pem;
		ssl_certificate_key $T/ours.key;
		location / { proxy_pass $URL; proxy_http_version 1.1; proxy_buffering off; }
	}
}
END
nginx -p "$T" -c "$T/nginx.conf" -e "$T/nginx.log" > "$T/nginx.out" 2>&1 &
PIDS+=($!)
MOUNT_URL=https://localhost:$tls
eventually 10 curl -fsS --cacert "$T/ours.pem" "$MOUNT_URL/healthz"

mount_fs m "user=nobody,ca=$T/ours.pem"
kill_worker m
same_bytes "$T/a" "$T/m/a"
end_fs m
refused 'certificate|SSL' mount_fs x "user=nobody,ca=$T/theirs.pem"
