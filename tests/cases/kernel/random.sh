#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Opens, reads, completions, evictions, releases and worker kills at random, on
# the real kernel, against a model of its rule: passthrough and cached opens of
# an image never meet, nothing fails, no registered file is lost. The model is
# tests/tools/openmodel.py.
. "$(dirname "$0")/../../lib/common.sh"

ROUNDS=${ROUNDS:-120}
seed=${SEED:-$RANDOM}
images=()
for i in a b c d; do
	random_file "$T/$i" $((2000000 + RANDOM * 50)) "$i$seed"
	images+=("$i=$T/$i")
done
origin_start
for i in a b c d; do publish "$T/$i" $i; done
STAGEFS_MAY_DIE=1 mount_fs m
cat > "$T/publish" <<PUBLISH
#!/bin/sh
exec "$ORIGIN_BIN" -C "$STORE" image add "\$1" --name "\$2"
PUBLISH
chmod 755 "$T/publish"
model()
{
	/usr/bin/python3 "$TESTS/tools/openmodel.py" --mount "$T/m" --stagefs "$STAGEFS_BIN" \
		--supervisor "$(supervisor_pid m)" --publish "$T/publish" --seed "$seed" "$@" > "$T/out" ||
		fail "seed $seed"
	say "$(cat "$T/out")"
}

# Who reads is looked at while no figures are lost; then with kills.
model --rounds "$ROUNDS" "${images[@]}"
for i in a b c d; do cp "$T/m/$i" "$T/$i.now"; mv "$T/$i.now" "$T/$i"; done
model --rounds "$ROUNDS" --kills "${images[@]}"
umount_fs m
