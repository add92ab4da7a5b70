#include "loadgen/target.h"

#include <stdio.h>

static struct {
    bool has_tls;
    struct tgc_tls tls;
    struct tls_context *context; /* owned */
} target;

enum tg_error lg_target_set(const struct lg_options *options, struct tg_fault *fault)
{
    target.has_tls = options->tls || options->tls_ca || options->tls_cert || options->tls_key ||
                     options->tls_name;
    target.tls = (struct tgc_tls){.ca = options->tls_ca,
                                  .certificate = options->tls_cert,
                                  .key = options->tls_key,
                                  .name = options->tls_name};
    if (!target.has_tls)
        return TG_ERR_OK;
    struct tls_client_options with = {
        .ca = options->tls_ca, .certificate = options->tls_cert, .key = options->tls_key};
    return tls_client_open(&with, &target.context, fault);
}

void lg_target_clear(void)
{
    tls_context_close(target.context);
    target.context = NULL;
    target.has_tls = false;
}

struct tgc_options lg_target_options(const char *server)
{
    return (struct tgc_options){.server = server, .tls = target.has_tls ? &target.tls : NULL};
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
