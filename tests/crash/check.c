#include "tests/crash/check.h"

#include "storage/storage.h"
#include "tests/crash/host.h"
#include "tests/crash/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANG_S      60
#define EVENTS_PAGE 256

/* What the worker and the process that looks for it say to each other. */
struct talk {
    uint64_t cut;
    bool with_daemon;
    struct check_result result;
};

static struct talk *talk;
static struct check_result *shared; /* talk->result */
static int messages_fd;

struct looking {
    const struct facts *facts;
    uint64_t cut;
    uint64_t next_order; /* facts before these are done with */
    uint64_t next_life;
    uint64_t next_event;
    uint64_t offset_min; /* of all groups */
    uint64_t *values;    /* of the registers, each at the index of its first fact */
    uint64_t items[FACTS_ITEMS_MAX];
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
    shared->facts += fact->answered <= looking->cut;
    shared->orders++;
    if (fact->print != facts_print_row(looking->items, row))
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
        looking->items[item->item % FACTS_ITEMS_MAX] =
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
    struct looking *looking = context;
    set_value(looking, facts_key("group", 0, name), group->offset);
    if (group->offset < looking->offset_min)
        looking->offset_min = group->offset;
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

/* --- the outbox --- */

/* Facts of events before the first one kept are done with: it was dropped. */
static void check_event(struct looking *looking, const struct tg_event *event)
{
    const struct facts_list *list = &looking->facts->events;
    while (looking->next_event < list->count &&
           FACTS_AT(fact_event, *list, looking->next_event)->sequence < event->sequence)
        looking->next_event++;
    if (looking->next_event == list->count)
        return;
    const struct fact_event *fact = FACTS_AT(fact_event, *list, looking->next_event);
    if (fact->sequence != event->sequence)
        return;
    shared->facts += fact->answered <= looking->cut;
    if (fact->answered <= looking->cut && fact->print != facts_print_event(event))
        wrong("event %" PRIu64 " is not as a consumer was shown it", event->sequence);
}

/* Reads the outbox as a consumer would; the sequence has no gap, or it is not read at all. */
static void check_events(struct looking *looking, struct sto_env *env)
{
    static struct tg_event events[EVENTS_PAGE];
    const struct facts_list *list = &looking->facts->events;
    struct sto_reader *reader;
    struct tg_fault fault;
    uint64_t after = 0, first = 1, last = 0;
    uint32_t filled = 0;
    if (sto_reader_open(env, &reader, &fault) != TG_ERR_OK) {
        wrong("it has no reader: %s", fault.text);
        return;
    }
    do {
        if (after + 1 < first)
            after = first - 1;
        if (sto_read_events(reader, after, UINT64_MAX, EVENTS_PAGE, EVENTS_PAGE, events, &filled,
                            &after, &first, &last, &fault) != TG_ERR_OK) {
            wrong("its outbox cannot be read: %s", fault.text);
            break;
        }
        for (uint32_t i = 0; i < filled; i++)
            check_event(looking, &events[i]);
    } while (after < last);
    sto_reader_close(reader);
    if (list->count && FACTS_AT(fact_event, *list, list->count - 1)->sequence > last)
        for (uint64_t i = 0; i < list->count; i++)
            if (FACTS_AT(fact_event, *list, i)->sequence > last &&
                FACTS_AT(fact_event, *list, i)->answered <= looking->cut)
                wrong("event %" PRIu64 " was shown to a consumer, and the newest is %" PRIu64,
                      FACTS_AT(fact_event, *list, i)->sequence, last);
    if (looking->offset_min != UINT64_MAX && first > looking->offset_min + 1)
        wrong("the outbox begins at %" PRIu64 ", and a group is at %" PRIu64, first,
              looking->offset_min);
}

static void recover(struct looking *looking, const char *data_dir)
{
    struct sto_env *env;
    struct tg_fault fault;
    struct sto_recovery_stats stats;
    struct sto_options options = {.data_dir = data_dir,
                                  .map_bytes = (uint64_t)HOST_MAP_MIB << 20,
                                  .items_max = FACTS_ITEMS_MAX,
                                  .readers_max = 16,
                                  .request_ttl_s = 86400};
    struct sto_recovery recovery = {
        .context = looking, .sale = on_sale, .group = on_group, .order = on_order};
    if (sto_env_open(&options, &env, &fault) != TG_ERR_OK) {
        wrong("it does not open: %s", fault.text);
        return;
    }
    if (sto_recover(env, &recovery, &stats, &fault) != TG_ERR_OK)
        wrong("it does not recover: %s", fault.text);
    else
        check_events(looking, env);
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

/* --- the process that looks --- */

static pid_t looker;
static int ask_fd, answer_fd;
static struct {
    const char *data_dir;
    const struct facts *facts;
    const char *daemon_log;
} about;

static void look(uint64_t *values)
{
    static struct looking looking;
    looking = (struct looking){
        .facts = about.facts, .cut = talk->cut, .offset_min = UINT64_MAX, .values = values};
    for (uint64_t i = 0; i < about.facts->registers.count; i++)
        values[i] = FACTS_ABSENT;
    recover(&looking, about.data_dir);
    if (shared->text[0])
        return;
    check_rest(&looking);
    verify(about.data_dir);
    struct host host = {.data_dir = about.data_dir, .messages = about.daemon_log};
    char reason[256];
    if (!talk->with_daemon || shared->text[0])
        return;
    if (!host_try(&host, reason, sizeof(reason)))
        wrong("%s", reason);
    verify(about.data_dir);
}

/* One image after the other, as long as it is asked: a process for each would cost more than the
 * look. What it frees it keeps, for the next one. */
static void look_on(int from_fd, int to_fd)
{
    char byte;
    uint64_t *values = malloc((about.facts->registers.count + 1) * sizeof(*values));
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    if (!values)
        _exit(CRASH_EXIT_UNABLE);
    while (read(from_fd, &byte, 1) == 1) {
        alarm(HANG_S);
        look(values);
        alarm(0);
        if (write(to_fd, &byte, 1) != 1)
            break;
    }
    _exit(0);
}

static void unable(const char *what)
{
    fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
    exit(CRASH_EXIT_UNABLE);
}

static void looker_start(void)
{
    int asks[2], answers[2];
    pid_t parent = getpid();
    if (pipe2(asks, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
        unable("no pipe");
    looker = fork();
    if (looker < 0)
        unable("cannot fork");
    if (looker == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(CRASH_EXIT_UNABLE);
        dup2(messages_fd, STDERR_FILENO);
        close(asks[1]);
        close(answers[0]);
        look_on(asks[0], answers[1]);
    }
    close(asks[0]);
    close(answers[1]);
    ask_fd = asks[1];
    answer_fd = answers[0];
}

static void looker_end(int *status)
{
    close(ask_fd);
    close(answer_fd);
    if (waitpid(looker, status, 0) != looker)
        unable("cannot wait");
    looker = 0;
}

void check_begin(const char *data_dir, const struct facts *facts, const char *messages,
                 const char *daemon_log)
{
    about.data_dir = data_dir;
    about.facts = facts;
    about.daemon_log = daemon_log;
    messages_fd = open(messages, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    talk = mmap(NULL, sizeof(*talk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (talk == MAP_FAILED || messages_fd < 0)
        unable(messages);
    shared = &talk->result;
    signal(SIGPIPE, SIG_IGN);
}

void check_image(uint64_t cut, bool with_daemon, struct check_result *result)
{
    char byte = 0;
    int status = 0;
    if (!looker)
        looker_start();
    memset(talk, 0, sizeof(*talk));
    talk->cut = cut;
    talk->with_daemon = with_daemon;
    if (write(ask_fd, &byte, 1) != 1 || read(answer_fd, &byte, 1) != 1) {
        looker_end(&status);
        if (WIFSIGNALED(status))
            wrong("whoever looked at it ended with signal %d (%s)", WTERMSIG(status),
                  strsignal(WTERMSIG(status)));
        else
            wrong("whoever looked at it exited with %d", WEXITSTATUS(status));
    }
    *result = *shared;
}

void check_end(void)
{
    int status;
    if (looker)
        looker_end(&status);
    munmap(talk, sizeof(*talk));
    close(messages_fd);
}
