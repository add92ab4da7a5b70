#include "client/internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* On loopback the kernel may join a connecting socket to itself when it picks the very port it
 * connects to and nobody listens there; a client that reconnects in a loop meets this in time. */
static bool is_self_connected(int fd)
{
    struct sockaddr_storage own = {0}, peer = {0};
    socklen_t own_bytes = sizeof(own), peer_bytes = sizeof(peer);
    return getsockname(fd, (struct sockaddr *)&own, &own_bytes) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_bytes) == 0 && own_bytes == peer_bytes &&
           memcmp(&own, &peer, own_bytes) == 0;
}

/* Without these a server that lost its power would be waited for until the caller's time is over,
 * and no second attempt would be left. They are comfort: a kernel without them still works. */
static void give_up_on_silence(int fd, uint32_t silence_ms)
{
    int on = 1, idle_s = (int)(silence_ms / 1000) + 1, interval_s = 1, probes = 3;
    unsigned int unacked_ms = silence_ms;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof(unacked_ms));
}

/* Waits until the connection stands; 0, or the errno of why not. */
static int finish_connect(int fd, int64_t deadline_ns)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int ready;
    do {
        ready = poll(&wait, 1, (int)tgc_left_ms(deadline_ns));
    } while (ready < 0 && errno == EINTR);
    if (ready < 0)
        return errno;
    if (ready == 0)
        return ETIMEDOUT;
    int code = 0;
    socklen_t code_bytes = sizeof(code);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &code_bytes) != 0)
        return errno;
    return code;
}

/* One address; 0, or the errno of why not. */
static int connect_one(const struct addrinfo *address, int64_t deadline_ns, int *out)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int code = 0;
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0)
        code = errno == EINPROGRESS || errno == EINTR ? finish_connect(fd, deadline_ns) : errno;
    if (code == 0 && is_self_connected(fd))
        code = ECONNREFUSED;
    if (code != 0) {
        close(fd);
        return code;
    }
    *out = fd;
    return 0;
}

static enum tg_error connect_fault(const char *name, int code, struct tg_fault *fault)
{
    if (code == ECONNREFUSED)
        return tg_fault_set_errno(fault, TG_ERR_SYSTEM, code,
                                  "cannot connect to %s, nothing listens there", name);
    if (code == ETIMEDOUT)
        return tg_fault_set(fault, TG_ERR_TIMEOUT, "cannot connect to %s: no answer in time", name);
    return tg_fault_set_errno(fault, TG_ERR_SYSTEM, code, "cannot connect to %s", name);
}

enum tg_error tgc_connect(const char *host, const char *port, const char *name, int64_t deadline_ns,
                          uint32_t silence_ms, int *fd, struct tg_fault *fault)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    int failed = getaddrinfo(host, port, &hints, &addresses);
    if (failed)
        return tg_fault_set(fault, TG_ERR_SYSTEM, "cannot resolve the host of %s: %s", name,
                            failed == EAI_SYSTEM ? strerror(errno) : gai_strerror(failed));
    uint32_t left = 0;
    for (const struct addrinfo *address = addresses; address; address = address->ai_next)
        left++;
    int code = EADDRNOTAVAIL;
    for (const struct addrinfo *address = addresses; address && code; address = address->ai_next) {
        int64_t share_ns = (deadline_ns - tg_clock_mono_ns()) / left--;
        code = connect_one(address, tg_clock_mono_ns() + share_ns, fd);
    }
    freeaddrinfo(addresses);
    if (code)
        return connect_fault(name, code, fault);
    give_up_on_silence(*fd, silence_ms);
    return TG_ERR_OK;
}
