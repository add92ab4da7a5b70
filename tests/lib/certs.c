#include "tests/lib/certs.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

#define HOUR_S 3600
#define DAY_S  (24 * HOUR_S)

const char *certs_path(const char *dir, const char *name, const char *extension)
{
    static char paths[8][512];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s.%s", dir, name, extension);
    return path;
}

static FILE *open_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    cr_assert_not_null(file, "%s", path);
    return file;
}

static void extend(X509 *certificate, X509 *issuer, int what, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, what, value);
    cr_assert_not_null(extension, "%s", value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

static X509 *fill_in(const char *name, const struct certs_wish *wish, EVP_PKEY *key)
{
    static long serial = 1;
    bool dated = wish->from_s != 0 || wish->to_s != 0;
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), dated ? wish->from_s : -HOUR_S);
    X509_gmtime_adj(X509_getm_notAfter(certificate), dated ? wish->to_s : 30 * DAY_S);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    return certificate;
}

static void read_signer(const char *dir, const char *signer, X509 **issuer, EVP_PKEY **key)
{
    FILE *file = open_file(certs_path(dir, signer, "pem"), "re");
    *issuer = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    file = open_file(certs_path(dir, signer, "key"), "re");
    *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    cr_assert(*issuer && *key, "the signer %s", signer);
}

static void sign(X509 *certificate, const struct certs_wish *wish, X509 *issuer, EVP_PKEY *key)
{
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    extend(certificate, issuer, NID_basic_constraints,
           wish->is_authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (wish->names)
        extend(certificate, issuer, NID_subject_alt_name, wish->names);
    cr_assert_neq(X509_sign(certificate, key, EVP_sha256()), 0);
}

static void store(const char *dir, const char *name, X509 *certificate, EVP_PKEY *key,
                  const char *passphrase)
{
    FILE *file = open_file(certs_path(dir, name, "pem"), "we");
    cr_assert_eq(PEM_write_X509(file, certificate), 1);
    fclose(file);
    const char *path = certs_path(dir, name, "key");
    file = open_file(path, "we");
    cr_assert_eq(PEM_write_PKCS8PrivateKey(file, key, passphrase ? EVP_aes_128_cbc() : NULL, NULL,
                                           0, NULL, (void *)(uintptr_t)passphrase),
                 1);
    fclose(file);
    chmod(path, 0600);
}

void certs_make(const char *dir, const char *name, const struct certs_wish *wish)
{
    EVP_PKEY *key = wish->is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    cr_assert_not_null(key);
    X509 *certificate = fill_in(name, wish, key);
    if (wish->signer) {
        X509 *issuer;
        EVP_PKEY *signer;
        read_signer(dir, wish->signer, &issuer, &signer);
        sign(certificate, wish, issuer, signer);
        X509_free(issuer);
        EVP_PKEY_free(signer);
    } else {
        sign(certificate, wish, certificate, key);
    }
    store(dir, name, certificate, key, wish->passphrase);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

void certs_make_usual(const char *dir)
{
    certs_make(dir, "ca", &(struct certs_wish){.is_authority = true});
    certs_make(dir, "stranger", &(struct certs_wish){.is_authority = true});
    certs_make(dir, "server",
               &(struct certs_wish){.signer = "ca", .names = "DNS:localhost,IP:127.0.0.1,IP:::1"});
    certs_make(dir, "client", &(struct certs_wish){.signer = "ca"});
}
