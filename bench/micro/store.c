/* The writer: sto_commit of batches of MICRO_BATCH orders, of one item, in memory. What fdatasync
 * costs is not in it: instructions are counted, and only those of user space. */
#include "bench/micro/micro.h"
#include "storage/storage.h"

#include <stdlib.h>
#include <string.h>

struct store {
    struct sto_env *env;
    struct tg_record *records;
};

static void commit(struct store *s, struct tg_record *records, uint32_t count)
{
    struct sto_batch batch = {.spans = {{.records = records, .count = count}}, .span_count = 1};
    struct tg_fault fault;
    if (sto_commit(s->env, &batch, &fault) != STO_DURABLE)
        micro_die("a commit failed: %s", fault.text);
}

static struct tg_record record_of(uint32_t number)
{
    struct tg_order order = micro_order(number);
    struct tg_record record = {
        .kind = TG_RECORD_ORDER,
        .item = 0,
        .at_ms = MICRO_NOW_MS,
        .order = {.user_id = order.user_id,
                  .unit_price_minor = order.unit_price_minor,
                  .quantity = order.quantity,
                  .channel = order.channel,
                  .external_bytes = order.external_bytes},
    };
    memcpy(record.order.request_id, order.request_id, sizeof(order.request_id));
    memcpy(record.order.external_id, order.external_id, order.external_bytes);
    return record;
}

static void *prepare(uint32_t count, const char *dir)
{
    struct store *s = micro_alloc(sizeof(*s));
    struct sto_options options = {
        .data_dir = dir, .map_bytes = 1ull << 30, .items_max = 16, .readers_max = 4};
    struct tg_fault fault;
    if (sto_env_open(&options, &s->env, &fault) != TG_ERR_OK)
        micro_die("%s", fault.text);
    struct tg_record sale = {.kind = TG_RECORD_SALE, .sale = micro_sale(count)};
    commit(s, &sale, 1);
    free(sale.sale);
    s->records = micro_alloc(count * sizeof(*s->records));
    for (uint32_t i = 0; i < count; i++)
        s->records[i] = record_of(i);
    return s;
}

static void run(void *state, uint32_t count)
{
    struct store *s = state;
    for (uint32_t i = 0; i < count; i += MICRO_BATCH)
        commit(s, s->records + i, MICRO_BATCH);
}

const struct micro_case micro_commit = {"writer-put", MICRO_BATCH, prepare, run};
