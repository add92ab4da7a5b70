#include "tests/abuse/storm.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NICE            19
#define ADDRESSES       8 /* 127.0.0.2 and on */
#define EVENTS          256
#define CONNECTS_A_TURN 64
#define TRICKLE_NS      (50 * TG_NS_PER_MS)
#define TAKE_BYTES      65536
/* Of one connection before the others have their turn. */
#define SEND_BYTES      (256 * 1024)
/* Descriptors that are no connections. */
#define FILES_KEPT      32

struct conn {
    int fd; /* -1: none */
    bool is_up;
    size_t at; /* of its bytes: what goes next */
    const struct storm_bytes *bytes;
};

struct engine {
    const struct storm_kind *kind;
    const struct scene *scene;
    struct storm_tally *tally;
    struct conn *conns;
    uint32_t count;
    uint32_t next; /* that is connected when it is down */
    uint32_t address;
    int poll_fd;
    int64_t trickled_ns;
};

uint8_t *storm_room(struct storm_bytes *out, size_t bytes)
{
    if (out->size + bytes > out->room) {
        out->room = 2 * out->room + bytes;
        out->bytes = realloc(out->bytes, out->room);
        if (!out->bytes)
            scene_fail("no memory for what an abuser sends");
    }
    return out->bytes + out->size;
}

static void count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* --- connections --- */

/* Begins to connect; false when the system has no more sockets for us. */
static bool begin_connect(struct engine *engine, struct conn *conn)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(engine->scene->node.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in from = {.sin_family = AF_INET};
    int one = 1;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + engine->address++ % ADDRESSES);
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        return false;
    /* The port is chosen by the connect, so that each address has all of them. */
    setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.ptr = conn};
    if (bind(conn->fd, (struct sockaddr *)&from, sizeof(from)) ||
        (connect(conn->fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS) ||
        epoll_ctl(engine->poll_fd, EPOLL_CTL_ADD, conn->fd, &event)) {
        close(conn->fd);
        conn->fd = -1;
        return false;
    }
    conn->is_up = false;
    conn->at = 0;
    return true;
}

static void connect_some(struct engine *engine)
{
    for (uint32_t i = 0, tries = 0; i < CONNECTS_A_TURN && tries < engine->count; tries++) {
        struct conn *conn = &engine->conns[engine->next];
        engine->next = (engine->next + 1) % engine->count;
        if (conn->fd >= 0)
            continue;
        if (!begin_connect(engine, conn))
            return;
        i++;
    }
}

static void drop(struct engine *engine, struct conn *conn, bool by_server)
{
    /* A reset instead of a farewell, so that no port waits. */
    struct linger linger = {.l_onoff = 1};
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(conn->fd);
    conn->fd = -1;
    if (conn->is_up)
        count(&engine->tally->open, (uint64_t)-1);
    count(&engine->tally->ended, by_server);
}

static void watch(const struct engine *engine, struct conn *conn, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLRDHUP, .data.ptr = conn};
    epoll_ctl(engine->poll_fd, EPOLL_CTL_MOD, conn->fd, &event);
}

/* --- what it does --- */

