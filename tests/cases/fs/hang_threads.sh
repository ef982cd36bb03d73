#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# The same, for all threads that go round. (That of the order channel may wait
# for the origin for a minute, and is given five more.)
THREADS='pump fetch flush evict notify orders report control link' exec bash "$(dirname "$0")/hang_thread.sh"
