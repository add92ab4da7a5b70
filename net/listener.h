/* Listening sockets: one for each core thread, on one port, the kernel spreads connections over
 * them (SO_REUSEPORT). */
#ifndef TG_NET_LISTENER_H
#define TG_NET_LISTENER_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* An address to listen on, resolved. */
struct net_address {
    char host[256];
    uint16_t port; /* 0: the kernel picks a free one */
};

/* Reads "host:port" or "[v6]:port". TG_ERR_INVALID says what is wrong with it. */
enum tg_error net_address_parse(const char *text, struct net_address *address,
                                struct tg_fault *fault);

/* `*loopback`: every address that the host resolves to is a loopback address. Fails when it does
 * not resolve. */
enum tg_error net_address_is_loopback(const struct net_address *address, bool *loopback,
                                      struct tg_fault *fault);

/* Fails when another program listens on the address. SO_REUSEPORT would let two daemons of one user
 * share a port in silence, each with half of the connections and its own data; ask this before the
 * first net_listen. */
enum tg_error net_listen_check(const struct net_address *address, struct tg_fault *fault);

/* Opens a listening socket; a port of 0 is replaced by the one that the kernel picked, so that the
 * next call opens its sibling. The descriptor is the caller's. */
enum tg_error net_listen(struct net_address *address, int *fd, struct tg_fault *fault);

#endif
