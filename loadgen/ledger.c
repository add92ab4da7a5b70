#include "loadgen/ledger.h"

#include "base/assert.h"
#include "base/rng.h"

#include <stdlib.h>

#define SLOTS_FIRST 4096 /* a power of two */

bool lg_ledger_init(struct lg_ledger *ledger)
{
    *ledger = (struct lg_ledger){.mask = SLOTS_FIRST - 1};
    ledger->slots = calloc(SLOTS_FIRST, sizeof(*ledger->slots));
    return ledger->slots != NULL;
}

void lg_ledger_fini(struct lg_ledger *ledger)
{
    free(ledger->slots);
    ledger->slots = NULL;
}

/* The slot of an id, or the free one where it would lie. */
static struct lg_order_entry *slot_of(const struct lg_ledger *ledger, uint64_t order_id)
{
    uint64_t slot = tg_mix64(order_id) & ledger->mask;
    while (ledger->slots[slot].order_id != 0 && ledger->slots[slot].order_id != order_id)
        slot = (slot + 1) & ledger->mask;
    return &ledger->slots[slot];
}

static bool grow(struct lg_ledger *ledger)
{
    struct lg_ledger larger = {.mask = ledger->mask * 2 + 1, .count = ledger->count};
    larger.slots = calloc(larger.mask + 1, sizeof(*larger.slots));
    if (!larger.slots)
        return false;
    for (uint64_t i = 0; i <= ledger->mask; i++)
        if (ledger->slots[i].order_id != 0)
            *slot_of(&larger, ledger->slots[i].order_id) = ledger->slots[i];
    free(ledger->slots);
    *ledger = larger;
    return true;
}

struct lg_order_entry *lg_ledger_entry(struct lg_ledger *ledger, uint64_t order_id)
{
    tg_assert(order_id != 0);
    struct lg_order_entry *entry = slot_of(ledger, order_id);
    if (entry->order_id == order_id)
        return entry;
    if (ledger->count * 2 > ledger->mask) {
        if (!grow(ledger))
            return NULL;
        entry = slot_of(ledger, order_id);
    }
    entry->order_id = order_id;
    ledger->count++;
    return entry;
}

struct lg_order_entry *lg_ledger_find(const struct lg_ledger *ledger, uint64_t order_id)
{
    struct lg_order_entry *entry = slot_of(ledger, order_id);
    return order_id != 0 && entry->order_id == order_id ? entry : NULL;
}

void lg_ledger_unsee(struct lg_ledger *ledger)
{
    for (uint64_t i = 0; i <= ledger->mask; i++) {
        struct lg_order_entry *entry = &ledger->slots[i];
        entry->seen = false;
        entry->seated = false;
    }
}
