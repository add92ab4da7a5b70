/* Requests whose answers a test does not wait for, because the disk stands still
 * (daemon_disk_hold), and how it knows that the server has come to them all the same.
 *
 * Functions that cannot do what they say fail the test. One thread.
 */
#ifndef TG_TESTS_PENDING_H
#define TG_TESTS_PENDING_H

#include "tests/lib/peer.h"
#include "tests/lib/sale.h"

/* Creates the sale and waits for the event that it has started, the first of all events: from then
 * on no commit is made but for what the test asks. */
void pending_create_sale(struct tgc_client *client, Tidegate__V1__CreateSaleRequest *sale);

/* Sends a PlaceOrder. */
void pending_order(struct peer *peer, uint64_t correlation_id, const struct tg_order *order);

/* The next answer, which must be to this request; of PlaceOrder, OpenTeam and JoinTeam what it says
 * of the order. */
struct tg_answer pending_answer(struct peer *peer, uint64_t correlation_id);

/* All that the peer has sent was decided or waits when this returns, and nothing of it has an
 * answer yet. */
void pending_expect(struct peer *peer);

#endif
