/* How every connection of a run reaches its server: what the command line says besides the address.
 * Set once by main, before any thread; then read-only, any thread. */
#ifndef LG_TARGET_H
#define LG_TARGET_H

#include "client/tidegate.h"
#include "loadgen/options.h"
#include "tls/session.h"

/* Takes it over from the options, and the token from its file or the environment; strings of the
 * options are borrowed. TG_ERR_INVALID when a file of TLS or the token is not what it must be. */
enum tg_error lg_target_set(const struct lg_options *options, struct tg_fault *fault);
void lg_target_clear(void);

/* For tgc_open; more may be filled in. */
struct tgc_options lg_target_options(const char *server);

/* The frame that shows the token, for connections that do not go through libtidegate: the first on
 * each. Its correlation id is LG_GREETING_ID, which no slot has. Returns its size; 0 without a
 * token. */
#define LG_GREETING_ID    UINT32_MAX
#define LG_GREETING_BYTES (TG_TOKEN_BYTES_MAX + 32)
size_t lg_target_greeting(uint8_t frame[LG_GREETING_BYTES]);

/* For connections that do not go through libtidegate. NULL: they speak plain. */
struct tls_context *lg_target_tls(void);
/* Whom the certificate of `server` must name, into `name`. */
void lg_target_tls_name(const char *server, char name[256]);

#endif
