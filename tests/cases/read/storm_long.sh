#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# The same as storm.sh, for longer and with other numbers each time.
for reads in 500 2000 4000; do
	READS=$reads bash "$(dirname "$0")/storm.sh" || exit
done
