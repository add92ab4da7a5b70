/* Configuration: defaults, the file, single keys, and what is refused. */
#include "server/config.h"

#include "base/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Loads `text` as a file over `config`. */
static enum tg_error load(struct srv_config *config, const char *text, struct tg_fault *fault)
{
    char path[] = "/tmp/tidegate-config-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    memset(fault, 0, sizeof(*fault));
    enum tg_error error = srv_config_load(config, path, fault);
    unlink(path);
    return error;
}

static struct srv_config defaults(void)
{
    struct srv_config config;
    memset(&config, 0xa5, sizeof(config));
    srv_config_init(&config);
    return config;
}

/* Loading `text` fails, and the fault names the line and says each of the words. */
static void expect_fault(const char *text, int line, const char *word, const char *other)
{
    struct srv_config config = defaults();
    struct tg_fault fault;
    char place[32];
    cr_assert_eq(load(&config, text, &fault), TG_ERR_INVALID, "%s", text);
    snprintf(place, sizeof(place), ", line %d: ", line);
    cr_assert_not_null(strstr(fault.text, place), "'%s', not%s", fault.text, place);
    cr_assert_not_null(strstr(fault.text, word), "'%s' without '%s'", fault.text, word);
    cr_assert_not_null(strstr(fault.text, other), "'%s' without '%s'", fault.text, other);
}

