#include "tests/crash/facts.h"

#include "base/hash.h"
#include "tests/crash/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void facts_add(struct facts_list *list, const void *fact, size_t bytes)
{
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 1024;
        list->at = realloc(list->at, list->room * bytes);
        if (!list->at) {
            fprintf(stderr, "crash: no memory for facts\n");
            exit(CRASH_EXIT_UNABLE);
        }
    }
    memcpy((uint8_t *)list->at + list->count++ * bytes, fact, bytes);
}

/* --- in order --- */

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_order(const void *a, const void *b)
{
    const struct fact_order *x = a, *y = b;
    int by_id = compare(x->order_id, y->order_id);
    return by_id ? by_id : compare(x->answered, y->answered);
}

static int by_version(const void *a, const void *b)
{
    const struct fact_life *x = a, *y = b;
    int by_id = compare(x->order_id, y->order_id);
    int by_number = by_id ? by_id : compare(x->version, y->version);
    return by_number ? by_number : compare(x->answered, y->answered);
}

static int by_sequence(const void *a, const void *b)
{
    const struct fact_event *x = a, *y = b;
    int by_number = compare(x->sequence, y->sequence);
    return by_number ? by_number : compare(x->answered, y->answered);
}

static int by_key(const void *a, const void *b)
{
    const struct fact_register *x = a, *y = b;
    int of_key = compare(x->key, y->key);
    return of_key ? of_key : compare(x->order, y->order);
}

/* Only a list that is there: qsort takes no NULL. */
static void sort(struct facts_list *list, size_t bytes, int (*before)(const void *, const void *))
{
    if (list->count)
        qsort(list->at, list->count, bytes, before);
}

static bool settle_orders(struct facts_list *list)
{
    uint64_t kept = 0;
    sort(list, sizeof(struct fact_order), by_order);
    for (uint64_t i = 0; i < list->count; i++) {
        struct fact_order *order = FACTS_AT(fact_order, *list, i);
        struct fact_order *last = kept ? FACTS_AT(fact_order, *list, kept - 1) : NULL;
        if (!last || last->order_id != order->order_id) {
            *FACTS_AT(fact_order, *list, kept++) = *order;
        } else if (last->print != order->print) {
            fprintf(stderr, "crash: two answers gave order %" PRIu64 "\n", order->order_id);
            return false;
        }
    }
    list->count = kept;
    return true;
}

static bool settle_lives(struct facts_list *list)
{
    uint64_t kept = 0;
    sort(list, sizeof(struct fact_life), by_version);
    for (uint64_t i = 0; i < list->count; i++) {
        struct fact_life *life = FACTS_AT(fact_life, *list, i);
        struct fact_life *last = kept ? FACTS_AT(fact_life, *list, kept - 1) : NULL;
        if (!last || last->order_id != life->order_id || last->version != life->version) {
            *FACTS_AT(fact_life, *list, kept++) = *life;
        } else if (last->print != life->print) {
            fprintf(stderr,
                    "crash: two answers differ on version %" PRIu64 " of order %" PRIu64 "\n",
                    life->version, life->order_id);
            return false;
        }
    }
    list->count = kept;
    return true;
}

static bool settle_events(struct facts_list *list)
{
    uint64_t kept = 0;
    sort(list, sizeof(struct fact_event), by_sequence);
    for (uint64_t i = 0; i < list->count; i++) {
        struct fact_event *event = FACTS_AT(fact_event, *list, i);
        struct fact_event *last = kept ? FACTS_AT(fact_event, *list, kept - 1) : NULL;
        if (!last || last->sequence != event->sequence) {
            *FACTS_AT(fact_event, *list, kept++) = *event;
        } else if (last->print != event->print) {
            fprintf(stderr, "crash: two answers differ on event %" PRIu64 "\n", event->sequence);
            return false;
        }
    }
    list->count = kept;
    return true;
}

bool facts_settle(struct facts *facts)
{
    sort(&facts->registers, sizeof(struct fact_register), by_key);
    return settle_orders(&facts->orders) && settle_lives(&facts->lives) &&
           settle_events(&facts->events);
}

/* --- on the disk --- */

static bool save_list(FILE *file, const struct facts_list *list, size_t bytes)
{
    return fwrite(&list->count, sizeof(list->count), 1, file) == 1 &&
           (list->count == 0 || fwrite(list->at, bytes, list->count, file) == list->count);
}

