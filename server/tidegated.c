/* tidegated: the daemon. Configuration, start, recovery, drain and stop; the work is in core.c and
 * writer.c. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "engine/life.h"
#include "server/admin.h"
#include "server/admit.h"
#include "server/events.h"
#include "server/item_watch.h"
#include "server/lanes.h"
#include "server/notify.h"
#include "server/pages.h"
#include "server/server.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define MS_PER_DAY ((int64_t)24 * 3600 * 1000)

static void print_help(void)
{
    printf("tidegated - decide, store and answer the orders of a flash sale\n\n"
           "Usage: tidegated --data-dir DIR [OPTION]...\n\n"
           "  --data-dir DIR      directory of the database; created when missing\n"
           "  --listen HOST:PORT  address of the native protocol (default 127.0.0.1:7411);\n"
           "                      port 0 picks a free one\n"
           "  --grpc-listen HOST:PORT\n"
           "                      address of the gRPC listener; none when it is not said\n"
           "  --admin-listen HOST:PORT\n"
           "                      address of metrics, health, JSON and the live page, by HTTP;\n"
           "                      none when it is not said\n"
           "  --threads N         core threads, each with one shard (default 1)\n"
           "  --config FILE       INI file with any of the keys below\n"
           "  --set SECTION.KEY=VALUE\n"
           "                      set one key; may be given several times\n"
           "  --insecure          listen beyond loopback although callers are not authenticated\n"
           "  --check-config      read and check the configuration, print it as it would be in\n"
           "                      force, exit 0; or print what is wrong with it, exit 2\n"
           "  --print-example     print a documented configuration file, exit 0\n"
           "  --help, --version\n\n"
           "When it is ready it prints one line on stdout, 'tidegated ready on HOST:PORT ...'.\n"
           "SIGTERM or SIGINT: stops accepting, answers what it has accepted, exits 0. A second\n"
           "one exits at once. SIGHUP: reads the configuration again, takes over what it can and\n"
           "logs what needs a restart.\n\n"
           "Exit status: 0 drained; 1 could not start, or could not drain in time; 2 usage;\n"
           "%d out of memory for what must not fail; %d the outcome of a commit is unknown (the "
           "disk\nfailed).\n\n"
           "Keys of the configuration file, also for --set:\n",
           SRV_EXIT_MEMORY, SRV_EXIT_STORAGE_UNKNOWN);
    srv_config_describe();
}

static enum tg_error set_pair(struct srv_config *config, const char *pair, struct tg_fault *fault)
{
    char section[64], name[64];
    const char *equals = strchr(pair, '=');
    if (!equals || sscanf(pair, "%63[^.=].%63[^=]", section, name) != 2)
        return tg_fault_set(fault, TG_ERR_INVALID, "--set takes SECTION.KEY=VALUE, not '%.200s'",
                            pair);
    return srv_config_set(config, section, name, equals + 1, fault);
}

enum option_code {
    OPTION_DATA_DIR = 256,
    OPTION_LISTEN,
    OPTION_GRPC_LISTEN,
    OPTION_ADMIN_LISTEN,
    OPTION_THREADS,
    OPTION_CONFIG,
    OPTION_SET,
    OPTION_INSECURE,
    OPTION_CHECK_CONFIG,
    OPTION_PRINT_EXAMPLE,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct option long_options[] = {
    {"data-dir", required_argument, NULL, OPTION_DATA_DIR},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"grpc-listen", required_argument, NULL, OPTION_GRPC_LISTEN},
    {"admin-listen", required_argument, NULL, OPTION_ADMIN_LISTEN},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"set", required_argument, NULL, OPTION_SET},
    {"insecure", no_argument, NULL, OPTION_INSECURE},
    {"check-config", no_argument, NULL, OPTION_CHECK_CONFIG},
    {"print-example", no_argument, NULL, OPTION_PRINT_EXAMPLE},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static enum tg_error apply_option(struct srv_config *config, int option, struct tg_fault *fault)
{
    switch (option) {
    case OPTION_DATA_DIR:
        return srv_config_set(config, "storage", "data_dir", optarg, fault);
    case OPTION_LISTEN:
        return srv_config_set(config, "server", "listen", optarg, fault);
    case OPTION_GRPC_LISTEN:
        return srv_config_set(config, "grpc", "listen", optarg, fault);
    case OPTION_ADMIN_LISTEN:
        return srv_config_set(config, "admin", "listen", optarg, fault);
    case OPTION_THREADS:
        return srv_config_set(config, "server", "threads", optarg, fault);
    case OPTION_SET:
        return set_pair(config, optarg, fault);
    case OPTION_INSECURE:
        return srv_config_set(config, "server", "insecure", "true", fault);
    case OPTION_PRINT_EXAMPLE:
        srv_config_write_example(stdout);
        exit(EXIT_SUCCESS);
    case OPTION_HELP:
        print_help();
        exit(EXIT_SUCCESS);
    case OPTION_VERSION:
        printf("tidegated %s\n", TG_VERSION);
        exit(EXIT_SUCCESS);
    case OPTION_CONFIG:       /* read first, so that the others win over it */
    case OPTION_CHECK_CONFIG: /* main asks for it */
        return TG_ERR_OK;
    default: /* getopt has told what is wrong */
        return tg_fault_set(fault, TG_ERR_INVALID, "see tidegated --help");
    }
}

