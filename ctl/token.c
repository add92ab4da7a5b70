/* token create, list and revoke: the file of base/token.h, changed as a whole or not at all. */
#include "base/token.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum ctl_exit complain_errno(const char *what, const char *path)
{
    return ctl_complain(CTL_UNREACHABLE, "cannot %s %s: %s", what, path, strerror(errno));
}

/* --- the file, held against others who change it --- */

/* Opens and locks what stands at `path` now: another may have put a new file there while we waited
 * for the old one's lock. -1 with errno. */
static int open_locked(const char *path, int flags)
{
    for (;;) {
        struct stat held, stands;
        errno = 0; /* where nothing fails and another file stands there, it says so */
        int fd = open(path, flags | O_CLOEXEC, 0600);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX) == 0 && fstat(fd, &held) == 0 && stat(path, &stands) == 0 &&
            held.st_ino == stands.st_ino && held.st_dev == stands.st_dev)
            return fd;
        int code = errno;
        close(fd);
        if (code != 0 && code != EINTR && code != ENOENT) {
            errno = code;
            return -1;
        }
    }
}

/* Reads and checks the file; NULL after telling what is wrong. The caller frees it. */
static struct tg_token_file *read_file(const char *path)
{
    struct tg_fault fault;
    struct tg_token_file *file = malloc(sizeof(*file));
    if (!file)
        ctl_out_of_memory();
    if (tg_token_file_read(path, file, &fault) == TG_ERR_OK)
        return file;
    free(file);
    ctl_complain(CTL_USAGE, "%s", fault.text);
    return NULL;
}

static const struct tg_token_entry *find(const struct tg_token_file *file, const char *id)
{
    for (uint32_t i = 0; i < file->token_count; i++)
        if (strcmp(file->tokens[i].id, id) == 0)
            return &file->tokens[i];
    return NULL;
}

/* --- create --- */

static bool ends_in_newline(int fd)
{
    char last = '\n';
    off_t size = lseek(fd, 0, SEEK_END);
    return size <= 0 || (pread(fd, &last, 1, size - 1) == 1 && last == '\n');
}

static bool write_all(int fd, const char *bytes, size_t size)
{
    ssize_t wrote = write(fd, bytes, size);
    if (wrote >= 0 && (size_t)wrote < size)
        errno = ENOSPC;
    return wrote >= 0 && (size_t)wrote == size;
}

/* Appends the line to the file that `fd` holds; what is written in part is taken back. */
static enum ctl_exit append(int fd, const char *path, const struct tg_token_entry *entry)
{
    struct tg_token_file *file = read_file(path);
    if (!file)
        return CTL_USAGE;
    bool taken = find(file, entry->id) != NULL, full = file->token_count == TG_TOKENS_MAX;
    free(file);
    if (taken)
        return ctl_complain(CTL_USAGE, "%s has a token %s already: take another --id", path,
                            entry->id);
    if (full)
        return ctl_complain(CTL_USAGE, "%s has %d tokens, and takes no more", path, TG_TOKENS_MAX);
    char line[1 + TG_TOKEN_LINE_BYTES] = "\n";
    off_t size = lseek(fd, 0, SEEK_END);
    tg_token_line(entry, line + 1);
    const char *from = ends_in_newline(fd) ? line + 1 : line;
    if (size >= 0 && write_all(fd, from, strlen(from)) && fsync(fd) == 0)
        return CTL_DONE;
    enum ctl_exit code = complain_errno("write", path);
    if (size >= 0 && ftruncate(fd, size) != 0)
        complain_errno("take the broken line out of", path);
    return code;
}

static enum ctl_exit keep(const char *path, const struct tg_token_entry *entry)
{
    char line[TG_TOKEN_LINE_BYTES];
    if (!path) {
        tg_token_line(entry, line);
        fprintf(stderr, "Append this line to the daemon's token file, and send it SIGHUP:\n%s",
                line);
        return CTL_DONE;
    }
    int fd = open_locked(path, O_RDWR | O_CREAT | O_APPEND);
    if (fd < 0)
        return complain_errno("open", path);
    enum ctl_exit code = append(fd, path, entry);
    close(fd);
    return code;
}

static enum ctl_exit read_entry(const struct ctl *ctl, struct tg_token_entry *entry)
{
    const char *tenant = ctl_required_option(ctl, "tenant");
    const char *roles = tenant ? ctl_required_option(ctl, "role") : NULL;
    const char *id = ctl_option_value(ctl, "id");
    if (!roles)
        return CTL_USAGE;
    if (!tg_tenant_is_valid(tenant))
        return ctl_misused(ctl, "--tenant \"%s\" must be 1 to %d of a-z, 0-9, '-', '_' and '.'",
                           tenant, TG_TENANT_BYTES_MAX);
    if (!tg_roles_parse(roles, &entry->roles))
        return ctl_misused(ctl,
                           "--role \"%s\" must be one or more of submit, consume, operate and "
                           "read, with commas between, each once",
                           roles);
    if (id && !tg_token_id_is_valid(id))
        return ctl_misused(ctl, "--id \"%s\" must be 1 to %d of a-z and 0-9", id,
                           TG_TOKEN_ID_BYTES_MAX);
    snprintf(entry->tenant, sizeof(entry->tenant), "%s", tenant);
    return CTL_DONE;
}

