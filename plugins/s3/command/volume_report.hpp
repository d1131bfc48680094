// What `show` tells of a volume: its geometry, how much of it is stored, and who may write it.
//
// No passphrase is needed for a volume of our own. Everything is as it was at some moment while the
// report was made: nobody is kept from writing meanwhile.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "plugins/s3/command/found_volume.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

struct StoredAmount {
  std::uint64_t objects = 0;  // of the disk's blocks
  std::uint64_t bytes = 0;    // as they are stored: compressed, say
  // Left behind by a resize that was interrupted; they are not part of the disk.
  std::uint64_t objects_behind_end = 0;
};

struct OwnerReport {
  std::string words;  // who, and since when
  // How long ago the store saw a sign of life; nothing where there is none to be seen.
  std::optional<std::chrono::seconds> age;
  bool expired = false;  // it has given no sign of life for so long that anybody may take over
};

struct VolumeReport {
  FoundVolume volume;
  StoredAmount stored;
  std::optional<OwnerReport> owner;  // nothing: nobody

  // Of the disk's blocks, those that have objects.
  [[nodiscard]] double stored_percent() const;

  // One line a fact: "size: 10737418240 (10G)".
  [[nodiscard]] std::string to_text() const;
  // One object; sizes in bytes.
  [[nodiscard]] std::string to_json() const;
};

// Lists by `requests` at a time, and calls `progress` (may be empty) with the number of objects
// seen so far. Throws the store's errors.
VolumeReport report_volume(ObjectStore& store, FoundVolume volume, std::size_t requests,
                           const std::function<void(std::uint64_t objects)>& progress);

}  // namespace nbdstack
