// The places in an md5-file.
//
//   0      identity: lines of text (md5_file_identity.hpp), padded with zeros
//   16 KiB the list of regions that are, or were lately, being changed (open_regions.hpp)
//   64 KiB one record for each block of the disk (md5_file_record.hpp) up to the last written one:
//          holes, and places behind the end, are unknown blocks
//
// A region is the unit of the list: the records of 256 neighbouring blocks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/block/range.hpp"
#include "filters/md5/md5_file_record.hpp"

namespace nbdstack {

constexpr std::size_t kIdentity_bytes = 16384;
constexpr std::uint64_t kRegionList_offset = kIdentity_bytes;
constexpr std::uint64_t kRecords_offset = 65536;

constexpr std::uint64_t kBlocksPerRegion = 256;
constexpr std::size_t kRegion_bytes = kBlocksPerRegion * kRecord_bytes;

inline std::uint64_t offset_of_record(BlockNumber block) {
  return kRecords_offset + block.value * kRecord_bytes;
}

}  // namespace nbdstack