/* Defaults, file, command line. `only_checks`: --check-config stands there. */
static enum tg_error read_options(struct srv_config *config, int argc, char **argv,
                                  bool *only_checks, struct tg_fault *fault)
{
    srv_config_init(config);
    *only_checks = false;
    enum tg_error error = TG_ERR_OK;
    int option;
    opterr = 0;
    optind = 1;
    while (error == TG_ERR_OK && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        if (option == OPTION_CONFIG)
            error = srv_config_load(config, optarg, fault);
    optind = 1;
    opterr = 1;
    while (error == TG_ERR_OK && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        *only_checks = *only_checks || option == OPTION_CHECK_CONFIG;
        error = apply_option(config, option, fault);
    }
    if (error == TG_ERR_OK && optind < argc)
        error =
            tg_fault_set(fault, TG_ERR_INVALID, "what is '%s'? see tidegated --help", argv[optind]);
    return error == TG_ERR_OK ? srv_config_check(config, fault) : error;
}

/* Where to listen, and that nobody listens beyond loopback without having said so. */
static enum tg_error read_one_address(const struct srv_config *config, const char *text,
                                      const char *can, struct net_address *address,
                                      struct tg_fault *fault)
{
    bool loopback = false;
    enum tg_error error = net_address_parse(text, address, fault);
    if (error == TG_ERR_OK)
        error = net_address_is_loopback(address, &loopback, fault);
    if (error != TG_ERR_OK)
        return error;
    bool asks_who = config->token_file[0] != '\0' || config->tls_client_ca[0] != '\0';
    if (!config->insecure && !asks_who && !loopback)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "%s is not a loopback address and callers are not authenticated: "
                            "anyone who reaches it can %s. Set security.token_file "
                            "(docs/security.md) or tls.client_ca, or say --insecure if the network "
                            "keeps strangers out",
                            text, can);
    return TG_ERR_OK;
}

static enum tg_error read_address(const struct srv_config *config, struct net_address *address,
                                  struct tg_fault *fault)
{
    return read_one_address(config, config->listen, "place orders and close sales", address, fault);
}

/* The same for `grpc`, whose host is empty when there is no gRPC listener. */
static enum tg_error read_grpc_address(const struct srv_config *config, struct net_address *grpc,
                                       struct tg_fault *fault)
{
    *grpc = (struct net_address){0};
    return config->grpc_listen[0] == '\0'
               ? TG_ERR_OK
               : read_one_address(config, config->grpc_listen, "place orders and close sales", grpc,
                                  fault);
}

/* The port of `admin` is 0 and its host empty when there is no admin listener. */
static enum tg_error read_admin_address(const struct srv_config *config, struct net_address *admin,
                                        struct tg_fault *fault)
{
    *admin = (struct net_address){0};
    return config->admin_listen[0] == '\0'
               ? TG_ERR_OK
               : read_one_address(config, config->admin_listen, "read the figures of sales", admin,
                                  fault);
}

