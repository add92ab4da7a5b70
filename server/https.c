#include "server/https.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

#define PEM_BYTES_MAX ((size_t)1 << 20)

/* The whole file as text, or NULL. */
static char *read_pem(const char *path, struct tg_fault *fault)
{
    FILE *file = fopen(path, "re");
    char *text = file ? malloc(PEM_BYTES_MAX + 1) : NULL;
    size_t bytes = text ? fread(text, 1, PEM_BYTES_MAX + 1, file) : 0;
    bool is_whole = text && !ferror(file) && bytes <= PEM_BYTES_MAX;
    int code = errno;
    if (file)
        fclose(file);
    if (!is_whole) {
        tg_fault_set_errno(fault, TG_ERR_INVALID, code, "cannot read %s for the admin listener",
                           path);
        free(text);
        return NULL;
    }
    text[bytes] = '\0';
    return text;
}

enum tg_error srv_https_read(const struct srv_config *config, struct srv_https *https,
                             struct tg_fault *fault)
{
    *https = (struct srv_https){.only_1_3 = config->tls_version_min == SRV_TLS_1_3};
    if (config->tls_certificate[0] == '\0')
        return TG_ERR_OK;
    bool asks_clients = config->tls_client_ca[0] != '\0';
    if ((https->certificate = read_pem(config->tls_certificate, fault)) &&
        (https->key = read_pem(config->tls_key, fault)) &&
        (!asks_clients || (https->client_ca = read_pem(config->tls_client_ca, fault))))
        return TG_ERR_OK;
    srv_https_free(https);
    return TG_ERR_INVALID;
}

void srv_https_free(struct srv_https *https)
{
    if (https->key)
        explicit_bzero(https->key, strlen(https->key));
    free(https->key);
    free(https->certificate);
    free(https->client_ca);
    *https = (struct srv_https){0};
}

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool srv_https_is_same(const struct srv_https *a, const struct srv_https *b)
{
    return is_same_text(a->certificate, b->certificate) && is_same_text(a->key, b->key) &&
           is_same_text(a->client_ca, b->client_ca);
}

void srv_https_options(const struct srv_https *https,
                       struct MHD_OptionItem options[SRV_HTTPS_OPTIONS])
{
    uint32_t count = 0;
    if (srv_https_is_on(https)) {
        const char *versions = https->only_1_3 ? "NORMAL:-VERS-ALL:+VERS-TLS1.3"
                                               : "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
        options[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, https->certificate};
        options[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, https->key};
        options[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)versions};
    }
    if (https->client_ca)
        options[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, https->client_ca};
    options[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

bool srv_https_client_is_known(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
    unsigned status;
    return info &&
           gnutls_certificate_verify_peers(info->tls_session, &purpose, 1, &status) ==
               GNUTLS_E_SUCCESS &&
           status == 0;
}
