/* The orders and what became of them: nearly all that a recovery reads.
 *
 * Orders and lives are sorted by the same ids, so two cursors side by side join them; an order that
 * was never changed has no life, and costs one comparison for it.
 *
 *   cursors -> read: checksum, ranges, books -> block -> block -> block -> hand on: `order`
 *              and the reader's taker             '------ the belt -----'
 *
 * What was read and checked lies in blocks. When a thread reads ahead, it fills blocks at one end
 * of the belt and the caller of sto_recover hands them on at the other; without it one block is
 * filled and handed on in turn. Either way what is handed on is the same, in the same order, and
 * the first thing that does not hold ends it: what the reader refuses lies behind all that it has
 * put into blocks, so a word of the engine's about one of these comes first.
 *
 * Always: blocks emptied <= blocks filled <= blocks emptied + BLOCKS, and a block belongs to the
 * reader until it is counted as filled, then to the caller until it is counted as emptied. */
#include "storage/recover.h"

#include "base/mem.h"
#include "base/thread.h"
#include "proto/verdict.h"
#include "storage/rows.h"

#include <pthread.h>
#include <stdalign.h>

/* A block is small beside the cache of a core and large beside what two threads say to each other
 * about one. Lives are large and mostly few: a block ends with its last place for one. All blocks
 * together are some milliseconds of work: now and then each thread waits as long for the kernel to
 * clear a huge page, and the other one is to have something to do meanwhile. */
#define BLOCK_ROWS  256u
#define BLOCK_LIVES 32u
#define BLOCKS      128u

/* The engine is told of the orders of a group before it takes the first of the group before: so
 * many misses overlap. */
#define GROUP_ROWS 8u

_Static_assert(BLOCK_ROWS % GROUP_ROWS == 0, "a group lies in one block");

/* Rows were appended, so the leaf behind this one is mostly the next page of the file. */
#define LEAF_BYTES 4096u

/* Of a row only as many lines are stored as it has: most have none, and are a sixth of their
 * struct. So the belt stays in the caches, and little is moved from one core to the other. */
#define ROW_BYTES  offsetof(struct tg_order_row, lines)
#define ROOM_BYTES (BLOCK_ROWS * ROW_BYTES + sizeof(struct tg_order_row))

_Static_assert(ROW_BYTES % alignof(struct tg_order_row) == 0 &&
                   sizeof(struct tg_line) % alignof(struct tg_order_row) == 0,
               "a row may begin where the one before it ends");

struct entry {
    const struct tg_order_row *row; /* in `room` */
    const struct tg_life *life;     /* in `lives`, or NULL */
};

struct block {
    uint32_t row_count;
    uint32_t life_count;
    size_t room_used;
    struct entry entries[BLOCK_ROWS];
    alignas(struct tg_order_row) uint8_t room[ROOM_BYTES];
    struct tg_life lives[BLOCK_LIVES];
};

struct belt {
    pthread_mutex_t lock;
    pthread_cond_t filled_more;  /* or `ended` */
    pthread_cond_t emptied_more; /* or `refused` */
    uint64_t filled;
    uint64_t emptied;
    bool ended;   /* the reader fills no more */
    bool refused; /* the caller takes no more */
    struct block blocks[BLOCKS];
};

#define NO_LIFE UINT64_MAX /* above every order id */

struct orders {
    struct sto_recovering *r;
    struct belt *belt;
    struct block *block; /* being filled; NULL: nobody takes it any more */

    /* reader */
    MDB_cursor *lives;
    uint64_t life_id; /* of the row that the cursor stands on; NO_LIFE behind the last */
    MDB_val life_value;
    uint64_t last_order_id;

    /* caller */
    enum tg_error refusal; /* of a callback */
    struct tg_fault refusal_fault;
};

/* --- lives --- */

/* Steps to the next life. */
static bool life_next(struct orders *o)
{
    MDB_val key;
    int rc = mdb_cursor_get(o->lives, &key, &o->life_value, MDB_NEXT);
    if (rc == MDB_NOTFOUND) {
        o->life_id = NO_LIFE;
        return true;
    }
    if (rc) {
        o->r->error = sto_fault_lmdb(o->r->fault, rc, "cannot read the database");
        return false;
    }
    if (!sto_key_read(&key, &o->life_id, sizeof(o->life_id)))
        return sto_recover_stop_key(o->r, "lives");
    return true;
}

/* Promise 2 for one order: what was received is what its payments say, and so on. Sums of 16
 * amounts of at most 10^18 fit 64 bits. */