/* What its files come to; NULL when there is to be no TLS. */
static enum tg_error open_tls(const struct srv_config *config, struct tls_context **tls,
                              struct tg_fault *fault)
{
    *tls = NULL;
    if (config->tls_certificate[0] == '\0')
        return TG_ERR_OK;
    struct tls_server_options options = {
        .certificate = config->tls_certificate,
        .key = config->tls_key,
        .client_ca = config->tls_client_ca,
        .only_1_3 = config->tls_version_min == SRV_TLS_1_3,
    };
    return tls_server_open(&options, tls, fault);
}

static enum tg_error check_tokens(const struct srv_config *config, struct tg_fault *fault)
{
    static struct tg_token_file file;
    return config->token_file[0] == '\0' ? TG_ERR_OK
                                         : tg_token_file_read(config->token_file, &file, fault);
}

static int check_config(const struct srv_config *config)
{
    struct net_address address;
    struct tls_context *tls = NULL;
    struct tg_fault fault;
    if (read_address(config, &address, &fault) != TG_ERR_OK ||
        read_grpc_address(config, &address, &fault) != TG_ERR_OK ||
        read_admin_address(config, &address, &fault) != TG_ERR_OK ||
        open_tls(config, &tls, &fault) != TG_ERR_OK) {
        fprintf(stderr, "tidegated: %s\n", fault.text);
        return EXIT_USAGE;
    }
    tls_context_close(tls);
    if (check_tokens(config, &fault) != TG_ERR_OK) {
        fprintf(stderr, "tidegated: %s\n", fault.text);
        return EXIT_USAGE;
    }
    printf("# In force with this configuration and command line:\n");
    srv_config_write(config, stdout);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- start --- */

static enum tg_error open_storage(struct srv_server *server, struct tg_fault *fault)
{
    const struct srv_config *config = &server->config;
    struct sto_options options = {
        .data_dir = config->data_dir,
        .map_bytes = config->map_mib ? config->map_mib << 20 : config->map_gib << 30,
        .free_bytes_min = config->free_mib_min << 20,
        .items_max = (uint32_t)config->items_max,
        .readers_max = (uint32_t)config->threads + 17, /* the admin thread and tools read too */
        .request_ttl_s = (uint32_t)config->request_ttl_s,
    };
    return sto_env_open(&options, &server->storage, fault);
}

static enum tg_error create_engine(struct srv_server *server, struct tg_fault *fault)
{
    const struct srv_config *config = &server->config;
    struct eng_config engine = {
        .shards = (uint32_t)config->threads,
        .sales_max = (uint32_t)config->sales_max,
        .items_max = (uint32_t)config->items_max,
        .orders_max = (uint32_t)(config->orders_max / config->threads),
        .holdings_max = (uint32_t)(config->holdings_max / config->threads),
        .timers_max = (uint32_t)(config->timers_max / config->threads),
        .request_ttl_ms = (int64_t)config->request_ttl_s * 1000,
        .now_ms = tg_clock_wall_ns() / TG_NS_PER_MS,
    };
    if (getrandom(&engine.hash_seed, sizeof(engine.hash_seed), 0) != sizeof(engine.hash_seed) ||
        getrandom(&server->census.seed, sizeof(server->census.seed), 0) !=
            sizeof(server->census.seed))
        return tg_fault_set(fault, TG_ERR_SYSTEM, "getrandom gave no seed");
    return eng_engine_create(&engine, &server->engine, fault);
}

struct recovering {
    struct srv_server *server;
    int64_t now_ms;
};

static bool on_sale(void *context, const struct tg_sale_def *def, const struct tg_stock *stocks,
                    struct tg_fault *fault)
{
    struct recovering *recovering = context;
    return eng_engine_restore_sale(&recovering->server->engine, def, stocks, fault) == TG_ERR_OK;
}

static bool on_group(void *context, const struct tg_group *group, struct tg_fault *fault)
{
    struct recovering *recovering = context;
    if (eng_groups_restore(recovering->server->engine.groups, group))
        return true;
    tg_fault_set(fault, TG_ERR_FULL, "the database holds more than %d consumer groups",
                 TG_GROUPS_MAX);
    return false;
}

/* The two halves of an order: what counts on the thread that reads, timer and request id on this
 * one. */
static bool on_order_counts(void *context, const struct tg_order_row *row,
                            const struct tg_life *life, struct tg_fault *fault)
{
    struct recovering *recovering = context;
    return eng_engine_restore_counts(&recovering->server->engine, row, life, recovering->now_ms,
                                     fault) == TG_ERR_OK;
}

static void on_order_counts_ahead(void *context, const struct tg_order_row *row)
{
    struct recovering *recovering = context;
    eng_engine_restore_counts_prefetch(&recovering->server->engine, row);
}

static bool on_order(void *context, const struct tg_order_row *row, const struct tg_life *life,
                     struct tg_fault *fault)
{
    struct recovering *recovering = context;
    struct eng_engine *engine = &recovering->server->engine;
    tg_count(&recovering->server->recovered_orders, 1);
    return eng_engine_restore_timer(engine, row, life, fault) == TG_ERR_OK &&
           eng_engine_restore_request(engine, row, recovering->now_ms, fault) == TG_ERR_OK;
}

static void on_order_ahead(void *context, const struct tg_order_row *row)
{
    struct recovering *recovering = context;
    eng_engine_restore_request_prefetch(&recovering->server->engine, row);
}

static bool on_team(void *context, const struct tg_team *team, struct tg_fault *fault)
{
    struct recovering *recovering = context;
    return eng_engine_restore_team(&recovering->server->engine, team, fault) == TG_ERR_OK;
}

static enum tg_error recover(struct srv_server *server, struct sto_recovery_stats *stats,
                             struct tg_fault *fault)
{
    struct recovering recovering = {
        .server = server,
        .now_ms = tg_clock_wall_ns() / TG_NS_PER_MS,
    };
    struct sto_recovery recovery = {
        .context = &recovering,
        .reads_ahead = true,
        .sale = on_sale,
        .group = on_group,
        .reader = {.take = on_order_counts, .ahead = on_order_counts_ahead},
        .order = on_order,
        .order_ahead = on_order_ahead,
        .team = on_team,
    };
    enum tg_error error = sto_recover(server->storage, &recovery, stats, fault);
    if (error != TG_ERR_OK)
        return error;
    double seconds = (double)stats->elapsed_ns / 1e9;
    tg_log_info("recovered %" PRIu64 " orders (%" PRIu64 " changed), %" PRIu64 " teams, %" PRIu64
                " items, %" PRIu64 " sales, %" PRIu64
                " groups in %.3f s (%.0f orders/s); every promise holds; resident %zu MiB",
                stats->orders, stats->lives, stats->teams, stats->items, stats->sales,
                stats->groups, seconds, seconds > 0 ? (double)stats->orders / seconds : 0,
                tg_mem_resident_bytes() >> 20);
    return TG_ERR_OK;
}

static enum tg_error create_rings(struct srv_server *server, struct tg_fault *fault)
{
    size_t threads = server->config.threads;
    server->requests = aligned_alloc(128, threads * threads * sizeof(struct tg_ring));
    server->replies = aligned_alloc(128, threads * threads * sizeof(struct tg_ring));
    if (!server->requests || !server->replies)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for rings");
    for (size_t i = 0; i < threads * threads; i++) {
        void *requests = tg_mem_map(TG_CORE_RING_MESSAGES * sizeof(struct srv_request));
        void *replies = tg_mem_map(TG_CORE_RING_MESSAGES * sizeof(struct srv_reply));
        if (!requests || !replies)
            return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for rings");
        tg_ring_init(&server->requests[i], requests, sizeof(struct srv_request),
                     TG_CORE_RING_MESSAGES);
        tg_ring_init(&server->replies[i], replies, sizeof(struct srv_reply), TG_CORE_RING_MESSAGES);
    }
    return TG_ERR_OK;
}

static enum tg_error create_cores(struct srv_server *server, struct tg_fault *fault)
{
    size_t threads = server->config.threads;
    enum tg_error error = create_rings(server, fault);
    server->cores = aligned_alloc(128, threads * sizeof(*server->cores));
    if (error == TG_ERR_OK && !server->cores)
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %zu cores", threads);
    if (error == TG_ERR_OK)
        memset(server->cores, 0, threads * sizeof(*server->cores));
    if (error == TG_ERR_OK)
        error = srv_ahead_init(&server->ahead, &server->engine, fault);
    for (uint32_t i = 0; i < threads && error == TG_ERR_OK; i++) {
        server->cores[i].growth = &server->ahead.growths[i];
        error = srv_core_init(&server->cores[i], server, i, fault);
        if (error == TG_ERR_OK)
            error = net_listen(&server->address, &server->cores[i].listen_fd, fault);
        server->cores[i].grpc_fd = -1;
        if (error == TG_ERR_OK && server->grpc_address.host[0] != '\0')
            error = net_listen(&server->grpc_address, &server->cores[i].grpc_fd, fault);
    }
    return error;
}

/* Every socket is a descriptor: asks for as many as the system allows. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum tg_error check_address(struct srv_server *server, struct tg_fault *fault)
{
    enum tg_error error = read_address(&server->config, &server->address, fault);
    if (error == TG_ERR_OK)
        error = net_listen_check(&server->address, fault);
    if (error == TG_ERR_OK)
        error = read_grpc_address(&server->config, &server->grpc_address, fault);
    return error == TG_ERR_OK && server->grpc_address.host[0] != '\0'
               ? net_listen_check(&server->grpc_address, fault)
               : error;
}

static enum tg_error start_admin(struct srv_server *server, struct tg_fault *fault)
{
    struct net_address address;
    enum tg_error error = read_admin_address(&server->config, &address, fault);
    if (error != TG_ERR_OK || address.host[0] == '\0')
        return error;
    return srv_admin_start(server, &address, &server->admin, fault);
}

static enum tg_error start(struct srv_server *server, struct sto_recovery_stats *stats,
                           struct tg_fault *fault)
{
    enum tg_error error;
    if ((error = check_address(server, fault)) != TG_ERR_OK ||
        (error = open_tls(&server->config, &server->tls, fault)) != TG_ERR_OK ||
        (error = net_loop_supported(fault)) != TG_ERR_OK ||
        (error = start_admin(server, fault)) != TG_ERR_OK ||
        (error = open_storage(server, fault)) != TG_ERR_OK ||
        (error = create_engine(server, fault)) != TG_ERR_OK ||
        (error = recover(server, stats, fault)) != TG_ERR_OK ||
        (error = create_cores(server, fault)) != TG_ERR_OK ||
        (error = srv_identity_start(server, fault)) != TG_ERR_OK ||
        (error = srv_audit_start(server, fault)) != TG_ERR_OK)
        return error;
    server->writer.server = server;
    server->started_at_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    srv_writer_publish_start(server);
    return tg_waker_init(&server->writer.waker, fault);
}

static void start_thread(pthread_t *thread, void *(*run)(void *), void *argument, const char *name)
{
    struct tg_fault fault;
    if (tg_thread_start(thread, run, argument, name, &fault) == TG_ERR_OK)
        return;
    tg_log_error("%s", fault.text);
    _exit(EXIT_FAILURE); /* others run already, and use what exit would take apart */
}

