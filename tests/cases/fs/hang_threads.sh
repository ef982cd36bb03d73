#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# The same, for all threads that go round.
THREADS='pump fetch flush evict notify agent orders report control link' exec bash "$(dirname "$0")/hang_thread.sh"
