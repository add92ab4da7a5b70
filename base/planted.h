/* Faults that are planted in the product to prove that the simulation finds them (make sim). Only a
 * build with -DTG_PLANTED_FAULT has them; in every other TG_PLANTED is 0 and leaves no trace. */
#ifndef TG_BASE_PLANTED_H
#define TG_BASE_PLANTED_H

#define TG_PLANTED_FAULTS(X)                                                                       \
    X(ANSWER_BEFORE_DURABLE, "a batch is called durable that was not written")                     \
    X(SEAT_AFTER_DEADLINE, "a seat is claimed after the team's deadline")                          \
    X(STOCK_RETURNED_TWICE, "a cancelled order returns its units twice")                           \
    X(REQUEST_ID_LATE, "a request id is known only when its order is durable")                     \
    X(RETRY_NOT_COMPARED, "another body under a known request id is called a retry")               \
    X(LIMIT_WITHOUT_IN_FLIGHT, "a limit is not checked while orders are in flight")                \
    X(CART_LINE_FORGOTTEN, "a cart lets go of all lines but the last")                             \
    X(LATE_WITHOUT_UNITS, "an expired order is paid without taking units")                         \
    X(CAPTAIN_UNPAID, "a team is handed over to a member that has not paid")                       \
    X(REFUND_UNCHECKED, "more is refunded than was received")                                      \
    X(TIMER_NOT_RESTORED, "a start forgets the payment deadlines")                                 \
    X(EVENT_LOST, "money becomes due and nobody is told")                                          \
    X(UNITS_LOST_ON_REFUSAL, "an order that the storage refused keeps its units")                  \
    X(EXTENSION_IGNORED, "an order expires at its first deadline")                                 \
    X(SHADOW_KEPT_ON_REFUSAL, "the writer's stock keeps a refused batch")                          \
    X(COUNT_NOT_RESTORED, "a start forgets who holds what")                                        \
    X(TEAM_OVERFULL, "a late payment takes a seat in a full team")                                 \
    X(PAYMENT_TWICE, "one payment, told twice, is recorded twice")                                 \
    X(ACK_KEPT_ON_REFUSAL, "an ack that the storage refused moves its group on")                   \
    X(RETENTION_BEYOND_ACK, "events are dropped that a group has not acked")                       \
    X(GROUP_AT_ITS_BEGINNING, "a start forgets how far a group has acked")                         \
    X(ID_FORGOTTEN_EARLY, "a request id is forgotten at half its time")                            \
    X(TIMER_ROOM_LEAKED, "an order that the storage refused keeps room for its timer")             \
    X(ID_KEPT_WHEN_FULL, "an order that finds a table full keeps its request id")                  \
    X(CLOSED_WITHOUT_DISK, "a sale changes its state though the storage refused")                  \
    X(CREATION_NEVER_ENDS, "a refused creation of a sale is in flight for ever")

#ifdef TG_PLANTED_FAULT
enum tg_planted {
    TG_PLANTED_NONE,
#define TG_PLANTED_ENUM(name, text) TG_PLANTED_##name,
    TG_PLANTED_FAULTS(TG_PLANTED_ENUM)
#undef TG_PLANTED_ENUM
};
extern int tg_planted_fault; /* set once, before the threads start */
#define TG_PLANTED(name) (tg_planted_fault == TG_PLANTED_##name)
#else
#define TG_PLANTED(name) 0
#endif

#endif