/* Returns when all have what they need to work, which some of them get by themselves; a thread that
 * does not get it ends the process. */
static void start_threads(struct srv_server *server)
{
    uint64_t count = server->config.threads;
    sem_init(&server->threads_ready, 0, 0);
    start_thread(&server->writer.thread, srv_writer_run, &server->writer, "writer");
    start_thread(&server->ahead.thread, srv_ahead_run, &server->ahead, "ahead");
    for (uint64_t i = 0; i < count; i++)
        start_thread(&server->cores[i].thread, srv_core_run, &server->cores[i], "core");
    for (uint64_t ready = 0; ready < count + 1;)
        ready += sem_wait(&server->threads_ready) == 0;
    if (server->admin)
        srv_admin_serve(server->admin);
}

/* --- stop --- */

static bool all_drained(struct srv_server *server)
{
    for (uint64_t i = 0; i < server->config.threads; i++)
        if (!atomic_load_explicit(&server->cores[i].drained, memory_order_acquire))
            return false;
    return true;
}

static void wake_cores(struct srv_server *server)
{
    for (uint64_t i = 0; i < server->config.threads; i++)
        tg_waker_wake(&server->cores[i].waker);
}

/* Waits up to `timeout_ms` for a signal; returns its number, or 0. */
static int signalled(int signal_fd, int timeout_ms)
{
    struct pollfd event = {.fd = signal_fd, .events = POLLIN};
    struct signalfd_siginfo info;
    if (poll(&event, 1, timeout_ms) != 1 || read(signal_fd, &info, sizeof(info)) <= 0)
        return 0;
    return (int)info.ssi_signo;
}

