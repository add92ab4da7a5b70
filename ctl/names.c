#include "ctl/names.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Every enum has a 0 named <PREFIX>_UNSPECIFIED: what stands before it stands before all names. */
static size_t prefix_bytes(const ProtobufCEnumDescriptor *names)
{
    const ProtobufCEnumValue *zero = protobuf_c_enum_descriptor_get_value(names, 0);
    return zero ? strlen(zero->name) - strlen("UNSPECIFIED") : 0;
}

static const char *lower_case(const char *text, char name[CTL_NAME_BYTES])
{
    size_t used = 0;
    for (; text[used] && used + 1 < CTL_NAME_BYTES; used++)
        name[used] = (char)tolower((unsigned char)text[used]);
    name[used] = '\0';
    return name;
}

const char *ctl_enum_name(const ProtobufCEnumDescriptor *names, int value,
                          char name[CTL_NAME_BYTES])
{
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(names, value);
    return lower_case(found ? found->name + prefix_bytes(names) : "unknown", name);
}

bool ctl_enum_parse(const ProtobufCEnumDescriptor *names, const char *text, int *value)
{
    for (unsigned i = 0; i < names->n_values; i++) {
        const ProtobufCEnumValue *candidate = &names->values[i];
        if (candidate->value == 0 || strcasecmp(candidate->name + prefix_bytes(names), text) != 0)
            continue;
        *value = candidate->value;
        return true;
    }
    return false;
}

const char *ctl_enum_choices(const ProtobufCEnumDescriptor *names, char choices[CTL_CHOICES_BYTES])
{
    size_t used = 0;
    choices[0] = '\0';
    for (unsigned i = 0; i < names->n_values && used < CTL_CHOICES_BYTES; i++) {
        char name[CTL_NAME_BYTES];
        int value = names->values[i].value;
        if (value == 0)
            continue;
        const char *before = used == 0 ? "" : i + 1 == names->n_values ? " or " : ", ";
        used += (size_t)snprintf(choices + used, CTL_CHOICES_BYTES - used, "%s%s", before,
                                 ctl_enum_name(names, value, name));
    }
    return choices;
}
