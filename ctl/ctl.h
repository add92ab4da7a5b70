/* tidegatectl: what its files share. One thread, one command, one connection.
 *
 * A command is a row of ctl_commands (ctl/commands.c): its words, its help, its options and the
 * function that does it. The command line is read against that table (ctl/args.c), the help is
 * printed from it (ctl/help.c), so the two cannot tell different stories.
 *
 * Output: what was asked for on stdout, everything else on stderr. With --json each line of stdout
 * is one JSON object; ids are strings in it, for many JSON readers round large numbers.
 */
#ifndef TG_CTL_CTL_H
#define TG_CTL_CTL_H

#include "base/error.h"
#include "client/tidegate.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define CTL_ARGUMENTS_MAX      4
#define CTL_OPTIONS_MAX        8
#define CTL_SERVER_DEFAULT     "127.0.0.1:7411"
#define CTL_TIMEOUT_MS_DEFAULT 5000

enum ctl_exit {
    CTL_DONE = 0,
    CTL_REFUSED = 1,     /* the server said no, or verify found a broken promise */
    CTL_USAGE = 2,       /* the command line or the sale file is wrong; nothing was sent */
    CTL_UNREACHABLE = 3, /* no connection, no answer in time, a file that cannot be read */
};

struct ctl;

struct ctl_option {
    const char *name;   /* "delta", without the dashes; NULL ends a list */
    const char *value;  /* what its value is called in the help; NULL: it takes none */
    const char *preset; /* the default, for the help; NULL: none */
    const char *help;
};

struct ctl_command {
    const char *group; /* first word of two, or NULL */
    const char *name;
    const char *arguments; /* as in the synopsis, options included */
    uint32_t argument_count;
    const char *summary;     /* a line without a full stop */
    const char *description; /* lines of at most 76 characters */
    const char *examples;
    const char *unknown_hint; /* what to do when its outcome is not known, or NULL */
    struct ctl_option options[CTL_OPTIONS_MAX];
    enum ctl_exit (*run)(struct ctl *ctl);
};

/* Ends with a row whose name is NULL. */
extern const struct ctl_command ctl_commands[];
extern const struct ctl_option ctl_global_options[];

/* One invocation. Texts are borrowed from argv. */
struct ctl {
    const char *server;
    uint32_t timeout_ms;
    bool json;
    bool wants_help;
    bool wants_version;
    const char *group;                 /* the group word, when there is one */
    const struct ctl_command *command; /* NULL with --help or --version alone */
    const char *arguments[CTL_ARGUMENTS_MAX];
    uint32_t argument_count;
    const char *values[CTL_OPTIONS_MAX]; /* beside command->options; NULL: not given */
    struct tgc_client *client;           /* NULL until the first call */
};

/* --- command line (args.c) --- */

/* Fills `ctl`; CTL_USAGE after telling stderr what is wrong. */
enum ctl_exit ctl_args_read(struct ctl *ctl, int argc, char **argv);
/* The value of one of the command's options, NULL when it was not given. */
const char *ctl_option_value(const struct ctl *ctl, const char *name);
/* Decimal digits only, within the bounds. */
bool ctl_uint_parse(const char *text, uint64_t min, uint64_t max, uint64_t *number);
/* The same with a sign in front. */
bool ctl_int_parse(const char *text, int64_t min, int64_t max, int64_t *number);
/* Argument `index` as an id; false after telling what is wrong. */
bool ctl_id_argument(const struct ctl *ctl, uint32_t index, const char *what, uint64_t *id);
/* The option's value, when it was given; false after telling what is wrong. */
bool ctl_uint_option(const struct ctl *ctl, const char *name, uint64_t min, uint64_t max,
                     uint64_t *number);
/* The candidate (of `count`) that `word` was probably meant to be, or NULL. */
const char *ctl_nearest(const char *word, const char *const *candidates, uint32_t count);

/* --- help (help.c) --- */

/* Of the command, the group, or everything, on stdout. */
void ctl_help_print(const struct ctl *ctl);

/* --- talking (talk.c) --- */

/* "tidegatectl: ..." on stderr; the code comes back, so that a caller can return it. */
enum ctl_exit ctl_complain(enum ctl_exit code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A usage error, with where to read more. */
enum ctl_exit ctl_misused(const struct ctl *ctl, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Memory is out: says so and exits. */
_Noreturn void ctl_out_of_memory(void);

/* Connects when not yet connected, sends, waits for the answer, and asks again on BUSY while the
 * time lasts (BUSY has done nothing). CTL_DONE with an OK verdict stores the response, to be freed
 * with tgc_response_free; anything else was told on stderr. */
enum ctl_exit ctl_call(struct ctl *ctl, Tidegate__V1__Request *request,
                       Tidegate__V1__Response **response);

/* The server's clock. */
enum ctl_exit ctl_server_time(struct ctl *ctl, int64_t *time_ms);

/* --- commands (sale.c, stock.c, order.c, time.c, verify.c) --- */

enum ctl_exit ctl_sale_create(struct ctl *ctl);
enum ctl_exit ctl_sale_list(struct ctl *ctl);
enum ctl_exit ctl_sale_show(struct ctl *ctl);
enum ctl_exit ctl_sale_pause(struct ctl *ctl);
enum ctl_exit ctl_sale_resume(struct ctl *ctl);
enum ctl_exit ctl_sale_close(struct ctl *ctl);
enum ctl_exit ctl_stock_adjust(struct ctl *ctl);
enum ctl_exit ctl_stock_show(struct ctl *ctl);
enum ctl_exit ctl_order_get(struct ctl *ctl);
enum ctl_exit ctl_order_list(struct ctl *ctl);
enum ctl_exit ctl_time(struct ctl *ctl);
enum ctl_exit ctl_verify(struct ctl *ctl);

#endif
