/* The methods of all services, by path. A unit test holds the table against the descriptors. */
#include "net/grpc_conn.h"

#include <string.h>

/* What a frame has beside its message. */
#define WRAPPING_BYTES 24

#define TIDEGATE(name) "/tidegate.v1.TidegateService/" #name
#define SMALL          (TG_FRAME_BYTES_MAX - WRAPPING_BYTES)
#define LARGE          (TG_FRAME_BATCH_BYTES_MAX - WRAPPING_BYTES)

#define PATH(text) .path = (text), .path_bytes = sizeof(text) - 1

#define UNARY(name, KIND, max)                                                                     \
    {                                                                                              \
        PATH(TIDEGATE(name)), .kind = TIDEGATE__V1__REQUEST__KIND_##KIND, .message_max = (max)     \
    }
#define STREAM(name, KIND)                                                                         \
    {                                                                                              \
        PATH(TIDEGATE(name)), .kind = TIDEGATE__V1__REQUEST__KIND_##KIND, .message_max = SMALL,    \
                              .is_streamed = true, .can_wait = true                                \
    }

/* The most frequent first: it is searched from the beginning. */
static const struct net_grpc_method methods[] = {
    UNARY(PlaceOrder, PLACE_ORDER, SMALL),
    UNARY(PlaceOrders, PLACE_ORDERS, LARGE),
    UNARY(ChangeOrder, CHANGE_ORDER, SMALL),
    UNARY(GetItem, GET_ITEM, SMALL),
    UNARY(GetOrder, GET_ORDER, SMALL),
    UNARY(JoinTeam, JOIN_TEAM, SMALL),
    UNARY(OpenTeam, OPEN_TEAM, SMALL),
    UNARY(GetTeam, GET_TEAM, SMALL),
    UNARY(ListTeams, LIST_TEAMS, SMALL),
    UNARY(IngestOrders, INGEST_ORDERS, LARGE),
    UNARY(ListOrders, LIST_ORDERS, SMALL),
    UNARY(GetServerTime, GET_SERVER_TIME, SMALL),
    UNARY(GetStats, GET_STATS, SMALL),
    UNARY(CreateSale, CREATE_SALE, LARGE),
    UNARY(ListSales, LIST_SALES, SMALL),
    UNARY(GetSale, GET_SALE, SMALL),
    UNARY(PauseSale, PAUSE_SALE, SMALL),
    UNARY(ResumeSale, RESUME_SALE, SMALL),
    UNARY(CloseSale, CLOSE_SALE, SMALL),
    UNARY(AdjustStock, ADJUST_STOCK, SMALL),
    STREAM(WatchItem, WATCH_ITEM),
    {PATH(TIDEGATE(ConsumeEvents)), .kind = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS,
     .message_max = SMALL, .can_wait = true},
    STREAM(SubscribeEvents, SUBSCRIBE_EVENTS),
    UNARY(AckEvents, ACK_EVENTS, SMALL),
    UNARY(CreateGroup, CREATE_GROUP, SMALL),
    UNARY(ListGroups, LIST_GROUPS, SMALL),
    UNARY(DeleteGroup, DELETE_GROUP, SMALL),
    {PATH("/grpc.health.v1.Health/Check"), .message_max = 4096, .serve = net_grpc_health_check},
    {PATH("/grpc.health.v1.Health/Watch"), .message_max = 4096, .is_streamed = true,
     .serve = net_grpc_health_watch},
    {PATH("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), .message_max = 4096,
     .is_streamed = true, .takes_many = true, .serve = net_grpc_reflect},
    {PATH("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"), .message_max = 4096,
     .is_streamed = true, .takes_many = true, .serve = net_grpc_reflect},
};

#define METHOD_COUNT (sizeof(methods) / sizeof(methods[0]))

const struct net_grpc_method *net_grpc_method_at(size_t place)
{
    return place < METHOD_COUNT ? &methods[place] : NULL;
}

const struct net_grpc_method *net_grpc_method_find(const uint8_t *path, size_t bytes)
{
    for (size_t i = 0; i < METHOD_COUNT; i++)
        if (methods[i].path_bytes == bytes && memcmp(methods[i].path, path, bytes) == 0)
            return &methods[i];
    return NULL;
}