enum ctl_exit ctl_token_create(struct ctl *ctl)
{
    struct tg_token_entry entry = {.roles = 0};
    char token[TG_TOKEN_BYTES_MAX + 1];
    enum ctl_exit code = read_entry(ctl, &entry);
    if (code)
        return code;
    if (!tg_token_make(ctl_option_value(ctl, "id"), token))
        return ctl_complain(CTL_UNREACHABLE, "the system gives no random bytes");
    tg_token_read(token, strlen(token), entry.id);
    tg_token_hash(token, strlen(token), entry.hash);
    code = keep(ctl_option_value(ctl, "file"), &entry);
    if (code == CTL_DONE && ctl->json)
        ctl_json_print(
            json_pack("{s:s, s:s, s:s}", "id", entry.id, "tenant", entry.tenant, "token", token));
    else if (code == CTL_DONE)
        printf("%s\n", token);
    explicit_bzero(token, sizeof(token));
    return code;
}

/* --- list --- */

static void list_json(const struct tg_token_file *file)
{
    for (uint32_t i = 0; i < file->token_count; i++) {
        json_t *roles = json_array();
        char word[TG_ROLES_TEXT_BYTES];
        for (uint32_t role = 1; role <= TG_ROLES_ALL; role <<= 1)
            if (file->tokens[i].roles & role)
                json_array_append_new(roles, json_string(tg_roles_text(role, "", word)));
        ctl_json_print(json_pack("{s:s, s:s, s:o}", "id", file->tokens[i].id, "tenant",
                                 file->tokens[i].tenant, "roles", roles));
    }
}

static void list_table(const struct tg_token_file *file)
{
    static const struct ctl_column columns[] = {{"ID", false}, {"TENANT", false}, {"ROLES", false}};
    struct ctl_table table;
    char roles[TG_ROLES_TEXT_BYTES];
    ctl_table_init(&table, columns, 3);
    for (uint32_t i = 0; i < file->token_count; i++) {
        ctl_table_cell(&table, "%s", file->tokens[i].id);
        ctl_table_cell(&table, "%s", file->tokens[i].tenant);
        ctl_table_cell(&table, "%s", tg_roles_text(file->tokens[i].roles, ",", roles));
    }
    ctl_table_end(&table);
}

enum ctl_exit ctl_token_list(struct ctl *ctl)
{
    const char *path = ctl_required_option(ctl, "file");
    struct tg_token_file *file = path ? read_file(path) : NULL;
    if (!file)
        return CTL_USAGE;
    if (ctl->json)
        list_json(file);
    else
        list_table(file);
    free(file);
    return CTL_DONE;
}

/* --- revoke --- */

/* It is the line of the token with this id, in a file that was read without a fault. */
static bool is_line_of(const char *line, const char *id)
{
    char kind[8], its_id[TG_TOKEN_ID_BYTES_MAX + 2];
    return sscanf(line, " %7s %17s", kind, its_id) == 2 && strcmp(kind, "token") == 0 &&
           strcmp(its_id, id) == 0;
}

static bool copy_lines_but(FILE *from, FILE *to, const char *id)
{
    char *line = NULL;
    size_t room = 0;
    bool copied = true;
    while (copied && getline(&line, &room, from) >= 0)
        copied = is_line_of(line, id) || fputs(line, to) >= 0;
    free(line);
    return copied && !ferror(from) && fflush(to) == 0 && fsync(fileno(to)) == 0;
}

/* Gives the file the owner, group and mode of `model`, or the daemon might not read it. */
static bool liken(int fd, const struct stat *model)
{
    struct stat status;
    return fstat(fd, &status) == 0 &&
           ((status.st_uid == model->st_uid && status.st_gid == model->st_gid) ||
            fchown(fd, model->st_uid, model->st_gid) == 0) &&
           fchmod(fd, model->st_mode & 0777) == 0;
}

/* The new file belongs to whom the old one does, and its name is on the disk when this is true. */
static bool replace(FILE *from, FILE *to, const char *temporary, const char *path)
{
    struct stat status;
    char *copy = strdup(path);
    if (!copy)
        ctl_out_of_memory();
    int directory = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    bool done = fstat(fileno(from), &status) == 0 && liken(fileno(to), &status) &&
                rename(temporary, path) == 0 && directory >= 0 && fsync(directory) == 0;
    if (directory >= 0)
        close(directory);
    return done;
}

static enum ctl_exit rewrite_without(int fd, const char *path, const char *id)
{
    char *temporary;
    if (asprintf(&temporary, "%s.new", path) < 0)
        ctl_out_of_memory();
    FILE *from = fdopen(fd, "r");
    int new_fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *to = new_fd >= 0 ? fdopen(new_fd, "w") : NULL;
    enum ctl_exit code = CTL_DONE;
    if (!from || !to || !copy_lines_but(from, to, id) || !replace(from, to, temporary, path)) {
        code = complain_errno("write", temporary);
        unlink(temporary);
    }
    if (to)
        fclose(to);
    if (from)
        fclose(from);
    free(temporary);
    return code;
}

enum ctl_exit ctl_token_revoke(struct ctl *ctl)
{
    const char *path = ctl_required_option(ctl, "file"), *id = ctl->arguments[0];
    if (!path)
        return CTL_USAGE;
    int fd = open_locked(path, O_RDWR);
    if (fd < 0)
        return complain_errno("open", path);
    struct tg_token_file *file = read_file(path);
    bool found = file && find(file, id);
    bool readable = file != NULL;
    free(file);
    if (!found) {
        close(fd);
        return readable ? ctl_complain(CTL_REFUSED,
                                       "%s has no token %s; see 'tidegatectl token list'", path, id)
                        : CTL_USAGE;
    }
    enum ctl_exit code = rewrite_without(fd, path, id);
    if (code == CTL_DONE && !ctl->json)
        printf("%s is out of %s; send the daemon SIGHUP\n", id, path);
    return code;
}
