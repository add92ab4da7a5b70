/* What the command line of tidegatectl is made of: the tables of commands, ids, names of enums. */
#include "ctl/ctl.h"
#include "ctl/text.h"

#include <criterion/criterion.h>
#include <string.h>

/* --- the tables --- */

static void expect_narrow(const struct ctl_command *command, const char *text, size_t columns_max)
{
    for (const char *at = text; *at; at += *at == '\n') {
        size_t bytes = strcspn(at, "\n");
        cr_expect_leq(bytes, columns_max, "%s %s: '%.*s' is wider than a terminal",
                      command->group ? command->group : "", command->name, (int)bytes, at);
        at += bytes;
    }
}

Test(commands, every_command_has_its_help_and_it_fits_a_terminal)
{
    const struct ctl_command *command;
    for (uint32_t i = 0; (command = ctl_command_at(i)); i++) {
        cr_assert(command->run && command->arguments && command->summary[0]);
        cr_expect_not_null(strstr(command->examples, "tidegatectl "), "%s", command->name);
        cr_expect_leq(command->argument_count + command->argument_more, CTL_ARGUMENTS_MAX);
        expect_narrow(command, command->description, 76);
        expect_narrow(command, command->examples, 76);
        uint32_t options = 0;
        for (; options < CTL_OPTIONS_MAX && command->options[options].name; options++)
            expect_narrow(command, command->options[options].help, 72);
        cr_expect_lt(options, CTL_OPTIONS_MAX, "%s: no room for the end of options", command->name);
    }
}

Test(commands, no_two_commands_have_the_same_words)
{
    const struct ctl_command *a, *b;
    for (uint32_t i = 0; (a = ctl_command_at(i)); i++)
        for (uint32_t j = i + 1; (b = ctl_command_at(j)); j++)
            cr_expect(strcmp(a->name, b->name) != 0 || !a->group || !b->group ||
                          strcmp(a->group, b->group) != 0,
                      "%s %s stands twice", a->group, a->name);
}

/* --- reading the command line --- */

static enum ctl_exit read_words(struct ctl *ctl, const char *const *words)
{
    char *argv[48] = {(char *)(uintptr_t) "tidegatectl"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    return ctl_args_read(ctl, argc, argv);
}

Test(commands, the_last_argument_of_some_commands_may_be_repeated)
{
    struct ctl ctl;
    const char *words[40] = {"order", "place", "1"};
    for (int i = 0; i < TG_ORDER_LINES_MAX; i++)
        words[3 + i] = "A";
    cr_assert_eq(read_words(&ctl, words), CTL_DONE);
    cr_assert_eq(ctl.argument_count, 1 + TG_ORDER_LINES_MAX);
    words[3 + TG_ORDER_LINES_MAX] = "A";
    cr_assert_eq(read_words(&ctl, words), CTL_USAGE, "a line too many");
    const char *none[] = {"order", "place", "1", NULL};
    cr_assert_eq(read_words(&ctl, none), CTL_USAGE, "no line");
}

Test(commands, a_request_id_is_what_was_given_or_a_new_one_each_time)
{
    struct ctl ctl;
    uint8_t id[TG_REQUEST_ID_BYTES], other[TG_REQUEST_ID_BYTES];
    char text[CTL_REQUEST_TEXT_BYTES], again[CTL_REQUEST_TEXT_BYTES];
    const char *given[] = {
        "order", "cancel", "1", "--request-id", "000102030405060708090A0b0c0d0e0f", NULL};
    cr_assert_eq(read_words(&ctl, given), CTL_DONE);
    cr_assert(ctl_request_id_option(&ctl, id, text));
    for (uint8_t i = 0; i < TG_REQUEST_ID_BYTES; i++)
        cr_assert_eq(id[i], i);
    cr_assert_str_eq(text, "000102030405060708090a0b0c0d0e0f");
    const char *none[] = {"order", "cancel", "1", NULL};
    cr_assert_eq(read_words(&ctl, none), CTL_DONE);
    cr_assert(ctl_request_id_option(&ctl, id, text));
    cr_assert(ctl_request_id_option(&ctl, other, again));
    cr_assert_neq(memcmp(id, other, sizeof(id)), 0);
    cr_assert(ctl_request_id_parse(again, id), "what is printed can be given");
    cr_assert_eq(memcmp(id, other, sizeof(id)), 0);
}

Test(commands, what_is_no_request_id_is_refused)
{
    uint8_t id[TG_REQUEST_ID_BYTES];
    cr_assert_not(ctl_request_id_parse("", id));
    cr_assert_not(ctl_request_id_parse("000102030405060708090a0b0c0d0e0", id));
    cr_assert_not(ctl_request_id_parse("000102030405060708090a0b0c0d0e0f0", id));
    cr_assert_not(ctl_request_id_parse("000102030405060708090a0b0c0d0e0g", id));
}

/* --- names --- */

Test(names, a_name_is_that_of_the_contract_without_its_prefix)
{
    char name[CTL_NAME_BYTES];
    cr_assert_str_eq(
        ctl_enum_name(&tidegate__v1__order_state__descriptor, TG_ORDER_AWAITING_TEAM, name),
        "awaiting_team");
    cr_assert_str_eq(ctl_enum_name(&tidegate__v1__order_state__descriptor, 99, name), "unknown");
    cr_assert_str_eq(ctl_enum_name(&tidegate__v1__order_state__descriptor, 0, name), "unspecified");
}

Test(names, every_name_is_read_back_in_any_case)
{
    int value;
    for (int type = 1; type < TG_EVENT_TYPE_COUNT; type++) {
        char name[CTL_NAME_BYTES];
        ctl_enum_name(&tidegate__v1__event_type__descriptor, type, name);
        cr_assert(ctl_enum_parse(&tidegate__v1__event_type__descriptor, name, &value));
        cr_assert_eq(value, type);
        cr_assert(ctl_enum_parse(&tidegate__v1__event_type__descriptor, tg_event_type_name(type),
                                 &value));
        cr_assert_eq(value, type);
    }
    cr_assert_not(ctl_enum_parse(&tidegate__v1__event_type__descriptor, "unspecified", &value));
    cr_assert_not(ctl_enum_parse(&tidegate__v1__event_type__descriptor, "unknown", &value));
    cr_assert_not(ctl_enum_parse(&tidegate__v1__event_type__descriptor, "", &value));
}

Test(names, all_choices_fit)
{
    char choices[CTL_CHOICES_BYTES];
    cr_assert_str_eq(ctl_enum_choices(&tidegate__v1__lane__descriptor, choices),
                     "vip, prepaid or flash");
    ctl_enum_choices(&tidegate__v1__event_type__descriptor, choices);
    cr_assert_str_eq(choices + strlen(choices) - strlen(" or sale_ended"), " or sale_ended");
}

Test(names, every_verdict_that_an_order_can_meet_says_what_to_do)
{
    for (int verdict = TG_NOT_PAID; verdict < TG_VERDICT_COUNT; verdict++)
        cr_expect(ctl_verdict_advice(verdict)[0], "%s", tg_verdict_name(verdict));
}
