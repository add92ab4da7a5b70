#include "loadgen/account.h"

#include <inttypes.h>
#include <stdio.h>

static void complain(struct lg_account *account, uint64_t *count, const char *what,
                     const struct lg_ask *ask, const struct lg_said *said)
{
    (*count)++;
    if (!account->complaint[0])
        snprintf(account->complaint, sizeof(account->complaint),
                 "%s: %s, order %" PRIu64 ", was answered %s%s", what, lg_ask_name(ask->kind),
                 said->order_id, tg_verdict_name(said->verdict),
                 said->replayed ? " (replayed)" : "");
}

static void wrong(struct lg_account *account, const char *what, const struct lg_ask *ask,
                  const struct lg_said *said)
{
    complain(account, &account->stats->wrong_answers, what, ask, said);
}

static void count_order(struct lg_account *account, int verdict)
{
    account->stats->offered++;
    account->stats->verdicts[verdict]++;
}

/* --- what is acknowledged --- */

static struct lg_order_entry *entry_of(struct lg_account *account, uint64_t order_id)
{
    struct lg_order_entry *entry = lg_ledger_entry(account->ledger, order_id);
    account->no_memory = account->no_memory || !entry;
    return entry;
}

/* A new order was accepted. */
static void note_order(struct lg_account *account, const struct lg_ask *ask,
                       const struct lg_said *said, uint32_t deeds, uint64_t facts,
                       int64_t amount_minor)
{
    if (said->order_id == 0) {
        wrong(account, "accepted without an order id", ask, said);
        return;
    }
    struct lg_order_entry *entry = entry_of(account, said->order_id);
    if (!entry)
        return;
    if (entry->deeds & (LG_DEED_PLACED | LG_DEED_INGESTED))
        wrong(account, "two orders were given one id", ask, said);
    entry->deeds |= deeds;
    entry->facts = facts;
    entry->amount_minor = amount_minor;
}

static uint32_t deed_of_payment(const struct lg_ask *ask)
{
    if (ask->payment == LG_PAYMENT_FIRST)
        return ask->said.verdict == TG_OK           ? LG_DEED_PAID
               : ask->said.verdict == TG_REFUND_DUE ? LG_DEED_PAID_DUE
                                                    : 0;
    if (ask->payment == LG_PAYMENT_SECOND)
        return ask->said.verdict == TG_REFUND_DUE ? LG_DEED_SECOND_DUE : 0;
    return ask->said.verdict == TG_AMOUNT_MISMATCH ? LG_DEED_MISMATCH : 0;
}

static uint32_t deed_of_advance(int to)
{
    return to == TG_ORDER_SHIPPED     ? LG_DEED_SHIPPED
           : to == TG_ORDER_DELIVERED ? LG_DEED_DELIVERED
                                      : LG_DEED_COMPLETED;
}

/* What an OK says, payments aside. */
static uint32_t deed_of_change(const struct lg_ask *ask)
{
    switch ((enum lg_ask_kind)ask->kind) {
    case LG_ASK_CANCEL:
        return LG_DEED_CANCELLED;
    case LG_ASK_EXTEND:
        return LG_DEED_EXTENDED;
    case LG_ASK_REQUEST_REFUND:
        return LG_DEED_REFUND_ASKED;
    case LG_ASK_APPROVE_REFUND:
        return LG_DEED_REFUND_APPROVED;
    case LG_ASK_REJECT_REFUND:
        return LG_DEED_REFUND_REJECTED;
    case LG_ASK_RECORD_REFUND:
        return LG_DEED_REFUND_RECORDED;
    case LG_ASK_ADVANCE:
        return deed_of_advance(ask->advance_to);
    case LG_ASK_PAY:
    case LG_ASK_PLACE:
    case LG_ASK_CART:
    case LG_ASK_OPEN_TEAM:
    case LG_ASK_JOIN_TEAM:
    case LG_ASK_INGEST:
    case LG_ASK_KINDS:
        return 0;
    }
    return 0;
}

#define REFUND_DEEDS                                                                               \
    (LG_DEED_REFUND_ASKED | LG_DEED_REFUND_APPROVED | LG_DEED_REFUND_REJECTED |                    \
     LG_DEED_REFUND_RECORDED)

static void acknowledge_change(struct lg_account *account, const struct lg_ask *ask)
{
    uint32_t deed = ask->kind == LG_ASK_PAY      ? deed_of_payment(ask)
                    : ask->said.verdict == TG_OK ? deed_of_change(ask)
                                                 : 0;
    struct lg_order_entry *entry = deed ? entry_of(account, ask->order_id) : NULL;
    if (!entry)
        return;
    entry->deeds |= deed;
    if (deed & LG_DEED_EXTENDED)
        entry->deadline_ms = ask->at_ms;
    if (deed & REFUND_DEEDS)
        entry->refund_number =
            deed & LG_DEED_REFUND_ASKED ? ask->said.refund_number : ask->refund_number;
}

static void acknowledge_order(struct lg_account *account, const struct lg_ask *ask)
{
    const struct lg_said *said = &ask->said;
    count_order(account, said->verdict);
    if (said->verdict == TG_ACCEPTED)
        note_order(account, ask, said, LG_DEED_PLACED,
                   lg_ask_facts(ask, account->sale, said->order_id),
                   lg_ask_amount(ask, account->sale));
}

/* --- batches --- */

/* An order that stands must be answered with its id again, whatever else may have changed. Of two
 * that are the same order within one batch, either may be the first. */