/* Lets everything accepted be answered; false when a second signal or the timeout came first. */
static bool drain(struct srv_server *server, int signal_fd)
{
    int64_t deadline_ns =
        tg_clock_mono_ns() + (int64_t)server->config.drain_timeout_s * TG_NS_PER_S;
    atomic_store_explicit(&server->draining, true, memory_order_release);
    while (!all_drained(server)) {
        wake_cores(server);
        int number = signalled(signal_fd, 5);
        if (number != 0 && number != SIGHUP) {
            tg_log_warn("second signal: exiting at once");
            return false;
        }
        if (tg_clock_mono_ns() > deadline_ns) {
            tg_log_warn("not drained in %" PRIu64 " s: exiting", server->config.drain_timeout_s);
            return false;
        }
    }
    return true;
}

static void close_core(struct srv_core *core)
{
    srv_events_destroy(core);
    srv_item_watches_destroy(core);
    srv_lanes_destroy(core);
    srv_pages_destroy(core);
    srv_admit_destroy(core);
    sto_reader_close(core->reader);
}

static void stop(struct srv_server *server)
{
    /* First: it asks for the processor time of the threads that end below. */
    srv_admin_stop(server->admin);
    atomic_store_explicit(&server->stopping, true, memory_order_release);
    wake_cores(server);
    for (uint64_t i = 0; i < server->config.threads; i++)
        pthread_join(server->cores[i].thread, NULL);
    atomic_store_explicit(&server->writer.stopping, true, memory_order_release);
    tg_waker_wake(&server->writer.waker);
    pthread_join(server->writer.thread, NULL);
    srv_ahead_stop(&server->ahead);
    for (uint64_t i = 0; i < server->config.threads; i++)
        close_core(&server->cores[i]);
    srv_audit_main(server, "Stop", "", "OK");
    srv_audit_stop(server);
    srv_identity_stop(server);
    tls_context_close(server->tls);
    sto_env_close(server->storage);
}

