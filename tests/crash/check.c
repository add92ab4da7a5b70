#include "tests/crash/check.h"

#include "storage/storage.h"
#include "tests/crash/host.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ITEMS_MAX 4096 /* as the daemon is told in host.c */
#define HANG_S    60

/* Of the child, seen by its parent. */
static struct check_result *shared;
static int messages_fd;

struct looking {
    const struct facts *facts;
    uint64_t cut;
    uint64_t next_order; /* facts before these are done with */
    uint64_t next_life;
    uint64_t *values; /* of the registers, each at the index of its first fact */
    uint64_t items[ITEMS_MAX];
};

/* The first thing that is wrong stays. Always false. */
static bool wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool wrong(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    if (shared->text[0] == '\0')
        vsnprintf(shared->text, sizeof(shared->text), format, list);
    va_end(list);
    return false;
}

/* --- registers --- */

/* At the first of the register's facts; a register that nobody has facts of is not looked at. */
static void set_value(struct looking *looking, uint64_t key, uint64_t value)
{
    const struct facts_list *list = &looking->facts->registers;
    uint64_t low = 0, high = list->count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (FACTS_AT(fact_register, *list, middle)->key < key)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < list->count && FACTS_AT(fact_register, *list, low)->key == key)
        looking->values[low] = value;
}

/* The value of the register whose facts are `begin` to `end`: that of the newest one acknowledged,
 * or of one that had been asked for. */
static void check_register(const struct looking *looking, uint64_t begin, uint64_t end)
{
    const struct facts_list *list = &looking->facts->registers;
    uint64_t value = looking->values[begin];
    uint64_t newest = FACTS_ABSENT;
    bool fits = false;
    for (uint64_t i = begin; i < end; i++) {
        const struct fact_register *fact = FACTS_AT(fact_register, *list, i);
        if (fact->answered <= looking->cut) {
            newest = fact->value;
            fits = false;
            shared->facts++;
        } else if (fact->sent <= looking->cut) {
            fits |= fact->value == value;
        }
    }
    if (!fits && value != newest)
        wrong("%s is %" PRId64 ", acknowledged was %" PRId64,
              FACTS_AT(fact_register, *list, begin)->name, (int64_t)value, (int64_t)newest);
}

static void check_registers(const struct looking *looking)
{
    const struct facts_list *list = &looking->facts->registers;
    for (uint64_t begin = 0, end; begin < list->count; begin = end) {
        for (end = begin; end < list->count && FACTS_AT(fact_register, *list, end)->key ==
                                                   FACTS_AT(fact_register, *list, begin)->key;)
            end++;
        check_register(looking, begin, end);
    }
}

/* --- orders --- */

static void check_missing_order(const struct looking *looking, const struct fact_order *fact)
{
    if (fact->answered <= looking->cut)
        wrong("order %" PRIu64 " is missing, its answer came at %" PRIu64, fact->order_id,
              fact->answered);
}

static void check_missing_life(const struct looking *looking, const struct fact_life *fact,
                               uint64_t version)
{
    if (fact->answered <= looking->cut)
        wrong("order %" PRIu64 " is at version %" PRIu64 ", acknowledged at %" PRIu64
              " was version %" PRIu64,
              fact->order_id, version, fact->answered, fact->version);
}

static struct facts_asked asked_of(const struct looking *looking, const struct tg_order_row *row)
{
    struct facts_asked asked = {.user_id = row->user_id,
                                .team_id = row->team_id,
                                .accepted_at_ms = row->accepted_at_ms,
                                .channel = row->channel,
                                .external_bytes = row->external_bytes,
                                .ingested = (row->flags & TG_ORDER_INGESTED) != 0};
    memcpy(asked.request_id, row->request_id, sizeof(asked.request_id));
    memcpy(asked.external_id, row->external_id, row->external_bytes);
    for (uint32_t i = 0; i < row->line_count; i++)
        asked.lines += facts_line(looking->items[row->lines[i].item % ITEMS_MAX],
                                  row->lines[i].quantity, row->lines[i].unit_price_minor);
    if (row->line_count == 0)
        asked.lines =
            facts_line(looking->items[row->item % ITEMS_MAX], row->quantity, row->unit_price_minor);
    return asked;
}

static void check_row(struct looking *looking, const struct tg_order_row *row)
{
    const struct facts_list *list = &looking->facts->orders;
    while (looking->next_order < list->count &&
           FACTS_AT(fact_order, *list, looking->next_order)->order_id < row->order_id)
        check_missing_order(looking, FACTS_AT(fact_order, *list, looking->next_order++));
    if (looking->next_order == list->count ||
        FACTS_AT(fact_order, *list, looking->next_order)->order_id != row->order_id) {
        wrong("order %" PRIu64 " was never answered to anybody", row->order_id);
        return;
    }
    const struct fact_order *fact = FACTS_AT(fact_order, *list, looking->next_order++);
    struct facts_asked asked = asked_of(looking, row);
    shared->facts += fact->answered <= looking->cut;
    shared->orders++;
    if (fact->print != facts_print_asked(&asked))
        wrong("order %" PRIu64 " is not what was asked for", row->order_id);
}

