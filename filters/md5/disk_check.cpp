#include "filters/md5/disk_check.hpp"

#include <algorithm>
#include <vector>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr std::uint64_t kPlaces = 16;
constexpr std::uint64_t kRecordsPerPlace = 1024;
constexpr std::size_t kSamplesPerPlace = 4;
constexpr std::size_t kTooFew = 2;

struct Sample {
  BlockNumber block;
  Content content;
};

// Returns the first blocks at each place that can be judged. Most are never read, because one right
// block is enough.
std::vector<Sample> samples_of(const Md5File& file, const BlockGeometry& geometry) {
  std::vector<Sample> samples;
  const std::uint64_t blocks = geometry.block_count();
  for (std::uint64_t place = 0; place < kPlaces; ++place) {
    const BlockNumber first{blocks / kPlaces * place};
    const std::uint64_t count = std::min(kRecordsPerPlace, blocks - first.value);
    const Md5File::Records records = file.load(first, count);
    const std::size_t enough = samples.size() + kSamplesPerPlace;
    for (std::uint64_t i = 0; i < count && samples.size() < enough; ++i) {
      const BlockNumber block{first.value + i};
      const bool is_new = samples.empty() || samples.back().block < block;
      if (!is_new || !records[i] || records[i]->doubtful ||
          records[i]->content.length != geometry.length_of(block)) {
        continue;
      }
      samples.push_back({block, records[i]->content});
    }
  }
  return samples;
}

}  // namespace

bool expect_same_disk(const Md5File& file, Layer& below, const BlockGeometry& geometry) {
  const std::vector<Sample> samples = samples_of(file, geometry);
  if (samples.size() < kTooFew) return false;
  for (const Sample& sample : samples) {
    std::vector<std::byte> data(sample.content.length);
    below.pread(data, geometry.offset_of(sample.block));
    if (md5(data) == sample.content.digest) return true;
  }
  throw Error(EINVAL,
              fmt::format("md5-file {}: none of {} blocks that were looked at (the first is {}) "
                          "holds what the file says: it is another disk's, or this disk was "
                          "replaced or lost. To serve the disk as it is, name another md5-file",
                          file.path(), samples.size(), samples.front().block.value));
}

}  // namespace nbdstack