Test(config, every_number_has_a_default_within_its_range)
{
    struct srv_config config = defaults();
#define CHECK(section, name, initial, low, high, unit, reload, help)                               \
    cr_assert_eq(config.name, (uint64_t)(initial), #name);                                         \
    cr_assert(config.name <= (uint64_t)(high), #name);                                             \
    cr_assert(config.name + 1 > (uint64_t)(low), #name);                                           \
    cr_assert_gt(strlen(help), 5, #name);
    SRV_NUMBERS(CHECK)
#undef CHECK
    cr_assert_eq(config.log_level, TG_LOG_INFO);
    cr_assert_eq(config.log_format, TG_LOG_TEXT);
    cr_assert_str_eq(config.listen, "127.0.0.1:7411", "loopback unless told otherwise");
    cr_assert_not(config.insecure);
    cr_assert_str_empty(config.data_dir);
}

Test(config, every_number_can_be_set_to_both_ends_of_its_range_and_no_further)
{
    struct srv_config config = defaults();
    struct tg_fault fault;
    char value[32];
#define TRY(section, name, number, error)                                                          \
    snprintf(value, sizeof(value), "%llu", (unsigned long long)(number));                          \
    cr_assert_eq(srv_config_set(&config, #section, #name, value, &fault), error, "%s %s", #name,   \
                 value);
#define CHECK(section, name, initial, low, high, unit, reload, help)                               \
    TRY(section, name, low, TG_ERR_OK)                                                             \
    cr_assert_eq(config.name, (uint64_t)(low));                                                    \
    TRY(section, name, high, TG_ERR_OK)                                                            \
    cr_assert_eq(config.name, (uint64_t)(high));                                                   \
    TRY(section, name, (uint64_t)(high) + 1, TG_ERR_INVALID)                                       \
    TRY(section, name, (uint64_t)(low)-1, TG_ERR_INVALID)                                          \
    cr_assert_eq(config.name, (uint64_t)(high), "a refused value changes nothing");
    SRV_NUMBERS(CHECK)
#undef CHECK
#undef TRY
}

Test(config, a_file_sets_what_it_names_and_leaves_the_rest)
{
    struct srv_config config = defaults(), initial = defaults();
    struct tg_fault fault;
    cr_assert_eq(load(&config,
                      "; a comment\n"
                      "[server]\n"
                      "threads = 4\n"
                      "listen = [::1]:99   ; the other loopback\n"
                      "insecure = true\n"
                      "\n"
                      "[engine]\n"
                      "orders_max=1000\n"
                      "[storage]\n"
                      "data_dir = /var/lib/tidegate\n",
                      &fault),
                 TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(config.threads, 4);
    cr_assert_str_eq(config.listen, "[::1]:99");
    cr_assert(config.insecure);
    cr_assert_eq(config.orders_max, 1000);
    cr_assert_str_eq(config.data_dir, "/var/lib/tidegate");
    cr_assert_eq(config.items_max, initial.items_max);
    cr_assert_eq(config.holdings_max, initial.holdings_max);
}

Test(config, an_empty_file_changes_nothing)
{
    struct srv_config config = defaults(), initial = defaults();
    struct tg_fault fault;
    cr_assert_eq(load(&config, "", &fault), TG_ERR_OK);
    cr_assert_eq(config.threads, initial.threads);
    cr_assert_str_eq(config.listen, initial.listen);
}

/* Defaults, then the file, then the command line: as the program calls it. */
Test(config, the_last_one_wins)
{
    struct srv_config config = defaults();
    struct tg_fault fault;
    cr_assert_eq(load(&config, "[server]\nthreads = 4\nconnections_max = 5\n", &fault), TG_ERR_OK);
    cr_assert_eq(srv_config_set(&config, "server", "threads", "8", &fault), TG_ERR_OK);
    cr_assert_eq(srv_config_set(&config, "server", "insecure", "true", &fault), TG_ERR_OK);
    cr_assert_eq(srv_config_set(&config, "server", "insecure", "false", &fault), TG_ERR_OK);
    cr_assert_eq(config.threads, 8);
    cr_assert_eq(config.connections_max, 5);
    cr_assert_not(config.insecure);
}

Test(config, an_unknown_key_is_told_with_its_line)
{
    expect_fault("[server]\nthreads = 2\nthread = 2\n", 3, "server.thread", "--help");
    expect_fault("[engine]\nthreads = 2\n", 2, "engine.threads", "--help");
    expect_fault("threads = 2\n", 1, ".threads", "--help");
    expect_fault("[Server]\nthreads = 2\n", 2, "Server.threads", "--help");
}

Test(config, a_value_out_of_range_is_told_with_its_line_and_range)
{
    expect_fault("[server]\n\n\nthreads = 65\n", 4, "from 1 to 64", "'65'");
    expect_fault("[server]\nthreads = 0\n", 2, "from 1 to 64", "'0'");
}

Test(config, what_is_no_number_is_told_as_it_stands)
{
    static const char *const values[] = {
        "two", "-1", "+2", "2x", "0x2", "2 3", "1e3", "2.0", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "[server]\nthreads = %s\n", values[i]);
        expect_fault(text, 2, "server.threads must be a number", values[i]);
    }
    expect_fault("[server]\nthreads =\n", 2, "server.threads must be a number", "''");
}

Test(config, a_flag_is_true_or_false)
{
    expect_fault("[server]\ninsecure = yes\n", 2, "server.insecure must be true or false", "yes");
    expect_fault("[server]\ninsecure = True\n", 2, "server.insecure must be true or false", "True");
}

Test(config, a_line_without_a_value_is_told)
{
    expect_fault("[server]\nthreads\n", 2, "key = value", "key");
    expect_fault("[server\nthreads = 1\n", 1, "key = value", "key");
}

/* The parser goes on behind an error; the text must be that of the line. */
Test(config, the_first_fault_is_the_one_that_is_told)
{
    expect_fault("[server]\nthreads = 99\nnonsense = 1\n", 2, "server.threads", "'99'");
    expect_fault("[server]\nnonsense = 1\nthreads = 99\n", 2, "server.nonsense", "--help");
    expect_fault("[server]\nnonsense\nthreads = 99\n", 2, "key = value", "key");
}

/* The parser takes an indented line for more of the value above: an operator who indents must not
 * find the database in a directory called "map_gib = 3". */
Test(config, an_indented_key_is_told_and_not_swallowed)
{
    expect_fault("[storage]\ndata_dir = /x\n  map_gib = 3\n", 3, "begins with a space", "keys");
    expect_fault("[server]\nthreads = 2\n\tinsecure = true\n", 3, "begins with a space", "keys");
    expect_fault(" [server]\nthreads = 99\n", 1, "begins with a space", "keys");
}

Test(config, comments_and_blank_lines_may_be_indented)
{
    struct srv_config config = defaults();
    struct tg_fault fault;
    cr_assert_eq(
        load(&config, "  ; one\n\t# two\n   \n[server]\r\nthreads = 2\r\n  \t\n; end", &fault),
        TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(config.threads, 2);
}

Test(config, a_line_that_the_parser_would_cut_is_told)
{
    char text[1000] = "[storage]\ndata_dir = /";
    memset(text + strlen(text), 'x', 500);
    expect_fault(text, 2, "too long", "too long");
}

Test(config, a_file_that_cannot_be_read_is_told_by_name)
{
    struct srv_config config = defaults();
    struct tg_fault fault;
    cr_assert_eq(srv_config_load(&config, "/nonexistent/tidegate.ini", &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "/nonexistent/tidegate.ini"));
    cr_assert_not_null(strstr(fault.text, "No such file"));
}

Test(config, texts_have_a_length)
{
    struct srv_config config = defaults();
    struct tg_fault fault;
    char text[5000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    cr_assert_eq(srv_config_set(&config, "storage", "data_dir", text, &fault), TG_ERR_INVALID);
    cr_assert_eq(srv_config_set(&config, "server", "listen", text, &fault), TG_ERR_INVALID);
    cr_assert_str_eq(config.listen, "127.0.0.1:7411");
    text[sizeof(config.data_dir) - 1] = '\0';
    cr_assert_eq(srv_config_set(&config, "storage", "data_dir", text, &fault), TG_ERR_OK);
    cr_assert_str_eq(config.data_dir, text);
}

Test(config, the_whole_must_make_sense)
{
    struct srv_config config = defaults();
    struct tg_fault fault;
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "--data-dir"));
    strcpy(config.data_dir, "/x");
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_OK);
    config.threads = 4;
    config.orders_max = 63;
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_INVALID);
    config.orders_max = 64;
    config.holdings_max = 63;
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_INVALID);
    config.holdings_max = 64;
    config.timers_max = 4095;
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_INVALID);
    config.timers_max = 4096;
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_OK);
}

