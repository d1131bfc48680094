// An md5-file's records of an export, seen from outside: a server may be using the file.
//
// A record of this file is no promise by itself. There are three reasons to doubt it:
//  - It is marked "doubtful" (md5_file_record.hpp), or all records of the file are, because a
//    server has found that others have written to the disk (md5_file_identity.hpp).
//  - Its region is on the list of doubted regions (open_regions.hpp): it was changed, and the disk
//    was not flushed since. Whether that server still runs, or has crashed, cannot be determined
//    from outside without taking its lock; so both count as a crash.
//  - It is being changed. A judgement therefore needs two looks (verify_pass.hpp).
//
// Records whose length differs from that of the export's block are unknown: the last block of a
// disk is longer after the disk has grown. Records of blocks behind the end are an Error: a copy
// that was cut short must not pass.
//
// Holes in the file are skipped, the rest is read in large steps. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/block/disk_identity.hpp"
#include "common/block/range.hpp"
#include "common/sync/clock.hpp"
#include "filters/md5/md5_file.hpp"

namespace nbdstack {

struct KnownBlock {
  BlockNumber block;
  Md5FileRecord record;
};

class KnownBlocks {
 public:
  // ReadOnlyFile::next_data().
  using NextData = std::function<std::uint64_t(std::uint64_t offset)>;

  // `file` and `clock` outlive this. Throws Error if the file is no md5-file, or a new one, or has
  // records of blocks behind the end of an export of `size_bytes`.
  KnownBlocks(StorageFile& file, std::uint64_t size_bytes, Clock& clock, NextData next_data);

  [[nodiscard]] const BlockGeometry& geometry() const { return geometry_; }

  // `told` is the server's report about its disk. Throws Error if the file is of another one. If
  // others have written since the digests were taken, all are doubtful from now on; returns the
  // reason, else an empty text.
  std::string compare_disk(const std::shared_ptr<const DiskIdentity>& told);

  // Returns the next known blocks, in order, some thousands at a time; none at the end. Blocks to
  // be doubted, for any reason, are doubtful here. The list is read once a second at most.
  std::vector<KnownBlock> next();
  // Returns how much of the file next() has passed: 0 to 100.
  [[nodiscard]] double percent_done() const;

  // Returns the record in the file now; nothing if it is unknown, or being written.
  [[nodiscard]] std::optional<Md5FileRecord> look(BlockNumber block);
  // Returns whether the list now has this block's region, so that its records are doubted.
  [[nodiscard]] bool is_on_list(BlockNumber block) const;

 private:
  [[nodiscard]] std::uint64_t end_of_records() const;
  [[nodiscard]] std::vector<std::uint64_t> doubted(std::optional<std::uint64_t> only) const;
  void expect_nothing_behind_end() const;
  void refresh_list();
  void refresh_identity();
  [[nodiscard]] std::vector<KnownBlock> known_among(BlockNumber first,
                                                    const Md5File::Records& records) const;

  StorageFile& file_;
  Md5File::Identity identity_;  // as last seen
  const BlockGeometry geometry_;
  Clock& clock_;
  const NextData next_data_;
  bool doubts_all_ = false;
  std::uint64_t position_ = 0;  // block
  std::unordered_set<std::uint64_t> on_list_;
  std::optional<TimePoint> list_seen_at_;
};

}  // namespace nbdstack
