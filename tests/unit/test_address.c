#include "client/tidegate.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect(const char *text, const char *host, const char *port)
{
    char got_host[256], got_port[8];
    struct tg_fault fault = {0};
    enum tg_error error = tgc_parse_address(text, got_host, got_port, &fault);
    cr_assert_eq(error, TG_ERR_OK, "%s: %s", text, fault.text);
    cr_assert_str_eq(got_host, host);
    cr_assert_str_eq(got_port, port);
}

static void expect_refused(const char *text, const char *reason)
{
    char host[256], port[8];
    struct tg_fault fault = {0};
    cr_assert_eq(tgc_parse_address(text, host, port, &fault), TG_ERR_INVALID, "took %s", text);
    cr_assert_eq(fault.error, TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, reason), "%s: %s", text, fault.text);
}

Test(address, host_and_port_are_split)
{
    expect("127.0.0.1:7411", "127.0.0.1", "7411");
    expect("tidegate.internal:1", "tidegate.internal", "1");
    expect("h:65535", "h", "65535");
}

Test(address, an_ipv6_host_stands_in_brackets)
{
    expect("[::1]:7411", "::1", "7411");
    expect("[fe80::1%eth0]:80", "fe80::1%eth0", "80");
}

Test(address, what_has_no_two_parts_is_refused)
{
    expect_refused("", "HOST:PORT");
    expect_refused("localhost", "HOST:PORT");
    expect_refused("[::1]", "HOST:PORT");
    expect_refused("[::1]7411", "HOST:PORT");
    expect_refused("[::1:7411", "HOST:PORT");
}

Test(address, a_bare_ipv6_address_is_refused_with_advice)
{
    expect_refused("::1:7411", "name a host");
    expect_refused("fe80::1:7411", "[IPV6]:PORT");
}

Test(address, a_host_must_be_there_and_fit)
{
    char host[300];
    expect_refused(":7411", "host");
    expect_refused("[]:7411", "host");
    expect_refused("a b:7411", "host");
    expect_refused("a\n:7411", "host");
    memset(host, 'h', 256);
    memcpy(host + 256, ":1", 3);
    expect_refused(host, "host");
    host[255] = '\0';
    strcat(host, ":1");
    char got_host[256], got_port[8];
    cr_assert_eq(tgc_parse_address(host, got_host, got_port, NULL), TG_ERR_OK);
    cr_assert_eq(strlen(got_host), 255);
}

Test(address, a_port_is_1_to_65535_in_digits)
{
    static const char *const bad[] = {"h:",
                                      "h:0",
                                      "h:65536",
                                      "h:123456",
                                      "h:-1",
                                      "h:+1",
                                      "h: 1",
                                      "h:1 ",
                                      "h:http",
                                      "h:1:2",
                                      "h:0x1",
                                      "[::1]:",
                                      "h:99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_refused(bad[i], "1 to 65535");
}

Test(address, a_refusal_needs_no_fault)
{
    char host[256], port[8];
    cr_assert_eq(tgc_parse_address("nowhere", host, port, NULL), TG_ERR_INVALID);
}
