/* grpc.health.v1: the server as a whole (""), and each service by its name. While it drains it does
 * not serve. */
#include "net/grpc_conn.h"

#include <string.h>

/* Of grpc.health.v1.HealthCheckResponse. */
enum serving {
    SERVING = 1,
    NOT_SERVING = 2,
    SERVICE_UNKNOWN = 3,
};

static bool names_service(const uint8_t *name, size_t bytes)
{
    static const char *const services[] = {"", "tidegate.v1.TidegateService",
                                           "grpc.health.v1.Health"};
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
        if (strlen(services[i]) == bytes && memcmp(services[i], name, bytes) == 0)
            return true;
    return false;
}

/* Reads a HealthCheckRequest, a name of less than 128 bytes in field 1; false when it is none that
 * this server has. */
static bool is_known(const uint8_t *message, size_t bytes)
{
    if (bytes == 0)
        return true;
    return bytes >= 2 && message[0] == (1 << 3 | 2) && message[1] == bytes - 2 &&
           names_service(message + 2, bytes - 2);
}

static void say(struct net_grpc_call *call, enum serving serving)
{
    const uint8_t answer[] = {1 << 3, (uint8_t)serving};
    net_grpc_call_say_copy(call, answer, sizeof(answer));
}

static enum serving state_of(const struct net_grpc_call *call)
{
    return call->conn->is_draining ? NOT_SERVING : SERVING;
}

void net_grpc_health_check(struct net_grpc_call *call, const uint8_t *message, size_t bytes)
{
    static const struct net_grpc_status unknown = {
        .code = NET_GRPC_NOT_FOUND,
        .reason = "UNKNOWN_SERVICE",
        .message = "this server has no such service: server reflection lists those that it has",
    };
    if (is_known(message, bytes))
        say(call, state_of(call));
    else
        net_grpc_call_end(call, &unknown);
}

void net_grpc_health_watch(struct net_grpc_call *call, const uint8_t *message, size_t bytes)
{
    say(call, is_known(message, bytes) ? state_of(call) : SERVICE_UNKNOWN);
}

void net_grpc_health_drain(struct net_grpc_call *call)
{
    if (call->method->serve == net_grpc_health_watch)
        say(call, NOT_SERVING);
}