static bool load_list(FILE *file, struct facts_list *list, size_t bytes)
{
    if (fread(&list->count, sizeof(list->count), 1, file) != 1 || list->count > UINT32_MAX)
        return false;
    list->room = list->count;
    list->at = calloc(list->count + 1, bytes);
    return list->at && fread(list->at, bytes, list->count, file) == list->count;
}

bool facts_save(const struct facts *facts, const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return false;
    bool saved = save_list(file, &facts->orders, sizeof(struct fact_order)) &&
                 save_list(file, &facts->lives, sizeof(struct fact_life)) &&
                 save_list(file, &facts->registers, sizeof(struct fact_register)) &&
                 save_list(file, &facts->events, sizeof(struct fact_event)) &&
                 save_list(file, &facts->phases, sizeof(struct fact_phase));
    return fclose(file) == 0 && saved;
}

bool facts_load(struct facts *facts, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool loaded = load_list(file, &facts->orders, sizeof(struct fact_order)) &&
                  load_list(file, &facts->lives, sizeof(struct fact_life)) &&
                  load_list(file, &facts->registers, sizeof(struct fact_register)) &&
                  load_list(file, &facts->events, sizeof(struct fact_event)) &&
                  load_list(file, &facts->phases, sizeof(struct fact_phase));
    fclose(file);
    return loaded;
}

void facts_free(struct facts *facts)
{
    free(facts->orders.at);
    free(facts->lives.at);
    free(facts->registers.at);
    free(facts->events.at);
    free(facts->phases.at);
    *facts = (struct facts){.orders = {0}};
}

/* --- prints --- */

uint64_t facts_item(uint64_t sale_id, const void *sku, size_t sku_bytes)
{
    return tg_hash(sku, sku_bytes, sale_id);
}

uint64_t facts_key(const char *kind, uint64_t sale_id, const char *name)
{
    return tg_hash_words(tg_hash(kind, strlen(kind), 0), tg_hash(name, strlen(name), sale_id), 0);
}

uint64_t facts_line(uint64_t item, uint32_t quantity, int64_t unit_price_minor)
{
    return tg_hash_words(item, (uint64_t)unit_price_minor, quantity);
}

/* Takes field after field; the widest life fits. */
struct print {
    uint8_t bytes[8192];
    size_t used;
};

static void put_bytes(struct print *print, const void *bytes, size_t size)
{
    if (print->used + sizeof(size) + size > sizeof(print->bytes))
        abort();
    memcpy(print->bytes + print->used, &size, sizeof(size));
    if (size)
        memcpy(print->bytes + print->used + sizeof(size), bytes, size);
    print->used += sizeof(size) + size;
}

static void put(struct print *print, int64_t number)
{
    memcpy(print->bytes + print->used, &number, sizeof(number));
    print->used += sizeof(number);
}

static uint64_t done(const struct print *print)
{
    return tg_hash(print->bytes, print->used, 0);
}

uint64_t facts_print_asked(const struct facts_asked *asked)
{
    struct print print;
    print.used = 0; /* its bytes need no zeroes: this runs for every order of every image */
    put(&print, (int64_t)asked->user_id);
    put(&print, (int64_t)asked->team_id);
    put(&print, asked->accepted_at_ms);
    put(&print, asked->channel);
    put(&print, asked->ingested);
    put(&print, (int64_t)asked->lines);
    put_bytes(&print, asked->external_id, asked->external_bytes);
    if (!asked->ingested)
        put_bytes(&print, asked->request_id, sizeof(asked->request_id));
    return done(&print);
}

static void put_payment_message(struct print *print, const Tidegate__V1__Payment *payment)
{
    put_bytes(print, payment->payment_id.data, payment->payment_id.len);
    put_bytes(print, payment->currency, strlen(payment->currency));
    put(print, payment->amount_minor);
    put(print, payment->channel);
    put(print, payment->paid_at_ms);
    put(print, (int64_t)payment->status);
    put(print, payment->recorded_at_ms);
}

static void put_payment(struct print *print, const struct tg_payment *payment)
{
    put_bytes(print, payment->id, payment->id_bytes);
    put_bytes(print, payment->currency, sizeof(payment->currency));
    put(print, payment->amount_minor);
    put(print, payment->channel);
    put(print, payment->paid_at_ms);
    put(print, payment->status);
    put(print, payment->recorded_at_ms);
}

