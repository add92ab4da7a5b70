#include "proto/verdict.h"

const char *tg_verdict_name(int verdict)
{
    switch (verdict) {
#define TG_VERDICT_NAME(name)                                                                      \
    case TG_##name:                                                                                \
        return #name;
        TG_VERDICTS(TG_VERDICT_NAME)
#undef TG_VERDICT_NAME
    default: /* an int from the wire, maybe of a newer peer */
        return "UNSPECIFIED";
    }
}

const char *tg_field_name(enum tg_field field)
{
    switch (field) {
    case TG_FIELD_NONE:
        return "";
#define TG_FIELD_NAME(name, text, advice)                                                          \
    case TG_FIELD_##name:                                                                          \
        return text;
        TG_FIELDS(TG_FIELD_NAME) // NOLINT(bugprone-branch-clone): two fields may have the same name
#undef TG_FIELD_NAME
    }
    return "";
}

const char *tg_field_advice(enum tg_field field)
{
    switch (field) {
    case TG_FIELD_NONE:
        return "";
#define TG_FIELD_ADVICE(name, text, advice)                                                        \
    case TG_FIELD_##name:                                                                          \
        return text " " advice;
        TG_FIELDS(TG_FIELD_ADVICE)
#undef TG_FIELD_ADVICE
    }
    return "";
}

const char *tg_order_state_name(int state)
{
    switch (state) {
#define TG_STATE_NAME(name)                                                                        \
    case TG_ORDER_##name:                                                                          \
        return #name;
        TG_ORDER_STATES(TG_STATE_NAME)
#undef TG_STATE_NAME
    default: /* an int from the wire */
        return "UNSPECIFIED";
    }
}

const char *tg_event_type_name(int type)
{
    switch (type) {
#define TG_EVENT_NAME(name)                                                                        \
    case TG_EVENT_##name:                                                                          \
        return #name;
        TG_EVENT_TYPES(TG_EVENT_NAME)
#undef TG_EVENT_NAME
    default: /* an int from the wire */
        return "UNSPECIFIED";
    }
}
