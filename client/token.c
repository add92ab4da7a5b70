#include "client/tidegate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is no token is not repeated: it may be another secret. */
static enum tg_error take(const char *text, size_t bytes, const char *where,
                          char token[TG_TOKEN_BYTES_MAX + 1], struct tg_fault *fault)
{
    char id[TG_TOKEN_ID_BYTES_MAX + 1];
    if (!tg_token_read(text, bytes, id))
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "%.200s holds no token: one is tg_ID_SECRET, as 'tidegatectl token "
                            "create' prints it",
                            where);
    memcpy(token, text, bytes);
    token[bytes] = '\0';
    return TG_ERR_OK;
}

/* The first line of the file into `text`; how many bytes it has, or -1 with errno. */
static ssize_t read_first_line(int fd, char *text, size_t size)
{
    size_t used = 0;
    while (used < size && !memchr(text, '\n', used)) {
        ssize_t got = read(fd, text + used, size - used);
        if (got < 0 && errno != EINTR)
            return -1;
        if (got == 0)
            break;
        used += got > 0 ? (size_t)got : 0;
    }
    const char *end = memchr(text, '\n', used);
    used = end ? (size_t)(end - text) : used;
    return (ssize_t)(used > 0 && text[used - 1] == '\r' ? used - 1 : used);
}

static enum tg_error read_file(const char *path, int fd, char token[TG_TOKEN_BYTES_MAX + 1],
                               struct tg_fault *fault)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return tg_fault_set_errno(fault, TG_ERR_INVALID, errno, "cannot look at %.200s", path);
    if (S_ISREG(status.st_mode) && status.st_mode & (S_IROTH | S_IWOTH))
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "%.200s is open to everybody on this machine (mode %03o): chmod o-rwx "
                            "it, and make another token if it has been so for long",
                            path, status.st_mode & 0777u);
    char text[TG_TOKEN_BYTES_MAX + 3]; /* with the end of the line, and one more than it may have */
    ssize_t bytes = read_first_line(fd, text, sizeof(text));
    enum tg_error error =
        bytes < 0 ? tg_fault_set_errno(fault, TG_ERR_INVALID, errno, "cannot read %.200s", path)
                  : take(text, (size_t)bytes, path, token, fault);
    explicit_bzero(text, sizeof(text));
    return error;
}

enum tg_error tgc_token_read(const char *path, char token[TG_TOKEN_BYTES_MAX + 1],
                             struct tg_fault *fault)
{
    token[0] = '\0';
    if (!path) {
        const char *text = getenv("TIDEGATE_TOKEN");
        return text && text[0] ? take(text, strlen(text), "TIDEGATE_TOKEN", token, fault)
                               : TG_ERR_OK;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tg_fault_set_errno(fault, TG_ERR_INVALID, errno, "cannot open %.200s", path);
    enum tg_error error = read_file(path, fd, token, fault);
    close(fd);
    return error;
}