static void hear_known(struct lg_account *account, const struct lg_ask *ask,
                       const struct lg_said *said, const struct lg_known *known)
{
    account->stats->retries_checked++;
    if (said->verdict != TG_ACCEPTED || said->order_id != known->order_id || !said->replayed)
        complain(account, &account->stats->retries_wrong,
                 "an ingested order was not answered as before", ask, said);
}

static void hear_new(struct lg_account *account, const struct lg_ask *ask, uint32_t i,
                     const struct lg_ingest_order *order, struct lg_known *known)
{
    const struct lg_said *said = &ask->ingested[i];
    uint64_t allowed = lg_verdict_bit(TG_ACCEPTED) | lg_verdict_bit(TG_STORAGE_FULL) |
                       lg_verdict_bit(TG_BUSY) | account->sale->refusals;
    if (!(allowed & lg_verdict_bit(said->verdict)))
        wrong(account, "an answer that cannot be right", ask, said);
    if (said->verdict == TG_STORAGE_FULL)
        account->storage_was_full = true;
    if (!known->counted && said->verdict != TG_BUSY) {
        count_order(account, said->verdict);
        known->counted = true;
    } else if (said->verdict == TG_ACCEPTED) {
        account->stats->accepted_on_retry++;
    }
    if (said->verdict != TG_ACCEPTED)
        return;
    known->order_id = said->order_id;
    note_order(account, ask, said, LG_DEED_INGESTED | (order->paid ? (uint32_t)LG_DEED_PAID : 0),
               lg_ask_ingest_facts(ask, i, account->sale),
               account->sale->price_minor[order->item] * order->quantity);
}

/* Two places of one batch that are one order: it stands once, so the ids are the same, and only one
 * of the two can be new. */
static void compare_twins(struct lg_account *account, const struct lg_ask *ask, uint32_t i,
                          uint32_t own)
{
    const struct lg_said *one = &ask->ingested[own], *other = &ask->ingested[i];
    if (one->verdict == TG_ACCEPTED && other->verdict == TG_ACCEPTED &&
        (one->order_id != other->order_id || (!one->replayed && !other->replayed)))
        wrong(account, "an order that stood twice in a batch became two", ask, other);
}

static void hear_batch(struct lg_account *account, const struct lg_ask *ask)
{
    uint64_t before[LG_ASK_INGEST_MAX];
    for (uint32_t i = 0; i < ask->ingest_count; i++)
        before[i] = ask->known[i].order_id;
    for (uint32_t i = 0; i < ask->ingest_count; i++) {
        struct lg_ingest_order order;
        lg_ask_ingest_order(ask, i, account->sale->item_count, &order);
        struct lg_known *known = &ask->known[order.own];
        if (order.own != i)
            compare_twins(account, ask, i, order.own);
        if (before[order.own] != 0 && ask->ingested[i].verdict != TG_BUSY)
            hear_known(account, ask, &ask->ingested[i], known);
        else if (before[order.own] == 0 && known->order_id == 0)
            hear_new(account, ask, i, &order, known);
    }
}

/* --- all answers --- */

static bool is_success(const struct lg_ask *ask)
{
    int verdict = ask->said.verdict;
    return verdict == TG_OK || verdict == TG_ACCEPTED ||
           (ask->kind == LG_ASK_PAY && (verdict == TG_REFUND_DUE || verdict == TG_AMOUNT_MISMATCH));
}

static void hear_again(struct lg_account *account, struct lg_ask *ask)
{
    const struct lg_said *said = &ask->said, *first = &ask->first;
    bool same = said->verdict == first->verdict && said->order_id == first->order_id &&
                said->refund_number == first->refund_number;
    /* Whether each order of a batch is the same has been seen one by one. */
    if (ask->kind != LG_ASK_INGEST)
        account->stats->retries_checked++;
    if (!same || (!said->replayed && ask->kind != LG_ASK_INGEST))
        complain(account, &account->stats->retries_wrong,
                 "a request asked twice was not answered like the first time", ask, said);
    ask->said = *first;
}

static void hear_first(struct lg_account *account, struct lg_ask *ask)
{
    const struct lg_said *said = &ask->said;
    account->requests[ask->kind][said->verdict]++;
    if (said->verdict == TG_UNSPECIFIED)
        account->stats->errors++;
    if (!(ask->allowed & lg_verdict_bit(said->verdict)))
        wrong(account, "an answer that cannot be right", ask, said);
    if (said->replayed && !ask->resent)
        wrong(account, "replayed, though never asked before", ask, said);
    if (ask->kind < LG_ASK_INGEST)
        acknowledge_order(account, ask);
    else if (ask->kind > LG_ASK_INGEST)
        acknowledge_change(account, ask);
}

enum lg_heard lg_account_hear(struct lg_account *account, struct lg_ask *ask)
{
    int verdict = ask->said.verdict;
    account->stats->answers++;
    account->storage_was_full = account->storage_was_full || verdict == TG_STORAGE_FULL;
    /* Of a batch that is BUSY some orders may stand all the same. */
    if (ask->kind == LG_ASK_INGEST && (verdict == TG_OK || verdict == TG_BUSY))
        hear_batch(account, ask);
    if (verdict == TG_BUSY) {
        account->stats->busy++;
        return LG_HEARD_BUSY;
    }
    if (ask->is_again) {
        hear_again(account, ask);
        return LG_HEARD_DONE;
    }
    hear_first(account, ask);
    if (!ask->twice || !is_success(ask))
        return LG_HEARD_DONE;
    ask->first = ask->said;
    ask->is_again = true;
    return LG_HEARD_TWICE;
}
