/* The descriptors of all services that the gRPC listener has, a google.protobuf.FileDescriptorSet:
 * written by protoc at build time, for server reflection. */
#ifndef TG_NET_DESCRIPTORS_H
#define TG_NET_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t net_descriptors[];
extern const size_t net_descriptors_bytes;

#endif
