// Runs `check`: reads every object of a volume whole, and compares it with its checksum, its
// length, its coding, and in an encrypted volume its authenticity. Changes nothing, and needs no
// right to write, unless it is asked to renew.
//
//   an object that cannot be verified                 damaged, if the service answers a HEAD of it;
//                                                     else the check ends with the error: an outage
//                                                     damages nothing
//   an object removed between listing and reading     not counted
//   a block of the layout behind the end of the disk  counted as such, and not read
//   other objects under the volume's prefix           counted as foreign, except this program's own
//
// Objects of other programs have no checksum: only their length is verified. Objects of older
// versions lack checksums of their pieces (piece_checksums.hpp), which makes reading a part of them
// expensive. Both are counted. Renewing puts an object again as it was read, on the condition that
// it is still the same, so that it has all checksums. No check can tell whether an object is
// missing: a block that was never written looks the same.
//
// One request lists while the others read: 1,000 reads take far longer than the page that named
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/store/conditional_puts.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// Objects that are not read: their number, and the names of the first few.
struct OtherObjects {
  static constexpr std::size_t kExamples_max = 5;

  std::uint64_t count = 0;
  std::vector<std::string> examples;

  void add(const std::string& name);
};

// Good objects without checksums that this version writes.
struct OldObjects {
  OtherObjects unverified;    // they have no checksum
  OtherObjects whole_only;    // a part cannot be verified by itself
  std::uint64_t renewed = 0;  // of both

  void add(const std::string& name, ChecksumKind checksum) {
    (checksum == ChecksumKind::none ? unverified : whole_only).add(name);
  }
};

struct CheckResult {
  std::uint64_t objects = 0;  // read, damaged ones included
  std::uint64_t bytes = 0;    // of good ones, as stored
  std::uint64_t damaged = 0;
  // The progress through the disk. Nothing if names are not in the disk's order.
  std::optional<double> position_percent{};
  OtherObjects behind_end;
  OtherObjects foreign;
  OldObjects old;
};

// Called by one thread at a time.
struct CheckEvents {
  std::function<void(const std::string& name, const std::string& reason)> damaged;
  // Called with the result so far; may be empty.
  std::function<void(const CheckResult&)> progress;
};

// The settings for renewing objects.
struct Renewal {
  ConditionalPuts conditions;  // as the store honours them
  // Throws if the volume must not be written any more.
  std::function<void()> check_writable;
};

// `layout` is one of blocks. Throws those errors of the store that are not about an object.
CheckResult check_volume(ObjectStore& store, const VolumeLayout& layout, std::size_t requests,
                         const CheckEvents& events,
                         const std::optional<Renewal>& renewal = std::nullopt);

}  // namespace nbdstack
