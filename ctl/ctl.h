/* tidegatectl: what its files share. One thread, one command, one connection.
 *
 * A command is a row of a table (ctl/commands.h): its words, its help, its options and the function
 * that does it. The command line is read against the tables (ctl/args.c), the help is printed from
 * them (ctl/help.c), so the two cannot tell different stories.
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

#define CTL_ARGUMENTS_MAX      (1 + TG_ORDER_LINES_MAX) /* a sale and the lines of a cart */
#define CTL_OPTIONS_MAX        10
#define CTL_REQUEST_TEXT_BYTES (2 * TG_REQUEST_ID_BYTES + 1)
#define CTL_CURRENCY_BYTES     (TG_CURRENCY_BYTES + 1)
#define CTL_SERVER_DEFAULT     "127.0.0.1:7411"
#define CTL_TIMEOUT_MS_DEFAULT 5000

enum ctl_exit {
    CTL_DONE = 0,
    CTL_REFUSED = 1, /* the server said no, a promise is broken, or an export broke off */
    CTL_USAGE = 2,   /* the command line or the sale file is wrong; nothing was sent */
    CTL_UNREACHABLE =
        3, /* no connection, no answer in time, a file that cannot be read or written */
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
    uint32_t argument_more;  /* how often the last argument may be repeated */
    const char *summary;     /* a line without a full stop */
    const char *description; /* lines of at most 76 characters */
    const char *examples;
    const char *unknown_hint; /* what to do when its outcome is not known, or NULL */
    struct ctl_option options[CTL_OPTIONS_MAX];
    enum ctl_exit (*run)(struct ctl *ctl);
};

/* The command of this number over all tables, from 0 on; NULL behind the last. */
const struct ctl_command *ctl_command_at(uint32_t number);
extern const struct ctl_option ctl_global_options[];

/* One invocation. Texts are borrowed from argv. */
struct ctl {
    const char *server;
    const char *token_file; /* NULL: the environment says */
    uint32_t timeout_ms;
    uint32_t wait_ms; /* of a long poll: the server may hold its answer back so much longer */
    bool has_tls;     /* any of the options of TLS stood there */
    struct tgc_tls tls;
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
/* The option's value as one of an enum's names; as ctl_uint_option. */
bool ctl_enum_option(const struct ctl *ctl, const char *name, const ProtobufCEnumDescriptor *names,
                     int *value);
/* The value of an option that must be given, NULL after telling that it was not. */
const char *ctl_required_option(const struct ctl *ctl, const char *name);
/* --request-id, or one chosen at random; `text` is its hex. False after telling what is wrong. */
bool ctl_request_id_option(const struct ctl *ctl, uint8_t id[TG_REQUEST_ID_BYTES],
                           char text[CTL_REQUEST_TEXT_BYTES]);
/* 32 hex digits. */
bool ctl_request_id_parse(const char *text, uint8_t id[TG_REQUEST_ID_BYTES]);

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

/* For requests that are safe to repeat: the same, but a lost connection or answer is mended and
 * asked again as well, and a response is stored whatever its verdict, to be told by ctl_judge.
 * `repeat` are the options that make the same command again when its outcome stays unknown; NULL:
 * the command's own hint. Without an answer the response is NULL, and that was told. */
enum ctl_exit ctl_ask(struct ctl *ctl, Tidegate__V1__Request *request, const char *repeat,
                      Tidegate__V1__Response **response);

/* CTL_DONE for OK and ACCEPTED; else CTL_REFUSED, after telling the verdict and what can be done.
 */
enum ctl_exit ctl_judge(const Tidegate__V1__Response *response);
/* What can be done about a verdict, "" when its name says it all. Static. */
const char *ctl_verdict_advice(int verdict);

/* The server's clock. */
enum ctl_exit ctl_server_time(struct ctl *ctl, int64_t *time_ms);

/* --- looking up (lookup.c): each is a ctl_call --- */

/* Of the sale. */
enum ctl_exit ctl_currency(struct ctl *ctl, uint64_t sale_id, char currency[CTL_CURRENCY_BYTES]);
/* The item, with its sale; free the response. */
enum ctl_exit ctl_item(struct ctl *ctl, uint64_t sale_id, const char *sku,
                       Tidegate__V1__Response **response);
/* An order, a team; free the response. They are there: a server that leaves them out is told off.
 */
enum ctl_exit ctl_order(struct ctl *ctl, uint64_t order_id, Tidegate__V1__Response **response);
enum ctl_exit ctl_team(struct ctl *ctl, uint64_t team_id, Tidegate__V1__Response **response);

/* --- commands --- */

enum ctl_exit ctl_sale_create(struct ctl *ctl);
enum ctl_exit ctl_sale_list(struct ctl *ctl);
enum ctl_exit ctl_sale_show(struct ctl *ctl);
enum ctl_exit ctl_sale_pause(struct ctl *ctl);
enum ctl_exit ctl_sale_resume(struct ctl *ctl);
enum ctl_exit ctl_sale_close(struct ctl *ctl);
enum ctl_exit ctl_stock_adjust(struct ctl *ctl);
enum ctl_exit ctl_stock_show(struct ctl *ctl);
enum ctl_exit ctl_order_place(struct ctl *ctl);
enum ctl_exit ctl_order_show(struct ctl *ctl);
enum ctl_exit ctl_order_list(struct ctl *ctl);
enum ctl_exit ctl_order_pay(struct ctl *ctl);
enum ctl_exit ctl_order_cancel(struct ctl *ctl);
enum ctl_exit ctl_order_extend(struct ctl *ctl);
enum ctl_exit ctl_order_refund(struct ctl *ctl);
enum ctl_exit ctl_order_approve(struct ctl *ctl);
enum ctl_exit ctl_order_reject(struct ctl *ctl);
enum ctl_exit ctl_order_refunded(struct ctl *ctl);
enum ctl_exit ctl_order_advance(struct ctl *ctl);
enum ctl_exit ctl_order_ingest(struct ctl *ctl);
enum ctl_exit ctl_team_open(struct ctl *ctl);
enum ctl_exit ctl_team_join(struct ctl *ctl);
enum ctl_exit ctl_team_show(struct ctl *ctl);
enum ctl_exit ctl_team_list(struct ctl *ctl);
enum ctl_exit ctl_events_tail(struct ctl *ctl);
enum ctl_exit ctl_events_groups(struct ctl *ctl);
enum ctl_exit ctl_events_group_create(struct ctl *ctl);
enum ctl_exit ctl_events_group_delete(struct ctl *ctl);
enum ctl_exit ctl_events_ack(struct ctl *ctl);
enum ctl_exit ctl_top(struct ctl *ctl);
enum ctl_exit ctl_backup(struct ctl *ctl);
enum ctl_exit ctl_restore(struct ctl *ctl);
enum ctl_exit ctl_export_orders(struct ctl *ctl);
enum ctl_exit ctl_time(struct ctl *ctl);
enum ctl_exit ctl_stats(struct ctl *ctl);
/* What it shows: `*response` holds a GetStatsResponse, to be freed, with CTL_DONE. */
enum ctl_exit ctl_stats_ask(struct ctl *ctl, Tidegate__V1__Response **response);
enum ctl_exit ctl_verify(struct ctl *ctl);
enum ctl_exit ctl_token_create(struct ctl *ctl);
enum ctl_exit ctl_token_list(struct ctl *ctl);
enum ctl_exit ctl_token_revoke(struct ctl *ctl);

#endif
