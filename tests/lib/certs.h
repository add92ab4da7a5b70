/* Certificates for tests, made when they are needed: none is in the tree, and none outlives its
 * test. Fails the test when one cannot be made. */
#ifndef TEST_CERTS_H
#define TEST_CERTS_H

#include <stdbool.h>
#include <stdint.h>

struct certs_wish {
    const char *signer;     /* of an earlier call; NULL: signed by itself */
    const char *names;      /* as X.509 has them: "DNS:localhost,IP:127.0.0.1"; NULL: none */
    const char *passphrase; /* of the key; NULL: none */
    int64_t from_s;         /* validity, seconds from now; both 0: from an hour ago, for 30 days */
    int64_t to_s;
    bool is_authority;
    bool is_rsa; /* of 2,048 bits; else ECDSA with P-256 */
};

/* Writes DIR/NAME.pem and DIR/NAME.key. */
void certs_make(const char *dir, const char *name, const struct certs_wish *wish);

/* What most tests need, in DIR: an authority "ca"; "server" for localhost, 127.0.0.1 and ::1, and
 * "client", both signed by it; and "stranger", an authority that signed neither. */
void certs_make_usual(const char *dir);

/* "DIR/NAME.EXTENSION", in one of a few buffers that take turns. */
const char *certs_path(const char *dir, const char *name, const char *extension);

#endif