/* --- while it runs --- */

static void configure_log(const struct srv_config *config)
{
    tg_log_configure((enum tg_log_level)config->log_level, (enum tg_log_format)config->log_format);
}

static void on_changed(void *context, const char *key, const char *before, const char *after,
                       bool in_force)
{
    uint32_t *for_restart = context;
    if (in_force) {
        tg_log_info("reloaded: %s is %s, was %s", key, after, before);
        return;
    }
    ++*for_restart;
    tg_log_warn("%s stays %.200s: a restart would make it %.200s", key,
                before[0] ? before : "unset", after[0] ? after : "unset");
}

/* The files may be new ones under their old names. */
static enum tg_error reload_tls(struct srv_server *server, struct tg_fault *fault)
{
    struct tls_stats stats;
    if (!server->tls)
        return TG_ERR_OK;
    enum tg_error error = tls_context_reload(server->tls, fault);
    tls_context_stats(server->tls, &stats);
    if (error == TG_ERR_OK)
        tg_log_info("certificate and key read again: in force for new connections, valid for %lld"
                    " days",
                    (long long)(stats.expires_at_ms - tg_clock_wall_ns() / TG_NS_PER_MS) /
                        MS_PER_DAY);
    return error;
}

static void reload_security(struct srv_server *server)
{
    struct tg_fault fault;
    if (srv_audit_reopen(server, &fault) != TG_ERR_OK)
        tg_log_error("the audit log goes on in the file that is open: %s", fault.text);
    if (server->config.token_file[0] == '\0')
        return;
    if (srv_identity_reload(server, &fault) == TG_ERR_OK) {
        srv_audit_main(server, "ReloadTokens", server->config.token_file, "OK");
        return;
    }
    tg_log_error("the tokens stay as they were: %s", fault.text);
    srv_audit_main(server, "ReloadTokens", server->config.token_file, "REFUSED");
}

