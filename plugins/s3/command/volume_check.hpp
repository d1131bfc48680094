// What `check` does: reads every object of a volume whole, and holds it against all that vouches
// for it: its checksum, its length, its coding, and in an encrypted volume its authenticity.
// Changes nothing, and needs no right to write, unless it is asked to renew.
//
//   an object that cannot be verified                 damaged, if the service answers a question
//                                                     about it (a HEAD); else the check ends with
//                                                     the error: a service that is down damages
//                                                     nothing
//   an object removed between listing and reading     not counted
//   a block of the layout behind the end of the disk  counted as such, and not read
//   other objects under the volume's prefix           counted as foreign, but for those of this
//                                                     program
//
// Objects that another program wrote carry no checksum: of those only the length is verified. Objects
// of older versions carry none of their pieces (piece_checksums.hpp), which makes reading a part of them
// dear. Both are counted; to renew one is to put it again as it was read, on the condition that it is
// still the same object, so that it has all checksums. What no check can tell is whether an object is missing: one that was never written looks the same.
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

// Objects that are not read: how many, and the names of the first few.
struct OtherObjects {
  static constexpr std::size_t kExamples_max = 5;

  std::uint64_t count = 0;
  std::vector<std::string> examples;

  void add(const std::string& name);
};

// Good objects that lack checksums which this version writes.
struct OldObjects {
  OtherObjects unverified;    // nothing vouches for them
  OtherObjects whole_only;    // a part cannot be verified by itself
  std::uint64_t renewed = 0;  // of both

  void add(const std::string& name, ChecksumKind checksum) {
    (checksum == ChecksumKind::none ? unverified : whole_only).add(name);
  }
};

struct CheckResult {
  std::uint64_t objects = 0;  // read, damaged ones included
  std::uint64_t bytes = 0;    // of good ones, as they are stored
  std::uint64_t damaged = 0;
  // How far into the disk the reading has come. Nothing where names are not in the disk's order.
  std::optional<double> position_percent{};
  OtherObjects behind_end;
  OtherObjects foreign;
  OldObjects old;
};

// All called by one thread at a time.
struct CheckEvents {
  std::function<void(const std::string& name, const std::string& reason)> damaged;
  // So far; may be empty.
  std::function<void(const CheckResult&)> progress;
};

// How objects are renewed.
struct Renewal {
  ConditionalPuts conditions;  // what the store makes of them
  // Throws where nothing may be written any more.
  std::function<void()> check_writable;
};

// `layout` is of blocks. Throws the store's errors where they say nothing about an object.
CheckResult check_volume(ObjectStore& store, const VolumeLayout& layout, std::size_t requests,
                         const CheckEvents& events,
                         const std::optional<Renewal>& renewal = std::nullopt);

}  // namespace nbdstack
