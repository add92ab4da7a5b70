#include "tests/crash/photo.h"

#include "proto/verdict.h"
#include "storage/storage.h"
#include "tests/crash/host.h"
#include "tests/crash/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct taking {
    struct photo *photo;
    const struct facts *known;
    uint64_t items[FACTS_ITEMS_MAX];
    uint32_t skus[FACTS_ITEMS_MAX];
};

/* A register that is known gets a fact of its value. */
static void add_value(struct taking *taking, const char *kind, uint64_t sale_id, const char *name,
                      uint64_t value)
{
    uint64_t key = facts_key(kind, sale_id, name);
    for (uint64_t i = 0; taking->known && i < taking->known->registers.count; i++) {
        const struct fact_register *known = FACTS_AT(fact_register, taking->known->registers, i);
        if (known->key != key)
            continue;
        struct fact_register fact = {.key = key, .value = value};
        memcpy(fact.name, known->name, sizeof(fact.name));
        facts_add(&taking->photo->facts.registers, &fact, sizeof(fact));
        return;
    }
}

static bool on_sale(void *context, const struct tg_sale_def *def, const struct tg_stock *stocks,
                    struct tg_fault *fault)
{
    (void)fault;
    struct taking *taking = context;
    add_value(taking, "state", def->sale_id, "", def->state);
    for (uint32_t i = 0; i < def->item_count; i++) {
        const struct tg_item_def *item = &def->items[i];
        char sku[TG_SKU_BYTES_MAX + 1] = "";
        memcpy(sku, item->sku, item->sku_bytes);
        taking->items[item->item % FACTS_ITEMS_MAX] =
            facts_item(def->sale_id, item->sku, item->sku_bytes);
        taking->skus[item->item % FACTS_ITEMS_MAX] = (uint32_t)atoi(sku + 1);
        if (strcmp(sku, "S0") == 0)
            add_value(taking, "stock", def->sale_id, sku, (uint64_t)stocks[i].restocked_units);
    }
    return true;
}

static bool on_group(void *context, const struct tg_group *group, struct tg_fault *fault)
{
    (void)fault;
    char name[TG_GROUP_NAME_BYTES_MAX + 1] = "";
    memcpy(name, group->name, group->name_bytes);
    add_value(context, "group", 0, name, group->offset);
    return true;
}

static int64_t goods_minor(const struct tg_order_row *row)
{
    int64_t amount_minor = 0;
    for (uint32_t i = 0; i < row->line_count; i++)
        amount_minor += row->lines[i].unit_price_minor * row->lines[i].quantity;
    return row->line_count ? amount_minor : row->unit_price_minor * row->quantity;
}

static bool on_order(void *context, const struct tg_order_row *row, const struct tg_life *life,
                     struct tg_fault *fault)
{
    (void)fault;
    struct taking *taking = context;
    struct photo *photo = taking->photo;
    struct fact_order order = {.order_id = row->order_id,
                               .print = facts_print_row(taking->items, row)};
    struct photo_order seen = {.order_id = row->order_id,
                               .team_id = row->team_id,
                               .amount_minor = life ? life->amount_minor : goods_minor(row),
                               .state = life ? life->state : TG_ORDER_RESERVED,
                               .sku = taking->skus[row->item % FACTS_ITEMS_MAX],
                               .refunds = life ? life->refund_count : 0};
    facts_add(&photo->facts.orders, &order, sizeof(order));
    facts_add(&photo->orders, &seen, sizeof(seen));
    if (!life)
        return true;
    struct fact_life fact = {
        .order_id = row->order_id, .version = life->version, .print = facts_print_life(life)};
    facts_add(&photo->facts.lives, &fact, sizeof(fact));
    if (life->last_event > photo->sequence_max)
        photo->sequence_max = life->last_event;
    return true;
}

void photo_take(struct photo *photo, const char *data_dir, const struct facts *known)
{
    static struct taking taking;
    struct sto_env *env;
    struct tg_fault fault = {.text = ""};
    struct sto_recovery_stats stats;
    struct sto_options options = {.data_dir = data_dir,
                                  .map_bytes = (uint64_t)HOST_MAP_MIB << 20,
                                  .items_max = FACTS_ITEMS_MAX,
                                  .readers_max = 16,
                                  .request_ttl_s = 86400};
    struct sto_recovery recovery = {
        .context = &taking, .sale = on_sale, .group = on_group, .order = on_order};
    *photo = (struct photo){.sequence_max = 0};
    taking = (struct taking){.photo = photo, .known = known};
    if (sto_env_open(&options, &env, &fault) != TG_ERR_OK ||
        sto_recover(env, &recovery, &stats, &fault) != TG_ERR_OK) {
        fprintf(stderr, "crash: %s cannot be photographed: %s\n", data_dir, fault.text);
        exit(CRASH_EXIT_UNABLE);
    }
    sto_env_close(env);
}

void photo_free(struct photo *photo)
{
    facts_free(&photo->facts);
    free(photo->orders.at);
}
