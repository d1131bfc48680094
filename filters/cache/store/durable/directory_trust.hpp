// Whether what a cache directory holds is still true of the disk that is served.
//
// `found` is what the directory says of itself, `told` what the layer below tells now:
//
//   the disk's id                                             trust
//   both say one, not the same                                another disk's: refused
//   both say it, the same                                     by the terms, below
//   neither, or one of them does not                          its content is compared with the disk
//
//   the terms, of one disk                                    clean blocks     dirty blocks
//   told held; nobody else wrote since found's term           see `alone`      good
//   told none; found's term is the one that is told           see `alone`      good
//   anything else: another writer since then, a term          worth nothing    a person decides
//     that is newer than the disk's, terms not counted
//
// `alone`: clean blocks are good if the server that noted them was the only writer, and worth
// nothing if others may have written while it read.
#pragma once

#include <cstdint>
#include <string>

#include "common/block/disk_identity.hpp"
#include "filters/cache/store/durable/cache_identity.hpp"

namespace nbdstack {

struct Trust {
  enum class Level : std::uint8_t {
    all,
    dirty,    // clean blocks are read again from below
    nothing,  // `because` says what has happened
    compare,  // see whether its content is the disk's
    another_disk,
  };
  Level level = Level::all;
  std::string because;
};

// `told`: null where the layer below tells nothing. Both have the same size.
Trust trust_in(const CacheIdentity& found, const DiskIdentity* told);

}  // namespace nbdstack