static bool money_check(struct sto_recovering *r, uint64_t order_id, const struct tg_life *life)
{
    uint64_t received = 0, due = 0, refunded = 0;
    for (uint8_t i = 0; i < life->payment_count; i++) {
        const struct tg_payment *payment = &life->payments[i];
        if (payment->status != TG_PAYMENT_REFUSED_AMOUNT &&
            payment->status != TG_PAYMENT_REFUSED_CURRENCY)
            received += (uint64_t)payment->amount_minor;
    }
    for (uint8_t i = 0; i < life->refund_count; i++) {
        const struct tg_refund *refund = &life->refunds[i];
        if (refund->status == TG_REFUND_DUE_STATUS)
            due += (uint64_t)refund->amount_minor;
        if (refund->status == TG_REFUND_REFUNDED)
            refunded += (uint64_t)refund->amount_minor;
    }
    if (tg_life_money_holds(life) && (uint64_t)life->received_minor == received &&
        (uint64_t)life->refund_due_minor == due && (uint64_t)life->refunded_minor == refunded)
        return true;
    return STO_RECOVER_STOP(
        r, TG_ERR_BROKEN,
        "table lives, row %llu: it says received %lld, due %lld and refunded %lld, its payments "
        "and refunds add up to %llu, %llu and %llu",
        (unsigned long long)order_id, (long long)life->received_minor,
        (long long)life->refund_due_minor, (long long)life->refunded_minor,
        (unsigned long long)received, (unsigned long long)due, (unsigned long long)refunded);
}

/* The life of an order, checked; NULL in `*life` when it is as it was accepted. */
static bool life_of(struct orders *o, uint64_t order_id, const struct tg_life **life)
{
    struct sto_recovering *r = o->r;
    *life = NULL;
    if (o->life_id > order_id)
        return true;
    if (o->life_id < order_id)
        return STO_RECOVER_STOP(r, TG_ERR_BROKEN, "table lives, row %llu: there is no such order",
                                (unsigned long long)o->life_id);
    struct tg_life *into = &o->block->lives[o->block->life_count];
    const char *problem =
        sto_row_life_decode(o->life_value.mv_data, o->life_value.mv_size, order_id, into);
    if (problem)
        return sto_recover_stop_damaged(r, "lives", order_id, problem);
    if (into->last_event > r->sequence_last)
        return STO_RECOVER_STOP(
            r, TG_ERR_BROKEN,
            "table lives, row %llu: its last event is %llu, and the newest of all is %llu",
            (unsigned long long)order_id, (unsigned long long)into->last_event,
            (unsigned long long)r->sequence_last);
    *life = into;
    o->block->life_count++;
    r->stats->lives++;
    return money_check(r, order_id, into) && life_next(o);
}

/* --- what holds of an order --- */

/* Adds `quantity` units of one line to its item's sums. */
static bool units_add(struct sto_recovering *r, uint64_t order_id, uint32_t item, uint32_t quantity,
                      const struct tg_life *life)
{
    if (item >= r->env->options.items_max || !r->env->items[item].known)
        return STO_RECOVER_STOP(r, TG_ERR_BROKEN,
                                "table orders, row %llu: its item %u does not exist",
                                (unsigned long long)order_id, item);
    enum tg_units units =
        life ? (enum tg_units)life->units : tg_policy_units(r->env->items[item].stock_policy);
    if (units == TG_UNITS_RESERVED)
        r->sums[item].reserved_units += quantity;
    else if (units == TG_UNITS_SOLD)
        r->sums[item].sold_units += quantity;
    return true;
}

static bool order_units_add(struct sto_recovering *r, const struct tg_order_row *row,
                            const struct tg_life *life)
{
    if (row->line_count == 0)
        return units_add(r, row->order_id, row->item, row->quantity, life);
    for (uint8_t i = 0; i < row->line_count; i++) {
        if (!units_add(r, row->order_id, row->lines[i].item, row->lines[i].quantity, life))
            return false;
    }
    return true;
}

/* What holds of an order's row among the others. */
static bool order_place_check(struct orders *o, const struct tg_order_row *row)
{
    struct sto_recovering *r = o->r;
    if (row->order_id <= o->last_order_id)
        return sto_recover_stop_damaged(r, "orders", row->order_id,
                                        "its id is not above the one before it");
    o->last_order_id = row->order_id;
    if (row->item < r->env->options.items_max && r->env->items[row->item].known &&
        row->order_id % TG_PARTITIONS != r->env->items[row->item].partition)
        return STO_RECOVER_STOP(
            r, TG_ERR_BROKEN,
            "table orders, row %llu: its id names partition %llu, its item %u belongs to %u",
            (unsigned long long)row->order_id, (unsigned long long)row->order_id % TG_PARTITIONS,
            row->item, r->env->items[row->item].partition);
    return true;
}

/* --- handing on --- */

