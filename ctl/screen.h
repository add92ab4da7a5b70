/* The terminal of a live view on stdout: the alternate screen, given back at the end, on a signal
 * that ends the process, and while it is stopped by Ctrl-Z. Ctrl-C is the way out of a view: the
 * process then exits with status 0. Plain ANSI (ECMA-48) sequences. One thread, one view. */
#ifndef TG_CTL_SCREEN_H
#define TG_CTL_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

/* stdout is a terminal that can be drawn on. */
bool ctl_screen_possible(void);
void ctl_screen_enter(void);
/* Draws these lines from the top left on, cut at the edges of the terminal as it is now. ASCII. */
void ctl_screen_draw(const char *lines);
void ctl_screen_leave(void);

#endif
