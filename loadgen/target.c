#include "loadgen/target.h"

#include "proto/codec.h"

#include <stdio.h>
#include <string.h>

static struct {
    bool has_tls;
    struct tgc_tls tls;
    struct tls_context *context;        /* owned */
    char token[TG_TOKEN_BYTES_MAX + 1]; /* "": none */
} target;

enum tg_error lg_target_set(const struct lg_options *options, struct tg_fault *fault)
{
    target.has_tls = options->tls || options->tls_ca || options->tls_cert || options->tls_key ||
                     options->tls_name;
    target.tls = (struct tgc_tls){.ca = options->tls_ca,
                                  .certificate = options->tls_cert,
                                  .key = options->tls_key,
                                  .name = options->tls_name};
    enum tg_error error = tgc_token_read(options->token_file, target.token, fault);
    if (error != TG_ERR_OK || !target.has_tls)
        return error;
    struct tls_client_options with = {
        .ca = options->tls_ca, .certificate = options->tls_cert, .key = options->tls_key};
    return tls_client_open(&with, &target.context, fault);
}

void lg_target_clear(void)
{
    tls_context_close(target.context);
    target.context = NULL;
    target.has_tls = false;
    explicit_bzero(target.token, sizeof(target.token));
}

struct tgc_options lg_target_options(const char *server)
{
    return (struct tgc_options){
        .server = server, .tls = target.has_tls ? &target.tls : NULL, .token = target.token};
}

size_t lg_target_greeting(uint8_t frame[LG_GREETING_BYTES])
{
    Tidegate__V1__AuthenticateRequest body = TIDEGATE__V1__AUTHENTICATE_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    if (target.token[0] == '\0')
        return 0;
    body.token = target.token;
    request.correlation_id = LG_GREETING_ID;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_AUTHENTICATE;
    request.authenticate = &body;
    size_t size = tidegate__v1__request__get_packed_size(&request);
    size_t prefix = tg_frame_prefix(frame, (uint32_t)size);
    return prefix + tidegate__v1__request__pack(&request, frame + prefix);
}

struct tls_context *lg_target_tls(void)
{
    return target.context;
}

void lg_target_tls_name(const char *server, char name[256])
{
    char port[8];
    if (target.tls.name)
        snprintf(name, 256, "%s", target.tls.name);
    else if (tgc_parse_address(server, name, port, NULL) != TG_ERR_OK)
        name[0] = '\0'; /* it was resolved before, so it is an address */
}
