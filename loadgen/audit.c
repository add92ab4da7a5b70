#include "loadgen/audit.h"

#include "base/assert.h"
#include "base/hash.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLDINGS_FIRST     4096u
#define EXAMPLES_OF_A_KIND 3
#define NO_ITEM            UINT32_MAX
#define NO_NUMBER          UINT64_MAX

/* What one user holds of one item. units == 0: the place is free. */
struct lg_holding {
    uint64_t user_id;
    uint32_t item;
    uint32_t pad;
    uint64_t units;
};

static void example(struct lg_audit *audit, uint64_t seen, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* `seen` findings of this kind so far: a million of one kind must not hide the one of another. */
static void example(struct lg_audit *audit, uint64_t seen, const char *format, ...)
{
    struct lg_findings *f = &audit->findings;
    if (seen > EXAMPLES_OF_A_KIND || f->example_count == LG_AUDIT_EXAMPLES_MAX)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(f->examples[f->example_count++], LG_AUDIT_EXAMPLE_BYTES, format, args);
    va_end(args);
}

/* --- start --- */

static int compare_sku(const struct lg_item *item, const uint8_t *sku, uint32_t sku_bytes)
{
    if (item->sku_bytes != sku_bytes)
        return item->sku_bytes < sku_bytes ? -1 : 1;
    return memcmp(item->sku, sku, sku_bytes);
}

static int compare_items(const void *a, const void *b, void *context)
{
    const struct lg_plan *plan = context;
    const struct lg_item *right = &plan->items[*(const uint32_t *)b];
    return compare_sku(&plan->items[*(const uint32_t *)a], right->sku, right->sku_bytes);
}

bool lg_audit_init(struct lg_audit *audit, const struct lg_plan *plan, bool complete)
{
    uint32_t items = plan->settings.item_count;
    memset(audit, 0, sizeof(*audit));
    audit->plan = plan;
    audit->complete = complete;
    audit->own_sale = plan->settings.own_sale != 0;
    audit->accepted_units = calloc(items, sizeof(uint64_t));
    audit->listed_units = calloc(items, sizeof(uint64_t));
    audit->by_sku = calloc(items, sizeof(uint32_t));
    audit->holdings = calloc(HOLDINGS_FIRST, sizeof(*audit->holdings));
    audit->holding_room = HOLDINGS_FIRST;
    if (!audit->accepted_units || !audit->listed_units || !audit->by_sku || !audit->holdings) {
        lg_audit_fini(audit);
        return false;
    }
    for (uint32_t i = 0; i < items; i++)
        audit->by_sku[i] = i;
    qsort_r(audit->by_sku, items, sizeof(uint32_t), compare_items, (void *)(uintptr_t)plan);
    return true;
}

void lg_audit_fini(struct lg_audit *audit)
{
    free(audit->accepts);
    free(audit->accepted_units);
    free(audit->listed_units);
    free(audit->by_sku);
    free(audit->extras);
    free(audit->holdings);
    memset(audit, 0, sizeof(*audit));
}

/* One order id for two answers: both belong to one attempt when a retry was answered alike but
 * written twice, which no correct run does; either way, the second is one too many. */
static uint64_t drop_same_ids(struct lg_audit *audit, struct lg_accept *accepts, uint64_t count)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (kept && accepts[kept - 1].order_id == accepts[i].order_id) {
            audit->findings.duplicated++;
            example(audit, audit->findings.duplicated,
                    "order %" PRIu64 " was the answer to attempts %" PRIu64 " and %" PRIu64,
                    accepts[i].order_id, accepts[kept - 1].number, accepts[i].number);
            continue;
        }
        accepts[kept++] = accepts[i];
    }
    return kept;
}

bool lg_audit_accepts(struct lg_audit *audit, struct lg_accept *accepts, uint64_t count)
{
    tg_assert(!audit->accepts);
    audit->accepts = accepts;
    audit->findings.accepts = count;
    /* Units are summed before duplicates go: each answer promised some. */
    for (uint64_t i = 0; i < count; i++) {
        struct lg_attempt attempt;
        lg_plan_attempt(audit->plan, accepts[i].number, &attempt);
        audit->accepted_units[attempt.item] += attempt.quantity;
    }
    if (!lg_accepts_sort(accepts, count))
        return false;
    audit->accept_count = drop_same_ids(audit, accepts, count);
    return true;
}

