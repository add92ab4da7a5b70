/* Requests as bytes, for the database of fuzz_request.c and for its seeds: sale 1001 with items A
 * to F (of the three policies, two each), group-buy 1002 for teams of two with items A and B.
 * Prices are 100. Numbers make request ids. One thread. */
#ifndef TG_TESTS_FUZZ_MESSAGES_H
#define TG_TESTS_FUZZ_MESSAGES_H

#include "base/limits.h"
#include "proto/verdict.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_SALE      1001
#define MESSAGE_GROUP_BUY 1002
#define MESSAGE_AT_MS     1763800000000
#define MESSAGE_PRICE     100

struct message {
    uint8_t data[1024];
    size_t size;
};

struct message message_pack(const Tidegate__V1__Request *request);

struct message message_sale(uint64_t sale_id);
struct message message_order(uint64_t number, const char *sku, uint64_t user_id, uint32_t quantity);
/* Of one unit each of two items. */
struct message message_cart(uint64_t number, const char *sku, const char *other, uint64_t user_id);
/* Opens a team, or with a team id joins it. */
struct message message_seat(uint64_t number, uint64_t user_id, uint64_t team_id);
struct message message_ingest(uint64_t number, bool is_paid);
/* A change of this kind: Tidegate__V1__ChangeOrderRequest__ChangeCase. */
struct message message_change(uint64_t number, uint64_t order_id, int kind);
/* Adds units to an item of MESSAGE_SALE; with `expected` above 0, sets them if there are so many.
 */
struct message message_adjust(const char *sku, int64_t units, uint64_t expected);
struct message message_group(int kind, const char *group, uint64_t sequence);
/* The request of this kind with no field set but what is needed to find something. */
struct message message_read(int kind, uint64_t id);

/* Every field of a message of this type, on the wire: of a oneof the first, of a repeated one two;
 * what it contains as well, `depth` levels down. Returns the bytes written to `to`, which has
 * `room`; what does not fit is left out. */
size_t message_sample(const ProtobufCMessageDescriptor *type, unsigned depth, uint8_t *to,
                      size_t room);

#endif
