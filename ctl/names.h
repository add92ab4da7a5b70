/* Names of the contract's enums, as the tool shows and takes them: "awaiting_team" for
 * ORDER_STATE_AWAITING_TEAM. They come from the contract itself, so that there is no second list.
 * Pure. */
#ifndef TG_CTL_NAMES_H
#define TG_CTL_NAMES_H

#include "proto/verdict.h"

#include <stdbool.h>

#define CTL_NAME_BYTES    40
#define CTL_CHOICES_BYTES 640

/* "unspecified" for 0, "unknown" for what this build does not know. Returns `name`. */
const char *ctl_enum_name(const ProtobufCEnumDescriptor *names, int value,
                          char name[CTL_NAME_BYTES]);
/* In capitals or not; false for what is no name, "unspecified" included. */
bool ctl_enum_parse(const ProtobufCEnumDescriptor *names, const char *text, int *value);
/* "vip, prepaid or flash". Returns `choices`. */
const char *ctl_enum_choices(const ProtobufCEnumDescriptor *names, char choices[CTL_CHOICES_BYTES]);

#endif
