#include "client/tidegate.h"

#include <stdbool.h>
#include <string.h>

/* 1 to 65535 in plain decimal digits; port 0 is for those who listen. */
static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return false;
    uint32_t port = 0;
    for (size_t i = 0; i < digits; i++)
        port = port * 10 + (uint32_t)(text[i] - '0');
    return port >= 1 && port <= 65535;
}

/* Finds the host and the port in `text`; false when there are no such parts. */
static bool split(const char *text, const char **host, size_t *host_bytes, const char **port)
{
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (!end || end[1] != ':')
            return false;
        *host = text + 1;
        *host_bytes = (size_t)(end - *host);
        *port = end + 2;
        return true;
    }
    const char *colon = strchr(text, ':');
    if (!colon)
        return false;
    *host = text;
    *host_bytes = (size_t)(colon - text);
    *port = colon + 1;
    return true;
}

/* A host of spaces or control bytes would only fail later, in the resolver, with less to say. */
static bool is_host(const char *host, size_t host_bytes)
{
    if (host_bytes == 0 || host_bytes > 255)
        return false;
    for (size_t i = 0; i < host_bytes; i++)
        if (host[i] <= ' ' || host[i] > '~' || strchr("[]/", host[i]))
            return false;
    return true;
}

enum tg_error tgc_parse_address(const char *text, char host[256], char port[8],
                                struct tg_fault *fault)
{
    const char *host_at, *port_at;
    size_t host_bytes;
    if (!split(text, &host_at, &host_bytes, &port_at))
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "address \"%.80s\" must be HOST:PORT or [IPV6]:PORT", text);
    if (!is_host(host_at, host_bytes))
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "address \"%.80s\" must name a host of 1 to 255 characters before the "
                            "port",
                            text);
    if (!is_port(port_at)) {
        bool bare_v6 = text[0] != '[' && strchr(port_at, ':');
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "address \"%.80s\" must end in a port, 1 to 65535%s", text,
                            bare_v6 ? "; write an IPv6 address as [IPV6]:PORT" : "");
    }
    memcpy(host, host_at, host_bytes);
    host[host_bytes] = '\0';
    memcpy(port, port_at, strlen(port_at) + 1);
    return TG_ERR_OK;
}
