// The record of a volume's blocks (block_record.hpp): a line of JSON, runs of blocks in a zstd
// frame, and a checksum over both.
//
//   the input     is the line and, behind its end, the runs. They are compressed, '@' in the line
//                 becomes their length, and the checksum is put right: what lies behind it is
//                 reached
//   accepted      the blocks ascend and lie within the volume; written again it says the same
//   damaged       one byte of a record that is accepted, and it is not
//   as it is      an input that is no record at all is refused
#include <fmt/core.h>

#include "common/hash/xxh3.hpp"
#include "plugins/s3/blocks/block_record.hpp"
#include "plugins/s3/layout/coding/compression.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace nbdstack::fuzz {
namespace {

const std::string kName = "v/nbdstack-blocks";

std::vector<std::byte> record_of(std::string_view input) {
  std::string line(take_until(input, "\n"));
  const std::vector<std::byte> runs = bytes_of(input);
  if (const std::size_t at = line.find('@'); at != std::string::npos) {
    line.replace(at, 1, fmt::format("{}", runs.size()));
  }
  std::vector<std::byte> record = bytes_of(line + "\n");
  const auto packed = runs.empty() ? runs : compress(Compression::zstd, 1, runs);
  record.insert(record.end(), packed.begin(), packed.end());
  const auto checksum = xxh3_128(record);
  record.insert(record.end(), checksum.begin(), checksum.end());
  return record;
}

std::optional<BlockRecord> parsed(std::span<const std::byte> bytes) {
  return accepted([&] { return BlockRecord::parse(bytes, kName); });
}

void check_blocks(const BlockRecord& record) {
  std::uint64_t position = 0;
  for (const KnownRun& run : record.blocks) {
    must(run.blocks.length > 0 && run.blocks.offset >= position, "runs ascend");
    position = run.blocks.end();
    must(position <= record.block_count && position > run.blocks.offset,
         "runs lie within the volume");
  }
}

void check_rewritten(const BlockRecord& record) {
  const auto written = record.to_bytes();
  must(written.has_value(), "a record that was read can be written");
  const auto again = parsed(*written);
  must(again.has_value(), "a record that is written can be read");
  must(again->blocks == record.blocks && again->block_count == record.block_count &&
           again->state == record.state && again->volume_id == record.volume_id &&
           again->owner == record.owner && again->process == record.process,
       "a record that is written says the same");
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  const std::string input = fuzz::text_of({data, size});
  fuzz::must(!fuzz::parsed(fuzz::bytes_of(input)), "nothing is a record by accident");
  std::vector<std::byte> bytes = fuzz::record_of(input);
  const auto record = fuzz::parsed(bytes);
  if (!record.has_value()) return 0;
  fuzz::check_blocks(*record);
  fuzz::check_rewritten(*record);
  const std::uint64_t choice = xxh3_64(bytes, 0);
  fuzz::with_damage(bytes, choice, [&] {
    fuzz::must(!fuzz::parsed(bytes), "a record with a damaged byte is none");
  });
  return 0;
}
