// Converts between nbdkit's C values and ours. Both directions stand beside each other so that they
// cannot drift apart.
#pragma once

#include <nbdkit-filter.h>

#include <cerrno>
#include <cstdint>

#include "common/block/layer.hpp"
#include "common/error.hpp"

namespace nbdstack {

inline Durability durability_of(std::uint32_t flags) {
  return (flags & NBDKIT_FLAG_FUA) != 0 ? Durability::fua : Durability::on_flush;
}
inline std::uint32_t flags_of(Durability durability) {
  return durability == Durability::fua ? NBDKIT_FLAG_FUA : 0;
}

inline ZeroOptions zero_options_of(std::uint32_t flags) {
  return {.may_trim = (flags & NBDKIT_FLAG_MAY_TRIM) != 0,
          .fast = (flags & NBDKIT_FLAG_FAST_ZERO) != 0,
          .durability = durability_of(flags)};
}
inline std::uint32_t flags_of(const ZeroOptions& options) {
  return (options.may_trim ? NBDKIT_FLAG_MAY_TRIM : 0) |
         (options.fast ? NBDKIT_FLAG_FAST_ZERO : 0) | flags_of(options.durability);
}

inline ExtentType extent_type_of(std::uint32_t type) {
  return {.hole = (type & NBDKIT_EXTENT_HOLE) != 0, .zero = (type & NBDKIT_EXTENT_ZERO) != 0};
}
inline std::uint32_t nbdkit_type_of(ExtentType type) {
  return (type.hole ? NBDKIT_EXTENT_HOLE : 0) | (type.zero ? NBDKIT_EXTENT_ZERO : 0);
}

// nbdkit's values are the same for FUA, zero and cache: 0 none, 1 emulated, 2 native.
static_assert(NBDKIT_FUA_EMULATE == NBDKIT_CACHE_EMULATE);
static_assert(NBDKIT_FUA_NATIVE == NBDKIT_CACHE_NATIVE);

inline Support support_of(int value) {
  if (value == NBDKIT_FUA_NATIVE) return Support::native;
  return value == NBDKIT_FUA_EMULATE ? Support::emulated : Support::none;
}
inline int value_of(bool can) {
  return can ? 1 : 0;
}
inline int value_of(Support support) {
  if (support == Support::native) return NBDKIT_FUA_NATIVE;
  return support == Support::emulated ? NBDKIT_FUA_EMULATE : NBDKIT_FUA_NONE;
}

// NBD knows few errors, and nbdkit sends every other one as EINVAL: "your request makes no sense",
// which is always wrong here. The log has the exact reason.
inline int errno_for_client(int code) {
  switch (code) {
    case EPERM:
    case EROFS:
    case EIO:
    case ENOMEM:
    case EINVAL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOTSUP:
    case EOVERFLOW:
    case ESHUTDOWN:
      return code;
    case EACCES:
      return EPERM;
    default:  // ETIMEDOUT, ENOENT, connection errors, ...
      return EIO;
  }
}

inline void add_extents(nbdkit_extents* target, const ExtentList& extents) {
  for (const Extent& extent : extents.all()) {
    if (nbdkit_add_extent(target, extent.range.offset, extent.range.length,
                          nbdkit_type_of(extent.type)) == -1) {
      throw Error::reported(errno);
    }
  }
}

}  // namespace nbdstack
