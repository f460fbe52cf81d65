/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's terminal and job control. */
#ifndef PAVISE_RUNTIME_CONSOLE_H
#define PAVISE_RUNTIME_CONSOLE_H

/* Remember the terminal's modes, if there is one. */
void console_save(void);
/* Put them back: the guest did not end in an orderly way. */
void console_restore(void);
/* Stop this process as signal `sig` would, until somebody continues it. */
void console_stop(int sig);

#endif
