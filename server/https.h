/* TLS of the admin listener: the files that all listeners share (tls.certificate, tls.key,
 * tls.client_ca), as libmicrohttpd takes them, which speaks it by GnuTLS. Admin thread. */
#ifndef TG_SERVER_HTTPS_H
#define TG_SERVER_HTTPS_H

#include "server/config.h"

#include <microhttpd.h>

/* Texts of the files; all NULL: TLS is off. */
struct srv_https {
    char *certificate;
    char *key;
    char *client_ca; /* NULL: clients show no certificate */
    bool only_1_3;
};

/* Reads them; none are without tls.certificate. They were tried by tls_server_open before. */
enum tg_error srv_https_read(const struct srv_config *config, struct srv_https *https,
                             struct tg_fault *fault);
/* Forgets them; the key is overwritten. */
void srv_https_free(struct srv_https *https);

bool srv_https_is_same(const struct srv_https *a, const struct srv_https *b);

static inline bool srv_https_is_on(const struct srv_https *https)
{
    return https->certificate != NULL;
}

#define SRV_HTTPS_OPTIONS 5

/* Fills in what MHD_OPTION_ARRAY takes, with its end; borrows the texts. */
void srv_https_options(const struct srv_https *https,
                       struct MHD_OptionItem options[SRV_HTTPS_OPTIONS]);

/* The client has shown a certificate that tls.client_ca has signed, and for clients. */
bool srv_https_client_is_known(struct MHD_Connection *connection);

#endif