/* --- holdings: units for each (user, item) --- */

static struct lg_holding *holding_find(struct lg_holding *table, uint64_t room, uint64_t user_id,
                                       uint32_t item)
{
    uint64_t at = tg_hash_words(user_id, item, 0x7469646567617465ull) & (room - 1);
    while (table[at].units && (table[at].user_id != user_id || table[at].item != item))
        at = (at + 1) & (room - 1);
    return &table[at];
}

static bool holdings_grow(struct lg_audit *audit)
{
    uint64_t room = audit->holding_room * 2;
    struct lg_holding *table = calloc(room, sizeof(*table));
    if (!table)
        return false;
    for (uint64_t i = 0; i < audit->holding_room; i++) {
        const struct lg_holding *old = &audit->holdings[i];
        if (old->units)
            *holding_find(table, room, old->user_id, old->item) = *old;
    }
    free(audit->holdings);
    audit->holdings = table;
    audit->holding_room = room;
    return true;
}

static void holding_add(struct lg_audit *audit, uint64_t user_id, uint32_t item, uint32_t units)
{
    if (!audit->plan->items[item].per_user_limit || !units)
        return;
    if (audit->holding_count * 4 >= audit->holding_room * 3 && !holdings_grow(audit)) {
        audit->no_memory = true;
        return;
    }
    struct lg_holding *holding = holding_find(audit->holdings, audit->holding_room, user_id, item);
    if (!holding->units) {
        holding->user_id = user_id;
        holding->item = item;
        audit->holding_count++;
    }
    holding->units += units;
}

/* --- the merge of the listing with the answers --- */

static uint32_t item_of(const struct lg_audit *audit, const uint8_t *sku, uint32_t sku_bytes)
{
    uint32_t low = 0, high = audit->plan->settings.item_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t item = audit->by_sku[middle];
        int order = compare_sku(&audit->plan->items[item], sku, sku_bytes);
        if (order == 0)
            return item;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NO_ITEM;
}

/* The first thing in which the order is not what the attempt asked for; NULL when there is none. */
static const char *difference(const struct lg_plan *plan, const struct lg_attempt *attempt,
                              const struct lg_listed *order)
{
    const struct lg_item *item = &plan->items[attempt->item];
    uint8_t external_id[LG_EXTERNAL_BYTES];
    lg_plan_external_id(attempt->number, external_id);
    if (order->request_id_bytes != TG_REQUEST_ID_BYTES ||
        memcmp(order->request_id, attempt->request_id, TG_REQUEST_ID_BYTES) != 0)
        return "request id";
    if (order->sale_id != plan->settings.sale_id)
        return "sale";
    if (compare_sku(item, order->sku, order->sku_bytes) != 0)
        return "sku";
    if (order->user_id != attempt->user_id)
        return "user";
    if (order->quantity != attempt->quantity)
        return "quantity";
    if (order->unit_price_minor != item->price_minor)
        return "price";
    if (order->channel != LG_CHANNEL)
        return "channel";
    if (order->external_bytes != LG_EXTERNAL_BYTES ||
        memcmp(order->external_id, external_id, LG_EXTERNAL_BYTES) != 0)
        return "external id";
    return NULL;
}

static void keep_extra(struct lg_audit *audit, uint64_t order_id, uint64_t number)
{
    if (audit->extra_count == audit->extra_room) {
        uint64_t room = audit->extra_room ? audit->extra_room * 2 : 64;
        struct lg_extra *grown =
            room > LG_AUDIT_EXTRAS_MAX ? NULL : realloc(audit->extras, room * sizeof(*grown));
        if (!grown) {
            /* Too many to look into: they are broken promises all the same. */
            audit->findings.unknown++;
            return;
        }
        audit->extras = grown;
        audit->extra_room = room;
    }
    audit->extras[audit->extra_count++] = (struct lg_extra){order_id, number};
}

