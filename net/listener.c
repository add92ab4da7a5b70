#include "net/listener.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG  4096
/* How long a port may be in use before that is an error. */
#define RELEASE_NS      (3 * TG_NS_PER_S)
#define RELEASE_POLL_US 5000

enum tg_error net_address_parse(const char *text, struct net_address *address,
                                struct tg_fault *fault)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t host_bytes = colon ? (size_t)(colon - text) : 0;
    if (host_bytes >= 2 && host[0] == '[' && host[host_bytes - 1] == ']') {
        host++;
        host_bytes -= 2;
    }
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (host_bytes == 0 || host_bytes >= sizeof(address->host) || colon[1] < '0' ||
        colon[1] > '9' || *end != '\0' || port > UINT16_MAX)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "'%s' is no address: write HOST:PORT, such as 127.0.0.1:7411 or "
                            "[::1]:7411",
                            text);
    memcpy(address->host, host, host_bytes);
    address->host[host_bytes] = '\0';
    address->port = (uint16_t)port;
    return TG_ERR_OK;
}

static enum tg_error resolve(const struct net_address *address, struct addrinfo **found,
                             struct tg_fault *fault)
{
    char port[8];
    snprintf(port, sizeof(port), "%u", address->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int status = getaddrinfo(address->host, port, &hints, found);
    if (status != 0)
        return tg_fault_set(fault, TG_ERR_INVALID, "cannot resolve %s: %s", address->host,
                            gai_strerror(status));
    return TG_ERR_OK;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    }
    return false;
}

enum tg_error net_address_is_loopback(const struct net_address *address, bool *loopback,
                                      struct tg_fault *fault)
{
    struct addrinfo *found;
    enum tg_error error = resolve(address, &found, fault);
    if (error != TG_ERR_OK)
        return error;
    *loopback = true;
    for (const struct addrinfo *each = found; each; each = each->ai_next)
        *loopback = *loopback && is_loopback(each->ai_addr);
    freeaddrinfo(found);
    return TG_ERR_OK;
}

static enum tg_error learn_port(int fd, struct net_address *address, struct tg_fault *fault)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {.v6 = {.sin6_port = 0}};
    socklen_t size = sizeof(bound);
    if (getsockname(fd, &bound.any, &size) < 0)
        return tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno, "getsockname");
    address->port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    return TG_ERR_OK;
}

/* Binds once, without SO_REUSEPORT, so that any listener is in the way; with SO_REUSEADDR, so that
 * connections in TIME_WAIT are not. 0 or errno. */
static int try_bind(const struct addrinfo *at)
{
    int one = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int code = fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
                       bind(fd, at->ai_addr, at->ai_addrlen) < 0
                   ? errno
                   : 0;
    if (fd >= 0)
        close(fd);
    return code;
}

enum tg_error net_listen_check(const struct net_address *address, struct tg_fault *fault)
{
    struct addrinfo *found;
    enum tg_error error = resolve(address, &found, fault);
    if (error != TG_ERR_OK)
        return error;
    /* The kernel ends the io_uring of a killed process in the background, and until then it holds
     * the listener: a start right after a crash finds the port in use for some milliseconds. */
    int64_t deadline_ns = tg_clock_mono_ns() + RELEASE_NS;
    int code;
    while ((code = try_bind(found)) == EADDRINUSE && tg_clock_mono_ns() < deadline_ns)
        usleep(RELEASE_POLL_US);
    if (code != 0)
        error = tg_fault_set_errno(fault, TG_ERR_SYSTEM, code, "cannot listen on %s:%u",
                                   address->host, address->port);
    freeaddrinfo(found);
    return error;
}

enum tg_error net_listen(struct net_address *address, int *fd, struct tg_fault *fault)
{
    struct addrinfo *found;
    enum tg_error error = resolve(address, &found, fault);
    if (error != TG_ERR_OK)
        return error;
    int one = 1;
    *fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0) {
        error = tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno, "socket");
        goto err_after_resolve;
    }
    /* Accepted sockets inherit TCP_NODELAY. */
    if (setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        setsockopt(*fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
        setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
        bind(*fd, found->ai_addr, found->ai_addrlen) < 0 || listen(*fd, LISTEN_BACKLOG) < 0) {
        error = tg_fault_set_errno(fault, TG_ERR_SYSTEM, errno, "cannot listen on %s:%u",
                                   address->host, address->port);
        goto err_after_socket;
    }
    error = learn_port(*fd, address, fault);
    if (error != TG_ERR_OK)
        goto err_after_socket;
    freeaddrinfo(found);
    return TG_ERR_OK;

err_after_socket:
    close(*fd);
err_after_resolve:
    freeaddrinfo(found);
    return error;
}