Test(config, tls_needs_both_files)
{
    struct srv_config config = defaults();
    struct tg_fault fault;
    strcpy(config.data_dir, "/x");
    strcpy(config.tls_certificate, "/etc/c.pem");
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "tls.key is not"), "%s", fault.text);
    strcpy(config.tls_key, "/etc/k.pem");
    strcpy(config.tls_client_ca, "/etc/ca.pem");
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_OK);
    config.tls_certificate[0] = '\0';
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "tls.certificate is not"), "%s", fault.text);
    config.tls_key[0] = '\0';
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "tls.client_ca"), "%s", fault.text);
}

Test(config, the_nearest_key_is_named)
{
    expect_fault("[server]\nthread = 2\n", 2, "server.thread.", "Did you mean server.threads?");
    expect_fault("[engine]\nthreads = 2\n", 2, "engine.threads.", "Did you mean server.threads?");
    expect_fault("[sever]\ninsecure = true\n", 2, "sever.insecure.", "server.insecure?");
    expect_fault("[events]\nkeep = 2\n", 2, "events.keep.", "Did you mean events.keep_s?");
    expect_fault("[stroage]\nmap_gb = 2\n", 2, "stroage.map_gb.", "storage.map_gib?");
    expect_fault("[log]\nlevle = warn\n", 2, "log.levle.", "Did you mean log.level?");
}

