/* The address of a peer, as logs show it and as limits count it. Any thread. */
#ifndef TG_NET_PEER_H
#define TG_NET_PEER_H

#include <stdbool.h>
#include <stdint.h>

struct net_peer {
    uint8_t address[16]; /* IPv6; an IPv4 address is ::ffff:a.b.c.d */
    uint16_t port;
    bool is_known; /* else nothing here counts */
};

/* "[2001:db8::1]:65535" and its end, with room to spare. */
#define NET_PEER_TEXT_BYTES 64

/* Who is at the other end of a connected socket. */
void net_peer_of(int fd, struct net_peer *peer);

/* "192.0.2.7:4711", "[2001:db8::1]:4711", "unknown". Returns `text`. */
const char *net_peer_text(const struct net_peer *peer, char text[NET_PEER_TEXT_BYTES]);

/* One number for one caller: a keyed hash of an IPv4 address, or of the upper half of an IPv6 one,
 * of which everybody has 2^64. Never 0; 0 for an unknown one. */
uint64_t net_peer_key(const struct net_peer *peer, uint64_t seed);

#endif