/* Reads everything again, the command line too: it still wins over the file. */
static void reload(struct srv_server *server, int argc, char **argv)
{
    static struct srv_config fresh;
    struct net_address address;
    struct tg_fault fault;
    bool only_checks;
    /* First, and whatever comes of the rest: it is how a token is revoked. */
    reload_security(server);
    if (reload_tls(server, &fault) != TG_ERR_OK)
        tg_log_error("the certificate stays as it was: %s", fault.text);
    else
        srv_admin_reload(server->admin);
    if (read_options(&fresh, argc, argv, &only_checks, &fault) != TG_ERR_OK ||
        read_address(&fresh, &address, &fault) != TG_ERR_OK ||
        read_admin_address(&fresh, &address, &fault) != TG_ERR_OK) {
        tg_log_error("not reloaded, all stays as it was: %s", fault.text);
        srv_audit_main(server, "ReloadConfiguration", "", "REFUSED");
        return;
    }
    uint32_t for_restart = 0;
    uint32_t changed = srv_config_reload(&server->config, &fresh, on_changed, &for_restart);
    configure_log(&server->config);
    char words[80];
    snprintf(words, sizeof(words), "%" PRIu32 " keys differ, %" PRIu32 " need a restart", changed,
             for_restart);
    tg_log_info("configuration read again: %s", words);
    srv_audit_main(server, "ReloadConfiguration", words, "OK");
}

/* Until SIGTERM or SIGINT. */
static void serve(struct srv_server *server, struct srv_notify *notify, int signal_fd, int argc,
                  char **argv)
{
    for (;;) {
        int number = signalled(signal_fd, -1);
        if (number == SIGTERM || number == SIGINT)
            return;
        if (number != SIGHUP)
            continue;
        srv_notify_say(notify, "RELOADING=1\nMONOTONIC_USEC=%lld",
                       (long long)(tg_clock_mono_ns() / 1000));
        reload(server, argc, argv);
        srv_notify_say(notify, "READY=1");
    }
}

static void write_address(char *text, size_t size, const struct net_address *address)
{
    bool brackets = strchr(address->host, ':') != NULL;
    snprintf(text, size, "%s%s%s:%u", brackets ? "[" : "", address->host, brackets ? "]" : "",
             address->port);
}

static void tell_ready(const struct srv_server *server, struct srv_notify *notify,
                       const struct sto_recovery_stats *recovered)
{
    char where[320], status[400];
    write_address(where, sizeof(where), &server->address);
    printf("tidegated ready on %s threads=%" PRIu64 " recovered_orders=%" PRIu64, where,
           server->config.threads, recovered->orders);
    if (server->grpc_address.host[0] != '\0') {
        char grpc[320];
        write_address(grpc, sizeof(grpc), &server->grpc_address);
        printf(" grpc=%s", grpc);
    }
    if (server->admin) {
        char admin[320];
        write_address(admin, sizeof(admin), srv_admin_address(server->admin));
        printf(" admin=%s", admin);
    }
    printf("\n");
    fflush(stdout);
    snprintf(status, sizeof(status), "serving on %s, %" PRIu64 " orders recovered", where,
             recovered->orders);
    srv_notify_ready(notify, status);
}

/* Before any thread starts, so that all inherit the mask. */
static int take_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
    static struct srv_server server;
    static struct srv_notify notify;
    struct tg_fault fault;
    bool only_checks;
    if (read_options(&server.config, argc, argv, &only_checks, &fault) != TG_ERR_OK) {
        fprintf(stderr, "tidegated: %s\n", fault.text);
        return EXIT_USAGE;
    }
    if (only_checks)
        return check_config(&server.config);
    configure_log(&server.config);
    int signal_fd = take_signals();
    raise_descriptor_limit();
    srv_notify_start(&notify, &server);

    struct sto_recovery_stats recovered;
    enum tg_error error =
        signal_fd < 0 ? tg_fault_set_errno(&fault, TG_ERR_SYSTEM, errno, "cannot take signals")
                      : start(&server, &recovered, &fault);
    if (error != TG_ERR_OK) {
        fprintf(stderr, "tidegated: %s\n", fault.text);
        return EXIT_FAILURE;
    }
    start_threads(&server);
    tell_ready(&server, &notify, &recovered);
    srv_audit_main(&server, "Start", "tidegated " TG_VERSION, "OK");
    serve(&server, &notify, signal_fd, argc, argv);
    tg_log_info("draining");
    srv_notify_stopping(&notify);
    if (!drain(&server, signal_fd))
        _exit(EXIT_FAILURE);
    srv_notify_end(&notify);
    stop(&server);
    tg_log_info("drained, all that was accepted is durable and answered");
    return EXIT_SUCCESS;
}
