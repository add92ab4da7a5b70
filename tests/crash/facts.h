/* What the daemon acknowledged, each fact with the position of the log (log.h) at which its answer
 * was there: what a crash image from behind that position must hold.
 *
 *   order     an order stands, with all that was asked for
 *   life      what became of an order, as an answer showed it, at one version of the order
 *   register  a value that one client alone changes, one change after the other: the state of a
 *             sale, the units adjusted of an item, the offset of a group. An image holds the newest
 *             one acknowledged, or the one that was on its way.
 *   event     an event of the outbox, as a consumer was shown it under its sequence
 *
 * Values are compared as prints: hashes over every field, made from the messages of the contract on
 * one side and from stored rows on the other. Written by load.c, saved beside the log, read by
 * check.c. One thread.
 */
#ifndef TG_TESTS_CRASH_FACTS_H
#define TG_TESTS_CRASH_FACTS_H

#include "base/record.h"
#include "tidegate/v1/tidegate.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FACTS_ABSENT    UINT64_MAX /* the value of a register that is not there */
#define FACTS_ITEMS_MAX 4096       /* as the daemon is told in host.c */

struct fact_order {
    uint64_t order_id;
    uint64_t answered; /* position */
    uint64_t print;
};

struct fact_life {
    uint64_t order_id;
    uint64_t version;
    uint64_t answered;
    uint64_t print;
};

struct fact_register {
    uint64_t key;
    uint64_t order; /* of the changes of one key */
    uint64_t sent;  /* position when it was asked for */
    uint64_t answered;
    uint64_t value;
    char name[32]; /* for people */
};

struct fact_event {
    uint64_t sequence;
    uint64_t answered;
    uint64_t print;
};

/* The part of the log that a workload wrote. */
struct fact_phase {
    char name[24];
    uint64_t begins;
};

struct facts_list {
    void *at;
    uint64_t count, room;
};

struct facts {
    struct facts_list orders;    /* struct fact_order, by order_id once sorted */
    struct facts_list lives;     /* struct fact_life, by (order_id, version) once sorted */
    struct facts_list registers; /* struct fact_register, by (key, order) once sorted */
    struct facts_list events;    /* struct fact_event, by sequence once sorted */
    struct facts_list phases;    /* struct fact_phase */
};

/* A fact of the list at `index`. */
#define FACTS_AT(type, list, index) (&((struct type *)(list).at)[index])

/* Appends a copy; exits without memory. */
void facts_add(struct facts_list *list, const void *fact, size_t bytes);
/* Sorts them and leaves the earliest of those that say the same. False, with a line on stderr, when
 * two answers contradict each other. */
bool facts_settle(struct facts *facts);
bool facts_save(const struct facts *facts, const char *path);
bool facts_load(struct facts *facts, const char *path);
void facts_free(struct facts *facts);

/* --- prints --- */

uint64_t facts_key(const char *kind, uint64_t sale_id, const char *name);
/* Stands for (sale, SKU) wherever an item is named. */
uint64_t facts_item(uint64_t sale_id, const void *sku, size_t sku_bytes);

/* What an order was asked to be. Lines count in any order; a plain order is one line. */
struct facts_asked {
    uint64_t user_id;
    uint64_t team_id;
    int64_t accepted_at_ms;
    uint16_t channel;
    uint8_t external_bytes;
    bool ingested;          /* the server makes its request id */
    uint8_t request_id[16]; /* unless ingested */
    uint8_t external_id[TG_EXTERNAL_BYTES_MAX];
    uint64_t lines; /* the sum of facts_line over all of them */
};

uint64_t facts_line(uint64_t item, uint32_t quantity, int64_t unit_price_minor);
uint64_t facts_print_asked(const struct facts_asked *asked);
uint64_t facts_print_message(const Tidegate__V1__Order *order);
uint64_t facts_print_life(const struct tg_life *life);
/* A stored row; `items` has facts_item of each item number below FACTS_ITEMS_MAX. */
uint64_t facts_print_row(const uint64_t *items, const struct tg_order_row *row);
uint64_t facts_print_event_message(const Tidegate__V1__Event *event);
uint64_t facts_print_event(const struct tg_event *event);

#endif
