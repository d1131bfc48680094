// The report of `show` about a volume: its geometry, how much of it is stored, and its owner.
//
// A volume of our own needs no passphrase. Each fact was true at some moment while the report was
// made: writers are not kept out meanwhile.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "plugins/s3/command/found_volume.hpp"
#include "plugins/s3/command/volume_cost.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

struct StoredAmount {
  std::uint64_t objects = 0;  // of the disk's blocks
  std::uint64_t bytes = 0;    // as stored: compressed, say
  // Left behind by an interrupted resize; they are not part of the disk.
  std::uint64_t objects_behind_end = 0;
};

struct OwnerReport {
  std::string words;  // the owner's name, and since when
  // The time since the store saw a sign of life, if it has seen one.
  std::optional<std::chrono::seconds> age;
  bool expired = false;  // its silence is so long that another owner may take over
};

struct VolumeReport {
  FoundVolume volume;
  StoredAmount stored;
  std::optional<OwnerReport> owner;  // nothing if there is none
  std::optional<VolumeCost> cost{};  // nothing if it is not measured on this machine

  // Returns the share of the disk's blocks that have objects.
  [[nodiscard]] double stored_percent() const;

  // Returns one line a fact: "size: 10737418240 (10G)".
  [[nodiscard]] std::string to_text() const;
  // Returns one JSON object, with sizes in bytes.
  [[nodiscard]] std::string to_json() const;
};

// Lists with `requests` at a time, and calls `progress` (may be empty) with the number of objects
// so far. Throws the store's errors.
VolumeReport report_volume(ObjectStore& store, FoundVolume volume, std::size_t requests,
                           const std::function<void(std::uint64_t objects)>& progress);

}  // namespace nbdstack