Test(config, a_key_that_is_like_none_has_no_neighbour)
{
    struct srv_config config = defaults();
    struct tg_fault fault;
    cr_assert_eq(srv_config_set(&config, "server", "colour", "blue", &fault), TG_ERR_INVALID);
    cr_assert_null(strstr(fault.text, "Did you mean"), "%s", fault.text);
    char word[300];
    memset(word, 'k', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    cr_assert_eq(srv_config_set(&config, word, word, word, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "--help"), "%s", fault.text);
}

Test(config, a_choice_is_one_of_its_words)
{
    struct srv_config config = defaults();
    struct tg_fault fault;
    cr_assert_eq(load(&config, "[log]\nlevel = error\nformat = json\n", &fault), TG_ERR_OK);
    cr_assert_eq(config.log_level, TG_LOG_ERROR);
    cr_assert_eq(config.log_format, TG_LOG_JSON);
    cr_assert_eq(load(&config, "[log]\nlevel = warn\nformat = kv\n", &fault), TG_ERR_OK);
    cr_assert_eq(config.log_level, TG_LOG_WARN);
    cr_assert_eq(config.log_format, TG_LOG_KV);
    expect_fault("[log]\nlevel = debug\n", 2, "log.level must be info, warn or error", "'debug'");
    expect_fault("[log]\nformat = JSON\n", 2, "log.format must be text, kv or json", "'JSON'");
}

/* --- what is written --- */

/* What `write` writes; free it. */
static char *written(void (*write_all)(FILE *file))
{
    char *text = NULL;
    size_t bytes;
    FILE *file = open_memstream(&text, &bytes);
    cr_assert_not_null(file);
    write_all(file);
    fclose(file);
    return text;
}

static char *read_file(const char *path)
{
    char *text = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file, "%s: tests run in the root of the tree", path);
    cr_assert_gt(getdelim(&text, &room, '\0', file), 0);
    fclose(file);
    return text;
}

Test(config, the_packaged_example_is_what_the_table_of_keys_says)
{
    char *table = written(srv_config_write_example);
    char *packaged = read_file("packaging/tidegate.conf.example");
    cr_assert_str_eq(packaged, table,
                     "write it anew: build/tidegated --print-example "
                     ">packaging/tidegate.conf.example");
    free(table);
    free(packaged);
}

