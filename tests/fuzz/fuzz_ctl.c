/* A hostile server against tidegatectl: every command with whatever it may be answered, through
 * client/client.c and client/wire.c, which are included so that their socket is one that is made
 * up.
 *
 * input: | u8: the command | u8: 1: --json | what the server says |
 *
 *   | u8 | ...
 *     0x00..0xbf: u16: bytes of the message that answers the newest request, and they follow
 *     0xc0..0xdf: u16: bytes of a Response, and they follow, behind the id of the newest request
 *     0xe0..0xef: so many bytes as they stand
 *     0xf0..:     the connection ends; 0xf8..: breaks
 *
 * What must hold: the command ends, with an exit code that it documents; with --json each line on
 * stdout is a JSON object; and nothing reaches a terminal that could steer it.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What they call; made up below. */
static ssize_t server_send(int fd, const void *data, size_t bytes, int flags);
static ssize_t server_recv(int fd, void *data, size_t room, int flags);
static int server_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
static int server_close(int fd);

#define send  server_send
#define recv  server_recv
#define poll  server_poll
#define close server_close
#include "client/wire.c"

#include "client/client.c"
#undef send
#undef recv
#undef poll
#undef close

#include "ctl/ctl.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lib_ctl.h"

enum {
    WORDS_MAX = 24,
    CONNECTS_MAX = 3,
    FD = 1000,
    SAID_MAX = 2048, /* in one frame */
};

/* LeakSanitizer asks: a program that does one command leaves its memory to the end of the process.
 */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

static struct fuzz_bytes script;
static uint64_t asked, asked_kind;  /* correlation id and kind of the newest request */
static uint32_t connects;           /* of this command */
static uint8_t said[SAID_MAX + 64]; /* by the server, not received yet */
static size_t said_bytes;
static bool is_over; /* the connection */
static int over_errno;

/* --- the server --- */

/* The correlation id of the last frame of `bytes`, which are whole frames. */
static void note_asked(struct tg_bytes bytes)
{
    struct tg_bytes body;
    struct tg_envelope envelope;
    size_t used;
    while (bytes.size > 0) {
        FUZZ_MUST(tg_frame_next(bytes, &body, &used) == TG_FRAME_WHOLE);
        FUZZ_MUST(tg_request_decode(body, &envelope) == TG_DECODE_OK);
        asked = envelope.correlation_id;
        asked_kind = envelope.kind;

        bytes = (struct tg_bytes){bytes.data + used, bytes.size - used};
    }
}

static ssize_t server_send(int fd, const void *data, size_t bytes, int flags)
{
    (void)flags;
    FUZZ_MUST(fd == FD);
    if (is_over) {
        errno = EPIPE;
        return -1;
    }
    note_asked((struct tg_bytes){data, bytes});
    return (ssize_t)bytes;
}

static size_t put_varint(uint8_t *to, uint64_t value)
{
    size_t bytes = 0;
    for (; value >= 0x80; value >>= 7)
        to[bytes++] = (uint8_t)(value | 0x80);
    to[bytes++] = (uint8_t)value;
    return bytes;
}

static void say_response(bool is_of_its_kind)
{
    uint8_t head[32] = {0x08}, body[SAID_MAX];
    size_t size = fuzz_u16(&script) % SAID_MAX, head_bytes = 1;
    size = size < script.left ? size : script.left;
    fuzz_take(&script, body, size);
    head_bytes += put_varint(head + head_bytes, asked);
    if (is_of_its_kind) {
        head_bytes += put_varint(head + head_bytes, asked_kind << 3 | 2);
        head_bytes += put_varint(head + head_bytes, size);
    }
    said_bytes = tg_frame_prefix(said, (uint32_t)(head_bytes + size));
    memcpy(said + said_bytes, head, head_bytes);
    memcpy(said + said_bytes + head_bytes, body, size);
    said_bytes += head_bytes + size;
}

/* The next that the server says; nothing behind the end of the input: it is gone. */
static void say(void)
{
    if (script.left == 0) {
        is_over = true;
        over_errno = 0;
        return;
    }
    uint8_t what = fuzz_u8(&script);
    if (what < 0xe0) {
        say_response(what < 0xc0);
    } else if (what < 0xf0) {
        said_bytes = what - 0xdfu;
        fuzz_take(&script, said, said_bytes);
    } else {
        is_over = true;
        over_errno = what < 0xf8 ? 0 : ECONNRESET;
    }
}

static ssize_t server_recv(int fd, void *data, size_t room, int flags)
{
    (void)flags;
    FUZZ_MUST(fd == FD && room > 0);
    if (said_bytes == 0 && !is_over)
        say();
    if (said_bytes == 0) {
        errno = over_errno;
        return over_errno ? -1 : 0;
    }
    size_t size = said_bytes < room ? said_bytes : room;
    memcpy(data, said, size);
    memmove(said, said + size, said_bytes - size);
    said_bytes -= size;
    return (ssize_t)size;
}

static int server_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    (void)fds;
    (void)count;
    (void)timeout_ms;
    return 1;
}