/* False when the connection has ended. */
static bool send_more(struct engine *engine, struct conn *conn, size_t most)
{
    const struct storm_bytes *bytes = conn->bytes;
    bool repeats = engine->kind->manner == STORM_REPEAT;
    for (size_t total = 0; total < most && conn->at < bytes->size;) {
        size_t left = bytes->size - conn->at;
        ssize_t sent = send(conn->fd, bytes->bytes + conn->at,
                            left < most - total ? left : most - total, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        count(&engine->tally->sent, (uint64_t)sent);
        total += (size_t)sent;
        conn->at += (size_t)sent;
        if (repeats && conn->at == bytes->size)
            conn->at = 0;
    }
    return true;
}

static bool take(struct engine *engine, struct conn *conn)
{
    static uint8_t scratch[TAKE_BYTES];
    for (int i = 0; i < 4; i++) {
        ssize_t got = recv(conn->fd, scratch, sizeof(scratch), 0);
        if (got == 0)
            return false;
        if (got < 0)
            return errno == EAGAIN || errno == EINTR;
        count(&engine->tally->received, (uint64_t)got);
    }
    return true;
}

static void came_up(struct engine *engine, struct conn *conn)
{
    conn->is_up = true;
    count(&engine->tally->connected, 1);
    count(&engine->tally->open, 1);
    uint64_t open = atomic_load_explicit(&engine->tally->open, memory_order_relaxed);
    if (open > atomic_load_explicit(&engine->tally->open_max, memory_order_relaxed))
        atomic_store_explicit(&engine->tally->open_max, open, memory_order_relaxed);
}

/* It has sent all that it ever will, or nothing at all. */
static bool has_sent_all(const struct engine *engine, const struct conn *conn)
{
    return engine->kind->manner == STORM_TRICKLE || conn->at == conn->bytes->size;
}

static void on_event(struct engine *engine, struct conn *conn, uint32_t events)
{
    const struct storm_kind *kind = engine->kind;
    bool goes_on = !(events & (EPOLLERR | EPOLLHUP));
    if (goes_on && !conn->is_up && events & EPOLLOUT)
        came_up(engine, conn);
    if (goes_on && conn->is_up && kind->manner != STORM_TRICKLE && events & EPOLLOUT)
        goes_on = send_more(engine, conn, SEND_BYTES);
    if (goes_on && conn->is_up && kind->reads && events & EPOLLIN)
        goes_on = take(engine, conn);
    if (goes_on && events & EPOLLRDHUP)
        goes_on = false;
    bool is_over =
        goes_on && conn->is_up && kind->manner == STORM_CHURN && has_sent_all(engine, conn);
    if (!goes_on || is_over)
        drop(engine, conn, !goes_on);
    else if (conn->is_up)
        watch(engine, conn,
              (kind->reads ? (uint32_t)EPOLLIN : 0) |
                  (has_sent_all(engine, conn) ? 0 : (uint32_t)EPOLLOUT));
}

static void trickle(struct engine *engine)
{
    int64_t now_ns = tg_clock_mono_ns();
    if (engine->kind->manner != STORM_TRICKLE || now_ns - engine->trickled_ns < TRICKLE_NS)
        return;
    engine->trickled_ns = now_ns;
    for (uint32_t i = 0; i < engine->count; i++) {
        struct conn *conn = &engine->conns[i];
        if (conn->fd >= 0 && conn->is_up && !send_more(engine, conn, 1))
            drop(engine, conn, true);
    }
}

static void build(struct engine *engine)
{
    const struct storm_kind *kind = engine->kind;
    uint32_t variants = kind->variants > 0 ? kind->variants : 1;
    struct storm_bytes *bytes = calloc(variants, sizeof(*bytes));
    engine->conns = calloc(engine->count, sizeof(*engine->conns));
    if (!bytes || !engine->conns)
        scene_fail("no memory for an abuser");
    for (uint32_t i = 0; i < variants && kind->build; i++)
        kind->build(engine->scene, i, &bytes[i]);
    for (uint32_t i = 0; i < engine->count; i++)
        engine->conns[i] = (struct conn){.fd = -1, .bytes = &bytes[i % variants]};
}

static void rage(struct engine *engine)
{
    struct epoll_event events[EVENTS];
    engine->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    build(engine);
    for (;;) {
        connect_some(engine);
        int count_events = epoll_wait(engine->poll_fd, events, EVENTS, 5);
        for (int i = 0; i < count_events; i++) {
            struct conn *conn = events[i].data.ptr;
            if (conn->fd >= 0)
                on_event(engine, conn, events[i].events);
        }
        trickle(engine);
    }
}

/* --- the process --- */

/* As many connections as it may have descriptors for. */
static uint32_t allowed(uint32_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return wanted;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    uint64_t most = limit.rlim_cur - FILES_KEPT;
    return wanted < most ? wanted : (uint32_t)most;
}

void storm_begin(struct storm *storm, const struct storm_kind *kind, const struct scene *scene)
{
    if (!storm->tally) {
        storm->tally = mmap(NULL, sizeof(*storm->tally), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (storm->tally == MAP_FAILED)
            scene_fail("no memory for an abuser's counters");
    }
    atomic_store(&storm->tally->open, 0);
    pid_t parent = getpid();
    storm->pid = fork();
    if (storm->pid < 0)
        scene_fail("fork");
    if (storm->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    setpriority(PRIO_PROCESS, 0, NICE);
    struct engine engine = {.kind = kind, .scene = scene, .tally = storm->tally};
    engine.count = allowed(kind->conns);
    rage(&engine);
}

bool storm_goes_on(const struct storm *storm)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)storm->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

void storm_kill(const struct storm *storm)
{
    kill(storm->pid, SIGKILL);
}

void storm_reap(struct storm *storm)
{
    struct rusage usage;
    int status;
    while (wait4(storm->pid, &status, 0, &usage) < 0 && errno == EINTR)
        ;
    storm->pid = 0;
    storm->cpu_seconds += (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                          (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void storm_fini(struct storm *storm)
{
    munmap(storm->tally, sizeof(*storm->tally));
    storm->tally = NULL;
}
