/* The reading half of the audit: brings the server's orders and books before lg_audit_*.
 *
 * Orders are listed in several parts at once over one connection, each part a chain of pages, so
 * that the server's reads and our comparing overlap. The listing is read by hand rather than by
 * protobuf-c: twenty million orders are a matter of seconds. A connection that breaks is opened
 * again and the pages under way are asked for again.
 *
 * Blocking; one thread. */
#ifndef LG_AUDITOR_H
#define LG_AUDITOR_H

#include "base/error.h"
#include "loadgen/audit.h"

#include <sys/socket.h>

struct lg_auditor {
    const char *server;             /* borrowed */
    const struct sockaddr *address; /* borrowed */
    socklen_t address_bytes;
    int64_t patience_ns; /* how long the server may be away */
};

/* Lists, reads the books, and finishes `audit`, which has its accepted answers. An error means that
 * nothing can be said, not that something is broken. */
enum tg_error lg_auditor_run(const struct lg_auditor *auditor, struct lg_audit *audit,
                             struct tg_fault *fault);

/* The same without the listing, for an audit by count (lg_audit_count). */
enum tg_error lg_auditor_run_books(const struct lg_auditor *auditor, struct lg_audit *audit,
                                   struct tg_fault *fault);

/* Reads an Order message into `listed`; false when it is malformed. Pure. */
bool lg_auditor_order(const uint8_t *data, size_t bytes, struct lg_listed *listed);

#endif