static void put_refund_message(struct print *print, const Tidegate__V1__Refund *refund)
{
    put_bytes(print, refund->reason, strlen(refund->reason));
    put_bytes(print, refund->reference.data, refund->reference.len);
    put(print, refund->amount_minor);
    put(print, (int64_t)refund->cause);
    put(print, (int64_t)refund->status);
    put(print, refund->restock);
    put(print, refund->requested_at_ms);
    put(print, refund->decided_at_ms);
    put(print, refund->refunded_at_ms);
}

static void put_refund(struct print *print, const struct tg_refund *refund)
{
    put_bytes(print, refund->reason, refund->reason_bytes);
    put_bytes(print, refund->reference, refund->reference_bytes);
    put(print, refund->amount_minor);
    put(print, refund->cause);
    put(print, refund->status);
    put(print, refund->restock);
    put(print, refund->requested_at_ms);
    put(print, refund->decided_at_ms);
    put(print, refund->refunded_at_ms);
}

uint64_t facts_print_message(const Tidegate__V1__Order *order)
{
    struct print print;
    print.used = 0;
    const int64_t numbers[] = {
        (int64_t)order->state,      (int64_t)order->cancelled_by, (int64_t)order->last_sequence,
        order->amount_minor,        order->received_minor,        order->refund_due_minor,
        order->refunded_minor,      order->payment_deadline_ms,   order->paid_at_ms,
        order->confirmed_at_ms,     order->shipped_at_ms,         order->delivered_at_ms,
        order->completed_at_ms,     order->ended_at_ms,           order->refunded_at_ms,
        (int64_t)order->n_payments, (int64_t)order->n_refunds,
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        put(&print, numbers[i]);
    for (size_t i = 0; i < order->n_payments; i++)
        put_payment_message(&print, order->payments[i]);
    for (size_t i = 0; i < order->n_refunds; i++)
        put_refund_message(&print, order->refunds[i]);
    return done(&print);
}

uint64_t facts_print_life(const struct tg_life *life)
{
    struct print print;
    print.used = 0;
    const int64_t numbers[] = {
        life->state,           life->cancelled_by,        (int64_t)life->last_event,
        life->amount_minor,    life->received_minor,      life->refund_due_minor,
        life->refunded_minor,  life->payment_deadline_ms, life->paid_at_ms,
        life->confirmed_at_ms, life->shipped_at_ms,       life->delivered_at_ms,
        life->completed_at_ms, life->ended_at_ms,         life->refunded_at_ms,
        life->payment_count,   life->refund_count,
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        put(&print, numbers[i]);
    for (uint32_t i = 0; i < life->payment_count; i++)
        put_payment(&print, &life->payments[i]);
    for (uint32_t i = 0; i < life->refund_count; i++)
        put_refund(&print, &life->refunds[i]);
    return done(&print);
}

uint64_t facts_print_row(const uint64_t *items, const struct tg_order_row *row)
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
        asked.lines += facts_line(items[row->lines[i].item % FACTS_ITEMS_MAX],
                                  row->lines[i].quantity, row->lines[i].unit_price_minor);
    if (row->line_count == 0)
        asked.lines =
            facts_line(items[row->item % FACTS_ITEMS_MAX], row->quantity, row->unit_price_minor);
    return facts_print_asked(&asked);
}

static uint64_t print_numbers(const int64_t *numbers, size_t count)
{
    struct print print;
    print.used = 0;
    for (size_t i = 0; i < count; i++)
        put(&print, numbers[i]);
    return done(&print);
}

uint64_t facts_print_event_message(const Tidegate__V1__Event *event)
{
    const int64_t numbers[] = {(int64_t)event->type,
                               (int64_t)event->order_id,
                               (int64_t)event->team_id,
                               (int64_t)event->sale_id,
                               event->at_ms,
                               event->amount_minor,
                               event->refund_number};
    return print_numbers(numbers, sizeof(numbers) / sizeof(numbers[0]));
}

uint64_t facts_print_event(const struct tg_event *event)
{
    const int64_t numbers[] = {
        event->type,  (int64_t)event->order_id, (int64_t)event->team_id, (int64_t)event->sale_id,
        event->at_ms, event->amount_minor,      event->refund_number};
    return print_numbers(numbers, sizeof(numbers) / sizeof(numbers[0]));
}
