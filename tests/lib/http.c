#include "tests/lib/http.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

int http_connect(const struct daemon *daemon)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(daemon->admin_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    cr_assert(daemon->admin_port != 0, "the daemon was not started with --admin-listen");
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "connect: %s",
                 strerror(errno));
    return fd;
}

bool http_send_bytes(int fd, const void *bytes, size_t count)
{
    const char *at = bytes;
    while (count > 0) {
        ssize_t sent = send(fd, at, count, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        count -= (size_t)sent;
    }
    return true;
}

void http_send(int fd, const char *text)
{
    cr_assert(http_send_bytes(fd, text, strlen(text)), "the listener has closed");
}

/* Waits for bytes and adds them behind `*text`; false at the end of the connection. */
static bool receive(int fd, char **text, size_t *bytes, size_t *room)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    if (*room - *bytes < 4096) {
        *room = 2 * *room + 16384;
        *text = realloc(*text, *room);
        cr_assert_not_null(*text);
    }
    cr_assert_eq(poll(&event, 1, DAEMON_WAIT_MS), 1, "no answer");
    ssize_t got = recv(fd, *text + *bytes, *room - *bytes - 1, 0);
    if (got <= 0)
        return false;
    *bytes += (size_t)got;
    (*text)[*bytes] = '\0';
    return true;
}

struct http_answer http_read(int fd)
{
    struct http_answer answer = {0};
    char *text = NULL;
    size_t bytes = 0, room = 0;
    while (receive(fd, &text, &bytes, &room))
        ;
    close(fd);
    if (bytes == 0) {
        free(text);
        return answer;
    }
    char *end = strstr(text, "\r\n\r\n");
    cr_assert_not_null(end, "no head: %s", text);
    cr_assert_eq(sscanf(text, "HTTP/1.%*d %d", &answer.status), 1, "no HTTP: %s", text);
    snprintf(answer.head, sizeof(answer.head), "%.*s\r\n", (int)(end - text), text);
    answer.body_bytes = bytes - (size_t)(end + 4 - text);
    answer.body = malloc(answer.body_bytes + 1);
    cr_assert_not_null(answer.body);
    memcpy(answer.body, end + 4, answer.body_bytes);
    answer.body[answer.body_bytes] = '\0';
    free(text);
    return answer;
}

void http_free(struct http_answer *answer)
{
    free(answer->body);
    *answer = (struct http_answer){0};
}

struct http_answer http_get_by_name(const struct daemon *daemon, const char *host, const char *path)
{
    char request[2048];
    int fd = http_connect(daemon);
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
             path, host);
    http_send(fd, request);
    return http_read(fd);
}

struct http_answer http_get(const struct daemon *daemon, const char *path)
{
    return http_get_by_name(daemon, "localhost", path);
}

json_t *http_get_json(const struct daemon *daemon, const char *path)
{
    struct http_answer answer = http_get(daemon, path);
    json_error_t error;
    cr_assert_eq(answer.status, 200, "%s: %s", path, answer.body);
    json_t *json = json_loads(answer.body, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(json, "%s: %s in %s", path, error.text, answer.body);
    http_free(&answer);
    return json;
}

const char *http_header(const struct http_answer *answer, const char *name)
{
    static char value[1024];
    size_t length = strlen(name);
    for (const char *line = answer->head; (line = strstr(line, "\r\n")); line += 2)
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
            const char *text = line + 3 + length;
            text += strspn(text, " ");
            snprintf(value, sizeof(value), "%.*s", (int)strcspn(text, "\r"), text);
            return value;
        }
    return NULL;
}

json_int_t http_number(const json_t *object, const char *path)
{
    char name[64];
    const char *rest = path;
    while (*rest) {
        size_t length = strcspn(rest, ".");
        snprintf(name, sizeof(name), "%.*s", (int)length, rest);
        object = json_object_get(object, name);
        rest += length + (rest[length] == '.');
    }
    cr_assert(json_is_integer(object), "there is no number %s", path);
    return json_integer_value(object);
}

/* --- streams --- */

void http_stream_open(struct http_stream *stream, const struct daemon *daemon, const char *path)
{
    char request[512];
    *stream = (struct http_stream){.fd = http_connect(daemon)};
    /* HTTP/1.0: the events come as they are, not in chunks. */
    snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", path);
    http_send(stream->fd, request);
}

json_t *http_stream_next(struct http_stream *stream)
{
    static const char mark[] = "event: snapshot\ndata: ";
    char *event, *end;
    while (!stream->text || !(event = strstr(stream->text, mark)) || !(end = strstr(event, "\n\n")))
        if (!receive(stream->fd, &stream->text, &stream->bytes, &stream->room))
            return NULL;
    json_error_t error;
    event += sizeof(mark) - 1;
    json_t *json = json_loadb(event, (size_t)(end - event), JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(json, "%s in %s", error.text, event);
    size_t taken = (size_t)(end + 2 - stream->text);
    memmove(stream->text, end + 2, stream->bytes - taken + 1);
    stream->bytes -= taken;
    return json;
}

void http_stream_close(struct http_stream *stream)
{
    close(stream->fd);
    free(stream->text);
    *stream = (struct http_stream){0};
}

/* --- metrics --- */

double http_metric(const char *text, const char *sample)
{
    size_t length = strlen(sample);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, sample, length) == 0 && line[length] == ' ')
            return strtod(line + length, NULL);
    }
    cr_assert_fail("there is no sample %s", sample);
    return 0;
}
