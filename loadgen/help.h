/* The text of --help. */
#ifndef LG_HELP_H
#define LG_HELP_H

extern const char lg_help[];

#endif
