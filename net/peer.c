#include "net/peer.h"

#include "base/hash.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

void net_peer_of(int fd, struct net_peer *peer)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    socklen_t bytes = sizeof(storage);
    *peer = (struct net_peer){.is_known = false};
    if (getpeername(fd, (struct sockaddr *)&storage, &bytes) != 0)
        return;
    if (storage.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&storage;
        memcpy(peer->address, mapped, sizeof(mapped));
        memcpy(peer->address + sizeof(mapped), &v4->sin_addr, 4);
        peer->port = ntohs(v4->sin_port);
        peer->is_known = true;
    } else if (storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&storage;
        memcpy(peer->address, &v6->sin6_addr, 16);
        peer->port = ntohs(v6->sin6_port);
        peer->is_known = true;
    }
}

static bool is_mapped(const struct net_peer *peer)
{
    return memcmp(peer->address, mapped, sizeof(mapped)) == 0;
}

const char *net_peer_text(const struct net_peer *peer, char text[NET_PEER_TEXT_BYTES])
{
    char address[INET6_ADDRSTRLEN] = "";
    if (!peer->is_known)
        snprintf(text, NET_PEER_TEXT_BYTES, "unknown");
    else if (is_mapped(peer))
        snprintf(text, NET_PEER_TEXT_BYTES, "%u.%u.%u.%u:%u", peer->address[12], peer->address[13],
                 peer->address[14], peer->address[15], peer->port);
    else
        snprintf(text, NET_PEER_TEXT_BYTES, "[%s]:%u",
                 inet_ntop(AF_INET6, peer->address, address, sizeof(address)) ? address : "",
                 peer->port);
    return text;
}

uint64_t net_peer_key(const struct net_peer *peer, uint64_t seed)
{
    if (!peer->is_known)
        return 0;
    return tg_hash(peer->address, is_mapped(peer) ? 16 : 8, seed) | 1;
}
