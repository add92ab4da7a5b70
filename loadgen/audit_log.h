/* The audit log: what was answered, in a file, for an audit after this process is gone.
 *
 * Append-only; little-endian; written by write(2) at least every 100 ms while a run goes on (so it
 * survives this process), fsynced when it ends (so it survives this machine).
 *
 *   0    "TGLOAD1\n"
 *   8    u32 bytes of this header (256), u32 version (1)
 *   16   struct lg_plan_settings, 96 bytes
 *   112  i64 Unix ms of the start
 *   120  zeros
 *   252  u32 CRC-32C of bytes 0 .. 251
 *   256  records of 16 bytes: u64 attempt, u64 order id
 *          order id 0      a mark: so many attempts have begun
 *          order id 2^64-1 the end: so many attempts had begun, and each has its answer
 *
 * A file without the end mark is that of a run that was killed: its last answers may be missing,
 * and half a record at the end is dropped.
 */
#ifndef LG_AUDIT_LOG_H
#define LG_AUDIT_LOG_H

#include "base/error.h"
#include "loadgen/accepted.h"
#include "loadgen/plan.h"

struct lg_log {
    int fd;           /* -1: no log is kept */
    const char *path; /* borrowed */
};

/* Creates the file (it must not exist: a log is never overwritten). */
enum tg_error lg_log_create(struct lg_log *log, const char *path,
                            const struct lg_plan_settings *settings, int64_t started_at_ms,
                            struct tg_fault *fault);

/* Appends entries [*written, count) of a list and moves *written. Any thread but one at a time. */
enum tg_error lg_log_append(struct lg_log *log, const struct lg_accepted *list, uint64_t *written,
                            struct tg_fault *fault);

/* Appends a mark, or the end, and with the end makes all of it durable. */
enum tg_error lg_log_mark(struct lg_log *log, uint64_t attempts_begun, bool end,
                          struct tg_fault *fault);
void lg_log_close(struct lg_log *log);

struct lg_log_content {
    struct lg_plan_settings settings;
    int64_t started_at_ms;
    struct lg_accept *accepts; /* malloc'ed, the caller's; NULL when there are none */
    uint64_t accept_count;
    uint64_t attempts_begun; /* of the last mark */
    bool complete;           /* the end mark is there */
};

/* Reads a log. TG_ERR_CORRUPT when it is none, TG_ERR_VERSION when it is a newer one's. */
enum tg_error lg_log_read(const char *path, struct lg_log_content *content, struct tg_fault *fault);

#endif