static int server_close(int fd)
{
    FUZZ_MUST(fd == FD);
    return 0;
}

/* Instead of client/connect.c. After a few connections nothing helps, or commands would go on
 * asking until their time is over. */
enum tg_error tgc_connect(const char *host, const char *port, const char *name, int64_t deadline_ns,
                          uint32_t silence_ms, int *fd, struct tg_fault *fault)
{
    (void)host;
    (void)port;
    (void)name;
    (void)deadline_ns;
    (void)silence_ms;
    if (connects++ == CONNECTS_MAX || script.left == 0)
        return tg_fault_set(fault, TG_ERR_NOMEM, "nobody is there");
    said_bytes = 0;
    is_over = false;
    *fd = FD;
    return TG_ERR_OK;
}

/* --- the commands --- */

static char sale_file[512], ingest_file[512];

static void write_file(char *path, const char *name, const char *text)
{
    snprintf(path, sizeof(sale_file), "%s/%s", fuzz_directory(), name);
    FILE *file = fopen(path, "w");
    FUZZ_MUST(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void prepare(void)
{
    if (sale_file[0])
        return;
    write_file(sale_file, "sale.json",
               "{\"sale_id\":1001,\"kind\":\"seckill\",\"name\":\"Sale\",\"currency\":\"EUR\","
               "\"starts_at\":\"now\",\"ends_at\":\"+2h\",\"items\":[{\"sku\":\"A\","
               "\"list_price_minor\":200,\"sale_price_minor\":100,\"stock_units\":10,\"per_user_"
               "limit\":1,\"per_order_max\":0}]}");
    write_file(
        ingest_file, "orders.json",
        "[{\"channel\":3,\"external_id\":\"x-1\",\"sale_id\":1001,\"sku\":\"A\",\"user_id\":7,"
        "\"quantity\":1,\"unit_price_minor\":100,\"ordered_at\":1763805600000},"
        "{\"channel\":3,\"external_id\":\"x-2\",\"sale_id\":1001,\"sku\":\"A\",\"user_id\":8,"
        "\"quantity\":1,\"unit_price_minor\":100,\"ordered_at\":1763805600000}]");
}

/* As tidegatectl.c has it. */
static enum ctl_exit run(const char *command, bool json)
{
    static char words[512];
    char *argv[WORDS_MAX] = {(char *)(uintptr_t) "tidegatectl"};
    struct ctl ctl;
    int argc = 1;
    snprintf(words, sizeof(words), "%s --timeout 1ms%s", command, json ? " --json" : "");
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        argv[argc++] = strcmp(word, "@sale") == 0     ? sale_file
                       : strcmp(word, "@ingest") == 0 ? ingest_file
                                                      : word;
    FUZZ_MUST(argc < WORDS_MAX);
    enum ctl_exit code = ctl_args_read(&ctl, argc, argv);
    if (code != CTL_DONE)
        fuzz_fail(__FILE__, __LINE__, "a command is misused:", "%s", command);
    code = ctl.command->run(&ctl);
    tgc_close(ctl.client);
    return code;
}

/* --- what it printed --- */

static void check_text(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((uint8_t)text[i] < 0x20 && text[i] != '\n') || text[i] == 0x7f)
            fuzz_fail(__FILE__, __LINE__, "a terminal gets byte", "%02x at %zu of: %.*s",
                      (uint8_t)text[i], i, (int)size, text);
}

static void check_json(const char *text, size_t size)
{
    const char *end = text + size;
    while (text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        json_t *line = line_end ? json_loadb(text, (size_t)(line_end - text), 0, NULL) : NULL;
        if (!json_is_object(line))
            fuzz_fail(__FILE__, __LINE__, "no line of JSON:", "%.*s", (int)(end - text), text);
        json_decref(line);
        text = line_end + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FILE *kept_out = stdout, *kept_err = stderr;
    char *out_text = NULL, *err_text = NULL;
    size_t out_bytes = 0, err_bytes = 0;
    if (size > FUZZ_BYTES_MAX)
        return 0;
    prepare();
    script = (struct fuzz_bytes){data, size};
    const char *command = ctl_commands[fuzz_below(&script, CTL_COMMANDS)].words;
    bool json = fuzz_u8(&script) & 1;
    connects = 0;

    stdout = open_memstream(&out_text, &out_bytes);
    stderr = open_memstream(&err_text, &err_bytes);
    FUZZ_MUST(stdout && stderr);
    enum ctl_exit code = run(command, json);
    fclose(stdout);
    fclose(stderr);
    stdout = kept_out;
    stderr = kept_err;
    if (code != CTL_DONE && code != CTL_REFUSED && code != CTL_UNREACHABLE)
        fuzz_fail(__FILE__, __LINE__, "an exit code", "%d of %s: %s", (int)code, command, err_text);
    check_text(err_text, err_bytes);
    if (json)
        check_json(out_text, out_bytes);
    else
        check_text(out_text, out_bytes);
    free(out_text);
    free(err_text);
    return 0;
}
