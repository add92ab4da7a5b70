/* The table of methods against the descriptors that reflection tells: a method that stands in one
 * of them alone would be there for half of the callers. */
#include "net/descriptors.h"
#include "net/grpc_conn.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* The next field with a length, of any message; others are stepped over. */
static bool next(struct tg_bytes *rest, uint32_t *number, struct tg_bytes *bytes)
{
    uint64_t words[2] = {0};
    while (rest->size > 0) {
        for (int i = 0; i < 2; i++) {
            words[i] = 0;
            for (unsigned shift = 0; rest->size > 0; shift += 7) {
                uint8_t byte = *rest->data++;
                rest->size--;
                words[i] |= (uint64_t)(byte & 0x7f) << shift;
                if (byte < 0x80)
                    break;
            }
        }
        *number = (uint32_t)(words[0] >> 3);
        if ((words[0] & 7) == 0)
            continue;
        cr_assert((words[0] & 7) == 2 && words[1] <= rest->size);
        *bytes = (struct tg_bytes){.data = rest->data, .size = words[1]};
        rest->data += words[1];
        rest->size -= words[1];
        return true;
    }
    return false;
}

static struct tg_bytes field(struct tg_bytes message, uint32_t wanted)
{
    uint32_t number;
    struct tg_bytes bytes;
    while (next(&message, &number, &bytes))
        if (number == wanted)
            return bytes;
    return (struct tg_bytes){.data = (const uint8_t *)"", .size = 0};
}

/* Calls `each` for the path of every method of every service. */
static uint32_t for_each_method(void (*each)(const char *path))
{
    struct tg_bytes set = {.data = net_descriptors, .size = net_descriptors_bytes};
    struct tg_bytes file, service, method;
    uint32_t number, count = 0;
    while (next(&set, &number, &file)) {
        struct tg_bytes package = field(file, 2), rest = file;
        while (next(&rest, &number, &service)) {
            if (number != 6)
                continue;
            struct tg_bytes name = field(service, 1), methods = service;
            while (next(&methods, &number, &method)) {
                char path[256];
                if (number != 2)
                    continue;
                snprintf(path, sizeof(path), "/%.*s.%.*s/%.*s", (int)package.size, package.data,
                         (int)name.size, name.data, (int)field(method, 1).size,
                         field(method, 1).data);
                each(path);
                count++;
            }
        }
    }
    return count;
}

static void expect_known(const char *path)
{
    cr_assert_not_null(net_grpc_method_find((const uint8_t *)path, strlen(path)), "%s", path);
}

Test(grpc_method, every_method_of_the_contract_is_there_and_no_other)
{
    uint32_t told = for_each_method(expect_known), known = 0;
    while (net_grpc_method_at(known))
        known++;
    cr_assert_gt(told, 30);
    cr_assert_eq(known, told);
}

Test(grpc_method, every_request_of_the_native_protocol_has_one)
{
    const ProtobufCMessageDescriptor *request = &tidegate__v1__request__descriptor;
    for (unsigned i = 0; i < request->n_fields; i++) {
        uint32_t kind = request->fields[i].id, found = 0;
        const struct net_grpc_method *method;
        for (size_t at = 0; (method = net_grpc_method_at(at)); at++)
            found += method->kind == kind;
        bool is_none = kind == 1 || kind == TIDEGATE__V1__REQUEST__KIND_AUTHENTICATE;
        cr_assert_eq(found, !is_none, "%s", request->fields[i].name);
    }
}

Test(grpc_method, a_path_is_known_as_a_whole)
{
    static const char *const paths[] = {"", "/", "/tidegate.v1.TidegateService/PlaceOrder2",
                                        "/tidegate.v1.TidegateService/PlaceOrde",
                                        "tidegate.v1.TidegateService/PlaceOrder"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        cr_assert_null(net_grpc_method_find((const uint8_t *)paths[i], strlen(paths[i])));
}

/* --- statuses --- */

Test(grpc_method, a_status_is_percent_encoded_and_carries_its_details)
{
    struct net_grpc_status status = {.code = NET_GRPC_RESOURCE_EXHAUSTED,
                                     .reason = "BUSY",
                                     .message = "50% \n",
                                     .retry_ms = 1500};
    struct net_grpc_trailer trailer = {.count = 0};
    net_grpc_trailer_fill(&trailer, &status);
    cr_assert_eq(trailer.count, 3);
    cr_assert_str_eq(trailer.code, "8");
    cr_assert_str_eq(trailer.message, "50%25 %0A");
    /* Status{code: 8, message: "50% \n", ...}, as python's protobuf writes it. */
    cr_assert_eq(strncmp(trailer.details, "CAgSBTUwJSAKG", 13), 0, "%s", trailer.details);
}

Test(grpc_method, a_status_of_any_length_fits)
{
    static char text[4096];
    memset(text, '%', sizeof(text) - 1);
    struct net_grpc_status status = {
        .code = NET_GRPC_INTERNAL, .reason = text, .message = text, .retry_ms = UINT32_MAX};
    struct net_grpc_trailer trailer = {.count = 0};
    net_grpc_trailer_fill(&trailer, &status);
    cr_assert_lt(strlen(trailer.message), sizeof(trailer.message));
    cr_assert_lt(strlen(trailer.details), sizeof(trailer.details));
}
