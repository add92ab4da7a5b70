/* How long the answers to refused tokens wait, by a clock that the tests turn. */
#include "server/suspects.h"

#include "base/clock.h"
#include "net/peer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

#define START_NS (1000 * TG_NS_PER_S)

static struct srv_suspects suspects;

static int64_t failed_ms(uint64_t key, int64_t now_ns)
{
    return (srv_suspects_failed(&suspects, key, now_ns) - now_ns) / TG_NS_PER_MS;
}

Test(suspects, each_refusal_waits_twice_as_long_as_the_one_before_up_to_a_bound)
{
    const int64_t expected[] = {100, 200, 400, 800, 1600, 3200, 3200, 3200};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        cr_assert_eq(failed_ms(7, START_NS + (int64_t)i), expected[i], "%zu", i);
    cr_assert_eq(failed_ms(9, START_NS), 100, "another address has its own count");
}

Test(suspects, who_was_quiet_for_a_minute_begins_anew)
{
    for (int i = 0; i < 10; i++)
        failed_ms(7, START_NS);
    int64_t later_ns = START_NS + SRV_SUSPECT_FORGET_NS;
    cr_assert_eq(failed_ms(7, later_ns - 1), 3200);
    cr_assert_eq(failed_ms(7, later_ns - 1 + SRV_SUSPECT_FORGET_NS), 100);
}

Test(suspects, what_is_due_is_the_newest_refusal_until_its_time_is_over)
{
    cr_assert_eq(srv_suspects_due(&suspects, 7, START_NS), START_NS, "nobody yet");
    failed_ms(7, START_NS);
    int64_t due_ns = srv_suspects_failed(&suspects, 7, START_NS);
    cr_assert_eq(srv_suspects_due(&suspects, 7, START_NS + 1), due_ns);
    cr_assert_eq(srv_suspects_due(&suspects, 9, START_NS + 1), START_NS + 1);
    cr_assert_eq(srv_suspects_due(&suspects, 7, due_ns + 1), due_ns + 1);
}

Test(suspects, a_full_set_forgets_who_was_quiet_for_longest)
{
    for (uint64_t i = 0; i < SRV_SUSPECT_WAYS; i++) /* keys of one set */
        for (int again = 0; again < 3; again++)
            failed_ms(2 * i + 1, START_NS + (int64_t)i);
    cr_assert_eq(failed_ms(1, START_NS + 100), 800, "the first is the newest now");
    failed_ms(99, START_NS + 101);
    cr_assert_eq(failed_ms(1, START_NS + 102), 1600);
    cr_assert_eq(failed_ms(5, START_NS + 103), 800);
    cr_assert_eq(failed_ms(7, START_NS + 104), 800);
    cr_assert_eq(failed_ms(3, START_NS + 105), 100, "this one made room");
}

/* --- the addresses that are counted --- */

static struct net_peer peer_of(const char *text, uint16_t port)
{
    struct net_peer peer = {.port = port, .is_known = true};
    cr_assert_eq(inet_pton(AF_INET6, text, peer.address), 1);
    return peer;
}

Test(peer, an_ipv4_address_counts_whole_and_an_ipv6_one_by_its_network)
{
    struct net_peer a = peer_of("::ffff:192.0.2.1", 1), b = peer_of("::ffff:192.0.2.1", 2);
    struct net_peer c = peer_of("::ffff:192.0.2.2", 1);
    cr_assert_eq(net_peer_key(&a, 5), net_peer_key(&b, 5), "whatever the port");
    cr_assert_neq(net_peer_key(&a, 5), net_peer_key(&c, 5));
    cr_assert_neq(net_peer_key(&a, 5), net_peer_key(&a, 6), "the seed counts");
    struct net_peer d = peer_of("2001:db8:0:1::1", 1), e = peer_of("2001:db8:0:1:2:3:4:5", 1);
    struct net_peer f = peer_of("2001:db8:0:2::1", 1);
    cr_assert_eq(net_peer_key(&d, 5), net_peer_key(&e, 5));
    cr_assert_neq(net_peer_key(&d, 5), net_peer_key(&f, 5));
    struct net_peer unknown = {.is_known = false};
    cr_assert_eq(net_peer_key(&unknown, 5), 0);
}

Test(peer, it_is_shown_as_it_would_be_typed)
{
    char text[NET_PEER_TEXT_BYTES];
    struct net_peer peer = peer_of("::ffff:192.0.2.17", 65535);
    cr_assert_str_eq(net_peer_text(&peer, text), "192.0.2.17:65535");
    peer = peer_of("2001:db8::1", 80);
    cr_assert_str_eq(net_peer_text(&peer, text), "[2001:db8::1]:80");
    peer.is_known = false;
    cr_assert_str_eq(net_peer_text(&peer, text), "unknown");
}
