/* tidegate-load render: the page and the CI file of a run, from its JSON report, later. Main
 * thread. */
#ifndef LG_RENDER_H
#define LG_RENDER_H

/* The command: argv[0] is "render". Returns the exit status: 0; 2 wrong words; 4 the report cannot
 * be read, or what is made of it not be written. */
int lg_render_main(int argc, char **argv);

#endif