/* An order without an accepted answer: somebody else's, or one to explain at the end. */
static void extra_order(struct lg_audit *audit, const struct lg_listed *order)
{
    uint64_t number = NO_NUMBER;
    bool ours = order->request_id_bytes == TG_REQUEST_ID_BYTES &&
                lg_plan_number_of(audit->plan, order->request_id, &number);
    if (!ours && !audit->own_sale) {
        audit->findings.foreign++;
        return;
    }
    keep_extra(audit, order->order_id, ours ? number : NO_NUMBER);
}

static void lost(struct lg_audit *audit, const struct lg_accept *accept)
{
    audit->findings.lost++;
    example(audit, audit->findings.lost - audit->findings.altered,
            "attempt %" PRIu64 " was answered ACCEPTED as order %" PRIu64
            ", which the server does not have",
            accept->number, accept->order_id);
}

static void match(struct lg_audit *audit, const struct lg_accept *accept,
                  const struct lg_listed *order)
{
    struct lg_attempt attempt;
    lg_plan_attempt(audit->plan, accept->number, &attempt);
    const char *what = difference(audit->plan, &attempt, order);
    if (!what)
        return;
    audit->findings.lost++;
    audit->findings.altered++;
    example(audit, audit->findings.altered,
            "order %" PRIu64 " of attempt %" PRIu64 " has another %s", accept->order_id,
            accept->number, what);
}

void lg_audit_walk_begin(const struct lg_audit *audit, struct lg_walk *walk, uint64_t first,
                         uint64_t end)
{
    tg_assert(first <= end && end <= audit->accept_count);
    walk->next = first;
    walk->end = end;
    walk->order_id_last = first ? audit->accepts[first - 1].order_id : 0;
}

void lg_audit_walk_order(struct lg_audit *audit, struct lg_walk *walk,
                         const struct lg_listed *order)
{
    if (order->order_id <= walk->order_id_last) {
        audit->findings.disordered++;
        example(audit, audit->findings.disordered,
                "order %" PRIu64 " was listed behind order %" PRIu64, order->order_id,
                walk->order_id_last);
        return;
    }
    walk->order_id_last = order->order_id;
    audit->findings.orders++;
    uint32_t item = item_of(audit, order->sku, order->sku_bytes);
    if (item != NO_ITEM && order->sale_id == audit->plan->settings.sale_id) {
        audit->listed_units[item] += order->quantity;
        holding_add(audit, order->user_id, item, order->quantity);
    }
    while (walk->next < walk->end && audit->accepts[walk->next].order_id < order->order_id)
        lost(audit, &audit->accepts[walk->next++]);
    if (walk->next < walk->end && audit->accepts[walk->next].order_id == order->order_id)
        match(audit, &audit->accepts[walk->next++], order);
    else
        extra_order(audit, order);
}

void lg_audit_walk_end(struct lg_audit *audit, struct lg_walk *walk)
{
    while (walk->next < walk->end)
        lost(audit, &audit->accepts[walk->next++]);
}

/* --- the books --- */

void lg_audit_item(struct lg_audit *audit, uint32_t item, const struct lg_books *books)
{
    struct lg_findings *f = &audit->findings;
    const struct lg_item *def = &audit->plan->items[item];
    int64_t stock = (int64_t)books->initial_units + books->restocked_units;
    uint64_t held = books->reserved_units + books->sold_units;
    uint64_t listed = audit->listed_units[item], promised = audit->accepted_units[item];
    uint64_t most = held > listed ? held : listed;
    most = most > promised ? most : promised;
    if (stock < 0 || (uint64_t)stock < most) {
        uint64_t over = most - (stock < 0 ? 0 : (uint64_t)stock);
        audit->items_oversold++;
        f->oversold += over;
        example(audit, audit->items_oversold,
                "%.*s: %" PRIu64 " units promised, %" PRId64 " in stock", def->sku_bytes,
                (const char *)def->sku, most, stock);
    }
    if (stock != (int64_t)(books->available_units + held)) {
        f->books_broken++;
        example(audit, f->books_broken,
                "%.*s: initial + restocked is %" PRId64 ", available + reserved + sold %" PRIu64,
                def->sku_bytes, (const char *)def->sku, stock, books->available_units + held);
    }
    /* In a shared sale others order on while we count: their units may be held and not yet listed
     * or the other way round, but never fewer held than we were promised. */
    bool differs = audit->own_sale ? held != listed : held < promised;
    if (audit->own_sale && audit->complete && held != promised)
        differs = true;
    if (differs) {
        f->books_differ++;
        example(audit, f->books_differ,
                "%.*s: the books hold %" PRIu64 " units, its orders %" PRIu64
                ", accepted answers %" PRIu64,
                def->sku_bytes, (const char *)def->sku, held, listed, promised);
    }
}