static void check_life(struct looking *looking, uint64_t order_id, const struct tg_life *life)
{
    const struct facts_list *list = &looking->facts->lives;
    uint64_t version = life ? life->version : 0;
    while (looking->next_life < list->count) {
        const struct fact_life *fact = FACTS_AT(fact_life, *list, looking->next_life);
        if (fact->order_id > order_id)
            return;
        looking->next_life++;
        if (fact->order_id < order_id)
            continue; /* its order is missing, which is told */
        shared->facts += fact->answered <= looking->cut;
        if (fact->version > version)
            check_missing_life(looking, fact, version);
        else if (life && fact->version == version && fact->print != facts_print_life(life))
            wrong("order %" PRIu64 " at version %" PRIu64 " is not as it was shown", order_id,
                  version);
    }
}

/* --- recovery --- */

static bool on_sale(void *context, const struct tg_sale_def *def, const struct tg_stock *stocks,
                    struct tg_fault *fault)
{
    (void)fault;
    struct looking *looking = context;
    set_value(looking, facts_key("state", def->sale_id, ""), def->state);
    for (uint32_t i = 0; i < def->item_count; i++) {
        const struct tg_item_def *item = &def->items[i];
        char sku[TG_SKU_BYTES_MAX + 1] = "";
        memcpy(sku, item->sku, item->sku_bytes);
        looking->items[item->item % ITEMS_MAX] =
            facts_item(def->sale_id, item->sku, item->sku_bytes);
        if (strcmp(sku, "S0") == 0)
            set_value(looking, facts_key("stock", def->sale_id, sku),
                      (uint64_t)stocks[i].restocked_units);
    }
    return true;
}

static bool on_group(void *context, const struct tg_group *group, struct tg_fault *fault)
{
    (void)fault;
    char name[TG_GROUP_NAME_BYTES_MAX + 1] = "";
    memcpy(name, group->name, group->name_bytes);
    set_value(context, facts_key("group", 0, name), group->offset);
    return true;
}

static bool on_order(void *context, const struct tg_order_row *row, const struct tg_life *life,
                     struct tg_fault *fault)
{
    (void)fault;
    struct looking *looking = context;
    check_row(looking, row);
    check_life(looking, row->order_id, life);
    return true;
}

static bool on_team(void *context, const struct tg_team *team, struct tg_fault *fault)
{
    (void)context;
    (void)team;
    (void)fault;
    return true;
}

static void recover(struct looking *looking, const char *data_dir)
{
    struct sto_env *env;
    struct tg_fault fault;
    struct sto_recovery_stats stats;
    struct sto_options options = {.data_dir = data_dir,
                                  .map_bytes = (uint64_t)HOST_MAP_MIB << 20,
                                  .items_max = ITEMS_MAX,
                                  .readers_max = 16,
                                  .request_ttl_s = 86400};
    struct sto_recovery recovery = {
        .context = looking, .sale = on_sale, .group = on_group, .order = on_order, .team = on_team};
    if (sto_env_open(&options, &env, &fault) != TG_ERR_OK) {
        wrong("it does not open: %s", fault.text);
        return;
    }
    if (sto_recover(env, &recovery, &stats, &fault) != TG_ERR_OK)
        wrong("it does not recover: %s", fault.text);
    sto_env_close(env);
}

/* What the orders that were found did not lead to. */
static void check_rest(struct looking *looking)
{
    const struct facts_list *list = &looking->facts->orders;
    while (looking->next_order < list->count)
        check_missing_order(looking, FACTS_AT(fact_order, *list, looking->next_order++));
    check_registers(looking);
}

static void on_finding(void *context, const char *line)
{
    (void)context;
    wrong("verify: %s", line);
}

static void verify(const char *data_dir)
{
    struct sto_verify_report report;
    struct tg_fault fault = {.text = ""};
    if (sto_verify(data_dir, on_finding, NULL, NULL, &report, &fault) != TG_ERR_OK)
        wrong("it does not verify: %s", fault.text);
}

/* --- the child --- */

static void look(const char *data_dir, const struct facts *facts, uint64_t cut,
                 const char *daemon_log)
{
    static struct looking looking;
    looking = (struct looking){.facts = facts, .cut = cut};
    looking.values = malloc((facts->registers.count + 1) * sizeof(uint64_t));
    if (!looking.values)
        abort();
    for (uint64_t i = 0; i < facts->registers.count; i++)
        looking.values[i] = FACTS_ABSENT;
    recover(&looking, data_dir);
    if (shared->text[0])
        return;
    check_rest(&looking);
    verify(data_dir);
    struct host host = {.data_dir = data_dir, .messages = daemon_log};
    char reason[256];
    if (!daemon_log || shared->text[0])
        return;
    if (!host_try(&host, reason, sizeof(reason)))
        wrong("%s", reason);
    verify(data_dir);
}

void check_init(const char *messages)
{
    messages_fd = open(messages, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || messages_fd < 0) {
        fprintf(stderr, "crash: no memory, or no %s\n", messages);
        exit(2);
    }
}

void check_image(const char *data_dir, const struct facts *facts, uint64_t cut,
                 const char *daemon_log, struct check_result *result)
{
    int status = 0;
    memset(shared, 0, sizeof(*shared));
    pid_t pid = fork();
    if (pid == 0) {
        dup2(messages_fd, STDERR_FILENO);
        alarm(HANG_S);
        look(data_dir, facts, cut, daemon_log);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        fprintf(stderr, "crash: cannot fork\n");
        exit(2);
    }
    if (WIFSIGNALED(status))
        wrong("whoever looked at it ended with signal %d (%s)", WTERMSIG(status),
              strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        wrong("whoever looked at it exited with %d", WEXITSTATUS(status));
    *result = *shared;
}
