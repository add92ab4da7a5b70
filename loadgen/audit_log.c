#include "loadgen/audit_log.h"

#include "base/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_VERSION 1u
#define MARK_BEGUN  0ull
#define MARK_END    UINT64_MAX

static const char log_magic[8] = "TGLOAD1\n";

struct log_header {
    char magic[8];
    uint32_t header_bytes;
    uint32_t version;
    struct lg_plan_settings settings;
    int64_t started_at_ms;
    uint8_t zeros[132];
    uint32_t crc;
};

_Static_assert(sizeof(struct log_header) == 256, "a file format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file is written as it lies");

static enum tg_error write_all(struct lg_log *log, const void *data, size_t bytes,
                               struct tg_fault *fault)
{
    const uint8_t *at = data;
    while (bytes > 0) {
        ssize_t done = write(log->fd, at, bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot write the audit log %s",
                                      log->path);
        at += done;
        bytes -= (size_t)done;
    }
    return TG_ERR_OK;
}

enum tg_error lg_log_create(struct lg_log *log, const char *path,
                            const struct lg_plan_settings *settings, int64_t started_at_ms,
                            struct tg_fault *fault)
{
    log->path = path;
    log->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (log->fd < 0)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot create the audit log %s", path);
    struct log_header header = {
        .header_bytes = sizeof(header),
        .version = LOG_VERSION,
        .settings = *settings,
        .started_at_ms = started_at_ms,
    };
    memcpy(header.magic, log_magic, sizeof(log_magic));
    header.crc = tg_crc32c(&header, offsetof(struct log_header, crc));
    return write_all(log, &header, sizeof(header), fault);
}

enum tg_error lg_log_append(struct lg_log *log, const struct lg_accepted *list, uint64_t *written,
                            struct tg_fault *fault)
{
    uint64_t end = lg_accepted_count(list), run;
    while (*written < end) {
        const struct lg_accept *from = lg_accepted_run(list, *written, end, &run);
        enum tg_error error = write_all(log, from, run * sizeof(*from), fault);
        if (error)
            return error;
        *written += run;
    }
    return TG_ERR_OK;
}

enum tg_error lg_log_mark(struct lg_log *log, uint64_t attempts_begun, bool end,
                          struct tg_fault *fault)
{
    struct lg_accept mark = {attempts_begun, end ? MARK_END : MARK_BEGUN};
    enum tg_error error = write_all(log, &mark, sizeof(mark), fault);
    if (!error && end && fsync(log->fd) != 0)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot sync the audit log %s",
                                  log->path);
    return error;
}

void lg_log_close(struct lg_log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
}

/* Reads `bytes` or what there is; -1 on an error. */
static ssize_t read_all(int fd, void *data, size_t bytes)
{
    size_t filled = 0;
    while (filled < bytes) {
        ssize_t got = read(fd, (uint8_t *)data + filled, bytes - filled);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        filled += (size_t)got;
    }
    return (ssize_t)filled;
}

static enum tg_error check_header(const struct log_header *header, const char *path,
                                  struct tg_fault *fault)
{
    if (memcmp(header->magic, log_magic, sizeof(log_magic)) != 0)
        return tg_fault_set(fault, TG_ERR_CORRUPT, "%s is not an audit log of tidegate-load", path);
    if (header->version > LOG_VERSION)
        return tg_fault_set(fault, TG_ERR_VERSION, "%s was written by a newer tidegate-load", path);
    const struct lg_plan_settings *s = &header->settings;
    if (header->crc != tg_crc32c(header, offsetof(struct log_header, crc)) ||
        header->header_bytes != sizeof(*header) || !s->users || s->users > LG_USERS_MAX ||
        !s->greedy_users || s->greedy_users > s->users || !s->item_count ||
        s->item_count > TG_SALE_ITEMS_MAX || !s->quantity_min || s->quantity_min > s->quantity_max)
        return tg_fault_set(fault, TG_ERR_CORRUPT, "the header of %s is damaged", path);
    return TG_ERR_OK;
}

/* Takes the marks out of the records, in place. */
static void take_marks(struct lg_log_content *content, uint64_t records)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < records; i++) {
        struct lg_accept record = content->accepts[i];
        if (record.order_id != MARK_BEGUN && record.order_id != MARK_END) {
            content->accepts[kept++] = record;
            continue;
        }
        content->attempts_begun = record.number;
        content->complete = record.order_id == MARK_END;
    }
    content->accept_count = kept;
}

static enum tg_error read_records(int fd, const char *path, struct lg_log_content *content,
                                  struct tg_fault *fault)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot read %s", path);
    uint64_t records =
        ((uint64_t)status.st_size - sizeof(struct log_header)) / sizeof(struct lg_accept);
    if (!records)
        return TG_ERR_OK;
    content->accepts = malloc(records * sizeof(*content->accepts));
    if (!content->accepts)
        return tg_fault_set(fault, TG_ERR_NOMEM, "no memory for the %llu answers in %s",
                            (unsigned long long)records, path);
    ssize_t got = read_all(fd, content->accepts, records * sizeof(*content->accepts));
    if (got < 0)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot read %s", path);
    take_marks(content, (uint64_t)got / sizeof(*content->accepts));
    for (uint64_t i = 0; i < content->accept_count; i++)
        if (content->accepts[i].number >= LG_ATTEMPTS_MAX)
            return tg_fault_set(fault, TG_ERR_CORRUPT, "an answer in %s is damaged", path);
    return TG_ERR_OK;
}

enum tg_error lg_log_read(const char *path, struct lg_log_content *content, struct tg_fault *fault)
{
    memset(content, 0, sizeof(*content));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot open the audit log %s", path);
    struct log_header header;
    enum tg_error error;
    ssize_t got = read_all(fd, &header, sizeof(header));
    if (got < 0)
        error = tg_fault_set_errno(fault, TG_ERR_IO, errno, "cannot read %s", path);
    else if ((size_t)got < sizeof(header))
        error = tg_fault_set(fault, TG_ERR_CORRUPT, "%s is too short for an audit log", path);
    else
        error = check_header(&header, path, fault);
    if (!error) {
        content->settings = header.settings;
        content->settings.scenario[sizeof(header.settings.scenario) - 1] = '\0';
        content->started_at_ms = header.started_at_ms;
        error = read_records(fd, path, content, fault);
    }
    close(fd);
    if (error) {
        free(content->accepts);
        content->accepts = NULL;
    }
    return error;
}