/* All fields; the texts only up to their ends. */
static void expect_same(const struct srv_config *a, const struct srv_config *b)
{
    cr_assert_str_eq(a->data_dir, b->data_dir);
    cr_assert_str_eq(a->listen, b->listen);
    cr_assert_eq(a->insecure, b->insecure);
    cr_assert_eq(a->log_level, b->log_level);
    cr_assert_eq(a->log_format, b->log_format);
#define SAME(section, name, preset, low, high, unit, reload, help)                                 \
    cr_assert_eq(a->name, b->name, #name);
    SRV_NUMBERS(SAME)
#undef SAME
}

Test(config, the_example_changes_nothing_but_the_data_directory)
{
    struct srv_config config = defaults(), initial = defaults();
    struct tg_fault fault;
    char *example = written(srv_config_write_example);
    cr_assert_eq(load(&config, example, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_str_eq(config.data_dir, "/var/lib/tidegate");
    cr_assert_eq(srv_config_check(&config, &fault), TG_ERR_OK);
    config.data_dir[0] = '\0';
    expect_same(&config, &initial);
    free(example);
}

/* Each line that is commented out is a key at its default: with the # taken away it still changes
 * nothing, and every number stands there with its range and unit. */
Test(config, the_example_shows_every_key_at_its_default_with_its_range)
{
    struct srv_config config = defaults(), initial = defaults();
    struct tg_fault fault;
    char *example = written(srv_config_write_example), line[200];
#define CHECK(section, name, preset, low, high, unit, reload, help)                                \
    snprintf(line, sizeof(line), "Takes %llu to %llu%s%s. Default: %llu.%s\n#%s = %llu\n",         \
             (unsigned long long)(low), (unsigned long long)(high), (unit)[0] ? " " : "", unit,    \
             (unsigned long long)(preset), (reload) ? " A reload (SIGHUP) takes it over." : "",    \
             #name, (unsigned long long)(preset));                                                 \
    cr_assert_not_null(strstr(example, line), "%s", line);
    SRV_NUMBERS(CHECK)
#undef CHECK
    for (char *at = example; (at = strstr(at, "\n#")); at++)
        if (at[2] != ' ' && at[2] != '\n')
            at[1] = '\n';
    cr_assert_eq(load(&config, example, &fault), TG_ERR_OK, "%s", fault.text);
    config.data_dir[0] = '\0';
    expect_same(&config, &initial);
    free(example);
}

static struct srv_config odd;

static void write_odd(FILE *file)
{
    srv_config_write(&odd, file);
}

Test(config, what_is_in_force_is_written_so_that_it_can_be_loaded)
{
    struct srv_config again = defaults();
    struct tg_fault fault;
    odd = defaults();
    cr_assert_eq(load(&odd,
                      "[server]\nlisten = [::1]:99\ninsecure = true\nthreads = 3\n"
                      "[storage]\ndata_dir = /x\n[log]\nformat = kv\n[events]\nkeep_s = 5\n",
                      &fault),
                 TG_ERR_OK);
    char *text = written(write_odd);
    cr_assert_not_null(strstr(text, "threads = 3 ; default 1\n"), "%s", text);
    cr_assert_not_null(strstr(text, "sales_max = 16384\n"), "%s", text);
    cr_assert_eq(load(&again, text, &fault), TG_ERR_OK, "%s", fault.text);
    expect_same(&again, &odd);
    free(text);
}

/* --- reload --- */

struct told {
    char text[2000];
};

static void tell(void *context, const char *key, const char *before, const char *after,
                 bool in_force)
{
    struct told *told = context;
    size_t used = strlen(told->text);
    snprintf(told->text + used, sizeof(told->text) - used, "%s %s %s %d\n", key, before, after,
             in_force);
}

Test(config, a_reload_takes_over_what_it_can_and_names_the_rest)
{
    struct srv_config running = defaults(), fresh = defaults();
    struct tg_fault fault;
    struct told told = {""};
    cr_assert_eq(load(&fresh,
                      "[server]\ndrain_timeout_s = 5\nthreads = 2\ninsecure = true\n"
                      "[log]\nlevel = warn\n[events]\nkeep_s = 6\nkeep_mib = 7\n"
                      "[storage]\ndata_dir = /other\n",
                      &fault),
                 TG_ERR_OK);
    cr_assert_eq(srv_config_reload(&running, &fresh, tell, &told), 7);
    cr_assert_not_null(strstr(told.text, "server.drain_timeout_s 30 5 1\n"), "%s", told.text);
    cr_assert_not_null(strstr(told.text, "log.level info warn 1\n"), "%s", told.text);
    cr_assert_not_null(strstr(told.text, "server.threads 1 2 0\n"), "%s", told.text);
    cr_assert_not_null(strstr(told.text, "server.insecure false true 0\n"), "%s", told.text);
    cr_assert_not_null(strstr(told.text, "storage.data_dir  /other 0\n"), "%s", told.text);
    struct srv_config expected = defaults();
    expected.drain_timeout_s = 5;
    expected.log_level = TG_LOG_WARN;
    expected.keep_s = 6;
    expected.keep_mib = 7;
    expect_same(&running, &expected);
}

Test(config, a_reload_of_the_same_tells_nothing)
{
    struct srv_config running = defaults(), fresh = defaults();
    struct told told = {""};
    cr_assert_eq(srv_config_reload(&running, &fresh, tell, &told), 0);
    cr_assert_str_empty(told.text);
}
