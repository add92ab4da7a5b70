#include "loadgen/wire.h"

#include "base/assert.h"

#include <stdlib.h>

static void item_init(struct lg_wire_item *wire, const struct lg_plan *plan,
                      const struct lg_item *item)
{
    uint8_t *p = wire->head;
    *p++ = 0x10;
    p = lg_wire_varint(p, plan->settings.sale_id);
    *p++ = 0x1a;
    *p++ = item->sku_bytes;
    memcpy(p, item->sku, item->sku_bytes);
    p += item->sku_bytes;
    *p++ = 0x20;
    wire->head_bytes = (uint8_t)(p - wire->head);
    p = wire->tail;
    if (item->price_minor) {
        *p++ = 0x30;
        p = lg_wire_varint(p, (uint64_t)item->price_minor);
    }
    *p++ = 0x38;
    *p++ = LG_CHANNEL;
    *p++ = 0x42;
    *p++ = LG_EXTERNAL_BYTES;
    wire->tail_bytes = (uint8_t)(p - wire->tail);
    tg_assert(wire->head_bytes <= sizeof(wire->head) && wire->tail_bytes <= sizeof(wire->tail));
}

bool lg_wire_init(struct lg_wire *wire, const struct lg_plan *plan)
{
    wire->items = calloc(plan->settings.item_count, sizeof(*wire->items));
    if (!wire->items)
        return false;
    for (uint32_t i = 0; i < plan->settings.item_count; i++)
        item_init(&wire->items[i], plan, &plan->items[i]);
    return true;
}

void lg_wire_fini(struct lg_wire *wire)
{
    free(wire->items);
    wire->items = NULL;
}

void lg_wire_order_of(const struct lg_plan *plan, const struct lg_attempt *attempt,
                      uint8_t external_id[LG_EXTERNAL_BYTES], struct tg_order *order)
{
    const struct lg_item *item = &plan->items[attempt->item];
    lg_plan_external_id(attempt->number, external_id);
    memset(order, 0, sizeof(*order));
    memcpy(order->request_id, attempt->request_id, TG_REQUEST_ID_BYTES);
    order->sale_id = plan->settings.sale_id;
    order->user_id = attempt->user_id;
    order->unit_price_minor = item->price_minor;
    order->sku = item->sku;
    order->sku_bytes = item->sku_bytes;
    order->external_id = external_id;
    order->external_bytes = LG_EXTERNAL_BYTES;
    order->quantity = attempt->quantity;
    order->channel = LG_CHANNEL;
}