void lg_audit_count(struct lg_audit *audit, uint64_t accepted)
{
    audit->findings.accepts = audit->findings.orders = accepted;
    audit->accepted_units[0] = audit->listed_units[0] = accepted;
}

/* --- the end --- */

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = ((const struct lg_accept *)a)->number;
    uint64_t right = ((const struct lg_accept *)b)->number;
    return (left > right) - (left < right);
}

static int compare_extras(const void *a, const void *b)
{
    const struct lg_extra *left = a, *right = b;
    if (left->number != right->number)
        return left->number < right->number ? -1 : 1;
    return (left->order_id > right->order_id) - (left->order_id < right->order_id);
}

/* An order nobody was told of is a second order of an accepted attempt, or of another such order,
 * or a phantom; only the log of a killed run may miss an answer. */
static void explain_extra(struct lg_audit *audit, const struct lg_extra *extra,
                          const struct lg_extra *previous)
{
    struct lg_findings *f = &audit->findings;
    struct lg_accept key = {.number = extra->number};
    bool known = extra->number != NO_NUMBER;
    if (known &&
        (bsearch(&key, audit->accepts, audit->accept_count, sizeof(key), compare_numbers) ||
         (previous && previous->number == extra->number))) {
        f->duplicated++;
        example(audit, f->duplicated, "order %" PRIu64 " is a second order of attempt %" PRIu64,
                extra->order_id, extra->number);
    } else if (known && !audit->complete) {
        f->unlogged++;
    } else if (known) {
        f->unknown++;
        example(audit, f->unknown,
                "order %" PRIu64 " stands, but attempt %" PRIu64 " was not told ACCEPTED",
                extra->order_id, extra->number);
    } else {
        f->unknown++;
        example(audit, f->unknown,
                "order %" PRIu64 " is not of this run, in a sale that is its own", extra->order_id);
    }
}

static void explain_extras(struct lg_audit *audit)
{
    if (!audit->extra_count)
        return;
    qsort(audit->accepts, audit->accept_count, sizeof(*audit->accepts), compare_numbers);
    qsort(audit->extras, audit->extra_count, sizeof(*audit->extras), compare_extras);
    for (uint64_t i = 0; i < audit->extra_count; i++)
        explain_extra(audit, &audit->extras[i], i ? &audit->extras[i - 1] : NULL);
}

static void count_over_limit(struct lg_audit *audit)
{
    for (uint64_t i = 0; i < audit->holding_room; i++) {
        const struct lg_holding *holding = &audit->holdings[i];
        if (!holding->units)
            continue;
        const struct lg_item *item = &audit->plan->items[holding->item];
        if (holding->units <= item->per_user_limit)
            continue;
        audit->findings.over_limit_users++;
        example(audit, audit->findings.over_limit_users,
                "user %" PRIu64 " holds %" PRIu64 " units of %.*s, whose limit is %" PRIu32,
                holding->user_id, holding->units, item->sku_bytes, (const char *)item->sku,
                item->per_user_limit);
    }
}

void lg_audit_finish(struct lg_audit *audit)
{
    explain_extras(audit);
    count_over_limit(audit);
    audit->findings.finished = !audit->no_memory;
}

bool lg_findings_ok(const struct lg_findings *f)
{
    return f->finished && !f->lost && !f->duplicated && !f->unknown && !f->oversold &&
           !f->books_broken && !f->books_differ && !f->over_limit_users && !f->disordered;
}
