#include "filters/cache/store/durable/directory_trust.hpp"

#include <fmt/format.h>

namespace nbdstack {
namespace {

Trust by_terms(std::uint64_t then, bool alone, const DiskIdentity& told) {
  const WriterTerm& now = *told.term;
  if (then > now.term) {
    return {Trust::Level::nothing,
            fmt::format("it was last used in the disk's term {}, and the disk says that this is "
                        "term {}: one of the two was restored from an older copy",
                        then, now.term)};
  }
  const bool is_writer = told.right != WriteRight::none;
  if (is_writer ? now.still_true(then) : then == now.term) {
    return {alone ? Trust::Level::all : Trust::Level::dirty,
            alone ? "" : "others may have written while these blocks were read"};
  }
  const std::uint64_t changed = is_writer ? now.since : now.term;
  return {Trust::Level::nothing,
          fmt::format("another server has changed the disk since, or it was brought back from an "
                      "older copy (the directory was last used in the disk's term {}, the last "
                      "change by another was in term {})",
                      then, changed)};
}

}  // namespace

Trust trust_in(const CacheIdentity& found, const DiskIdentity* told) {
  if (told == nullptr || found.disk_id.empty()) return {Trust::Level::compare, ""};
  if (found.disk_id != told->id) {
    return {Trust::Level::another_disk,
            fmt::format("it is the cache of disk {}, and the disk that is served is {}",
                        found.disk_id, told->id)};
  }
  if (found.term && told->term) return by_terms(*found.term, found.alone, *told);
  return {Trust::Level::nothing,
          "nobody counts the writers of this disk, so others may have changed it since"};
}

}  // namespace nbdstack
