/* SPDX-License-Identifier: Apache-2.0 */
#include "origin/cli/image.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

const volatile sig_atomic_t *interrupt_arm(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	const struct sigaction act = {
		.sa_handler = on_signal,
		.sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
	struct sigaction old;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		/* Under nohup it stays ignored. */
		if (sigaction(signals[i], NULL, &old) == 0 &&
		    old.sa_handler != SIG_IGN)
			sigaction(signals[i], &act, NULL);
	return &interrupted;
}