/* Tells of a group of rows, and asks for those of the next group themselves: on the caller's thread
 * they lie in the cache of the other core. A group at once, because what is asked for misses the
 * processor's table of pages as well: side by side these misses cost as much as one. */
static void group_tell(const struct sto_recovery *to, const struct sto_order_taker *taker,
                       const struct block *block, uint32_t first)
{
    const struct entry *entries = block->entries;
    uint32_t end = first + GROUP_ROWS, end_next = end + GROUP_ROWS;
    for (uint32_t i = end; i < end_next && i < block->row_count; i++) {
        __builtin_prefetch(entries[i].row);
        __builtin_prefetch(&entries[i].row->item);
    }
    for (uint32_t i = first; taker->ahead && i < end && i < block->row_count; i++)
        taker->ahead(to->context, entries[i].row);
}

/* Gives rows to one of the two takers. How many it took; when not all, `fault` has its words. */
static uint32_t rows_give(const struct sto_recovery *to, const struct sto_order_taker *taker,
                          const struct block *block, struct tg_fault *fault)
{
    uint32_t count = block->row_count;
    group_tell(to, taker, block, 0);
    for (uint32_t i = 0; i < count; i++) {
        const struct entry *entry = &block->entries[i];
        if (i % GROUP_ROWS == 0)
            group_tell(to, taker, block, i + GROUP_ROWS);
        if (!taker->take(to->context, entry->row, entry->life, fault))
            return i;
    }
    return count;
}

/* The reader's thread, before the block is counted as filled. What the reader's taker refuses lies
 * before what was found wrong in rows behind it, and behind all that is handed on. */
static void block_take_first(struct orders *o)
{
    struct sto_recovering *r = o->r;
    struct block *block = o->block;
    if (!r->to->reader.take)
        return;
    uint32_t taken = rows_give(r->to, &r->to->reader, block, r->fault);
    if (taken == block->row_count)
        return;
    r->error = r->fault->error;
    block->row_count = taken;
}

/* The caller's thread. False: its taker refused. */
static bool block_hand_on(struct orders *o, const struct block *block)
{
    const struct sto_recovery *to = o->r->to;
    struct sto_order_taker taker = {.take = to->order, .ahead = to->order_ahead};
    if (!taker.take || rows_give(to, &taker, block, &o->refusal_fault) == block->row_count)
        return true;
    o->refusal = o->refusal_fault.error;
    return false;
}

/* Who waits is woken when half of the belt is ready for him, not for each block: a wake-up costs as
 * much as many rows. */
#define BLOCKS_TO_WAKE (BLOCKS / 2)

static uint64_t belt_full(const struct belt *belt)
{
    return belt->filled - belt->emptied;
}

/* The caller's thread: a block that is filled; NULL when there will be no more. */
static const struct block *belt_take(struct belt *belt)
{
    pthread_mutex_lock(&belt->lock);
    if (belt_full(belt) == 0) {
        while (belt_full(belt) < BLOCKS_TO_WAKE && !belt->ended)
            pthread_cond_wait(&belt->filled_more, &belt->lock);
    }
    const struct block *block = belt_full(belt) ? &belt->blocks[belt->emptied % BLOCKS] : NULL;
    pthread_mutex_unlock(&belt->lock);
    return block;
}

/* The caller's thread gives its block back. */
static void belt_give_back(struct belt *belt, bool refused)
{
    pthread_mutex_lock(&belt->lock);
    belt->emptied++;
    belt->refused = refused;
    if (refused || belt_full(belt) == BLOCKS - BLOCKS_TO_WAKE)
        pthread_cond_signal(&belt->emptied_more);
    pthread_mutex_unlock(&belt->lock);
}

/* The reader's block is full. The next one to fill, or NULL: nobody takes them any more. */
static struct block *belt_put(struct belt *belt)
{
    pthread_mutex_lock(&belt->lock);
    belt->filled++;
    if (belt_full(belt) == BLOCKS_TO_WAKE)
        pthread_cond_signal(&belt->filled_more);
    if (belt_full(belt) == BLOCKS) {
        while (belt_full(belt) > BLOCKS - BLOCKS_TO_WAKE && !belt->refused)
            pthread_cond_wait(&belt->emptied_more, &belt->lock);
    }
    struct block *block = belt->refused ? NULL : &belt->blocks[belt->filled % BLOCKS];
    pthread_mutex_unlock(&belt->lock);
    return block;
}

/* The reader's block goes the way of all blocks. False: no more of them. */
static bool block_finish(struct orders *o)
{
    block_take_first(o);
    if (o->r->to->reads_ahead)
        o->block = belt_put(o->belt);
    else if (!block_hand_on(o, o->block))
        o->block = NULL;
    if (o->r->error)
        o->block = NULL;
    if (o->block) {
        o->block->row_count = o->block->life_count = 0;
        o->block->room_used = 0;
    }
    return o->block != NULL;
}

/* --- reading --- */

static bool order_visit(void *context, const MDB_val *key, const MDB_val *value)
{
    struct orders *o = context;
    struct sto_recovering *r = o->r;
    struct block *block = o->block;
    uint64_t order_id;
    if (!sto_key_read(key, &order_id, sizeof(order_id)))
        return sto_recover_stop_key(r, "orders");
    struct tg_order_row *row = (struct tg_order_row *)(void *)&block->room[block->room_used];
    const struct tg_life *life;
    /* The two lines of a row at this place of the next leaf. Wherever they are, nothing is read. */
    __builtin_prefetch((const uint8_t *)value->mv_data + LEAF_BYTES);
    __builtin_prefetch((const uint8_t *)value->mv_data + LEAF_BYTES + 64);
    const char *problem = sto_row_order_decode(value->mv_data, value->mv_size, order_id, row);
    if (problem)
        return sto_recover_stop_damaged(r, "orders", order_id, problem);
    if (!order_place_check(o, row) || !life_of(o, order_id, &life) ||
        !order_units_add(r, row, life))
        return false;
    r->stats->orders++;
    r->sequences += order_id >> TG_PARTITION_BITS >= r->env->stats.event_first;
    block->entries[block->row_count++] = (struct entry){row, life};
    block->room_used += ROW_BYTES + row->line_count * sizeof(row->lines[0]);
    if (block->row_count < BLOCK_ROWS && block->life_count < BLOCK_LIVES &&
        sizeof(*row) <= ROOM_BYTES - block->room_used)
        return true;
    return block_finish(o);
}

/* No life is behind the last order. */
static bool lives_end(struct orders *o)
{
    if (o->life_id == NO_LIFE)
        return true;
    return STO_RECOVER_STOP(o->r, TG_ERR_BROKEN, "table lives, row %llu: there is no such order",
                            (unsigned long long)o->life_id);
}

/* All orders with their lives; r->error says why it ended early, unless a callback refused. */
static void orders_read(struct orders *o)
{
    struct sto_recovering *r = o->r;
    int rc = mdb_cursor_open(r->txn, r->env->tables.lives, &o->lives);
    if (!rc && life_next(o))
        rc = sto_table_walk(r->txn, r->env->tables.orders, order_visit, o);
    if (o->lives)
        mdb_cursor_close(o->lives);
    if (rc)
        r->error = sto_fault_lmdb(r->fault, rc, "cannot read the database");
    if (o->block && block_finish(o))
        lives_end(o);
}

static void *reader_run(void *argument)
{
    struct orders *o = argument;
    orders_read(o);
    pthread_mutex_lock(&o->belt->lock);
    o->belt->ended = true;
    pthread_cond_signal(&o->belt->filled_more);
    pthread_mutex_unlock(&o->belt->lock);
    return NULL;
}

/* Hands on what another thread reads. */
static void orders_read_ahead(struct orders *o)
{
    struct belt *belt = o->belt;
    pthread_t reader;
    pthread_mutex_init(&belt->lock, NULL);
    pthread_cond_init(&belt->filled_more, NULL);
    pthread_cond_init(&belt->emptied_more, NULL);
    enum tg_error error = tg_thread_start(&reader, reader_run, o, "recovery", o->r->fault);
    if (error) { /* else it is the reader's by now */
        o->r->error = error;
    } else {
        const struct block *block;
        bool taken = true;
        while (taken && (block = belt_take(belt))) {
            taken = block_hand_on(o, block);
            belt_give_back(belt, !taken);
        }
        pthread_join(reader, NULL);
    }
    pthread_cond_destroy(&belt->emptied_more);
    pthread_cond_destroy(&belt->filled_more);
    pthread_mutex_destroy(&belt->lock);
}

enum tg_error sto_recover_orders(struct sto_recovering *r)
{
    size_t bytes = r->to->reads_ahead ? sizeof(struct belt)
                                      : offsetof(struct belt, blocks) + sizeof(struct block);
    struct belt *belt = tg_mem_map(bytes);
    if (!belt)
        return tg_fault_set(r->fault, TG_ERR_NOMEM, "no memory to read the orders");
    struct orders o = {.r = r, .belt = belt, .block = &belt->blocks[0]};
    if (r->to->reads_ahead)
        orders_read_ahead(&o);
    else
        orders_read(&o);
    tg_mem_unmap(belt, bytes);
    if (!o.refusal)
        return r->error;
    *r->fault = o.refusal_fault;
    return o.refusal;
}
