#include "plugins/s3/blocks/block_record.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/layout/coding/compression.hpp"
#include "plugins/s3/store/record_reader.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kRecordFormat = "nbdstack-blocks";
constexpr std::uint64_t kBlocksVersion = 1;
constexpr int kRecordLevel = 3;
constexpr std::array<std::string_view, 12> kRecordFields{
    "format", "version",    "state",   "volume",        "owner",  "host",
    "pid",    "start-time", "boot-id", "pid-namespace", "blocks", "bytes"};
constexpr std::array<std::pair<BlockRecord::State, std::string_view>, 3> kRecordStates{
    {{BlockRecord::State::recorded, "recorded"},
     {BlockRecord::State::unowned, "unowned"},
     {BlockRecord::State::unowned_ended, "unowned-ended"}}};

enum Kind : std::uint8_t { unknown = 0, absent = 1, stored = 2 };

[[noreturn]] void refuse_blocks(const std::string& object_name, const std::string& reason) {
  throw Error(EINVAL, fmt::format("{}: not a record of blocks that this version understands: {}",
                                  object_name, reason));
}

void append_known_run(std::vector<std::byte>& runs, std::uint64_t length, Kind kind) {
  if (length == 0) return;
  for (std::uint64_t rest = length * 4 + kind;; rest >>= 7U) {
    const bool is_last = rest < 128;
    runs.push_back(static_cast<std::byte>((rest & 127U) | (is_last ? 0U : 128U)));
    if (is_last) return;
  }
}

std::optional<std::vector<std::byte>> encode_runs(const KnownBlocks& blocks,
                                                  std::uint64_t block_count) {
  std::vector<std::byte> runs;
  std::uint64_t position = 0;
  for (const KnownRun& run : blocks) {
    const std::uint64_t end = std::min(run.blocks.end(), block_count);
    if (run.blocks.offset >= end) break;
    append_known_run(runs, run.blocks.offset - position, unknown);
    append_known_run(runs, end - run.blocks.offset, run.stored ? stored : absent);
    position = end;
    if (runs.size() > kRuns_bytes_max) return std::nullopt;
  }
  append_known_run(runs, block_count - position, unknown);
  return runs;
}

class RunReader {
 public:
  RunReader(std::span<const std::byte> bytes, const std::string& object_name)
      : bytes_(bytes), object_name_(object_name) {}

  KnownBlocks read(std::uint64_t block_count) {
    KnownBlocks blocks;
    std::uint64_t position = 0;
    while (!bytes_.empty()) {
      const std::uint64_t number = take();
      const std::uint64_t length = number / 4;
      const std::uint64_t kind = number % 4;
      if (kind > stored || length == 0 || length > block_count - position) {
        refuse_blocks(object_name_, "its runs are not those of so many blocks");
      }
      if (kind != unknown) {
        blocks.push_back({.blocks = {position, length}, .stored = kind == stored});
      }
      position += length;
    }
    if (position != block_count) refuse_blocks(object_name_, "its runs end before the volume does");
    return blocks;
  }

 private:
  std::uint64_t take() {
    std::uint64_t number = 0;
    for (unsigned shift = 0; shift < 63 && !bytes_.empty(); shift += 7) {
      const auto digit = std::to_integer<std::uint64_t>(bytes_.front());
      bytes_ = bytes_.subspan(1);
      number |= (digit & 127U) << shift;
      if (digit < 128) return number;
    }
    refuse_blocks(object_name_, "one of its runs is cut short");
  }

  std::span<const std::byte> bytes_;
  const std::string& object_name_;
};

BlockRecord::State record_state_of(const RecordReader& header) {
  const std::string text = header.text("state");
  for (const auto& [state, name] : kRecordStates) {
    if (text == name) return state;
  }
  header.refuse("its state is unknown");
}

// Returns the bytes before the checksum, after verifying them.
std::span<const std::byte> verified_content(std::span<const std::byte> bytes,
                                            const std::string& object_name) {
  constexpr std::size_t kChecksum_bytes = 16;
  if (bytes.size() < kChecksum_bytes) refuse_blocks(object_name, "it is cut short");
  const auto content = bytes.first(bytes.size() - kChecksum_bytes);
  const auto checksum = xxh3_128(content);
  static_assert(sizeof(checksum) == kChecksum_bytes);
  if (std::memcmp(checksum.data(), bytes.data() + content.size(), kChecksum_bytes) != 0) {
    refuse_blocks(object_name, "its checksum does not fit");
  }
  return content;
}

}  // namespace

std::optional<std::vector<std::byte>> BlockRecord::to_bytes() const {
  const auto runs = encode_runs(blocks, block_count);
  if (!runs.has_value()) return std::nullopt;
  nlohmann::ordered_json header;
  header["format"] = kRecordFormat;
  header["version"] = kBlocksVersion;
  for (const auto& [each, name] : kRecordStates) {
    if (each == state) header["state"] = name;
  }
  header["volume"] = volume_id;
  header["owner"] = owner;
  header["host"] = process.host_name;
  header["pid"] = static_cast<std::uint64_t>(process.pid);
  header["start-time"] = process.start_time;
  header["boot-id"] = process.boot_id;
  header["pid-namespace"] = process.pid_namespace;
  header["blocks"] = block_count;
  header["bytes"] = runs->size();
  const std::string line =
      header.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  const auto text = std::as_bytes(std::span(line));
  std::vector<std::byte> bytes(text.begin(), text.end());
  const auto packed = runs->empty() ? *runs : compress(Compression::zstd, kRecordLevel, *runs);
  bytes.insert(bytes.end(), packed.begin(), packed.end());
  const auto checksum = xxh3_128(bytes);
  bytes.insert(bytes.end(), checksum.begin(), checksum.end());
  return bytes;
}

BlockRecord BlockRecord::parse(std::span<const std::byte> bytes, const std::string& object_name) {
  const auto content = verified_content(bytes, object_name);
  const auto line_end = std::find(content.begin(), content.end(), std::byte{'\n'});
  std::string line(static_cast<std::size_t>(line_end - content.begin()), '\0');
  if (line_end == content.end()) refuse_blocks(object_name, "it has no header");
  std::memcpy(line.data(), content.data(), line.size());
  const RecordReader header(line, object_name, refuse_blocks);
  header.expect_text("format", kRecordFormat);
  if (header.number("version") != kBlocksVersion) header.refuse("it is of another version");
  header.expect_no_other_fields(kRecordFields);
  BlockRecord record{.state = record_state_of(header),
                     .volume_id = header.text("volume"),
                     .owner = header.text("owner"),
                     .process = {.host_name = header.text("host"),
                                 .pid = static_cast<std::int64_t>(header.small_number("pid")),
                                 .start_time = header.number("start-time"),
                                 .boot_id = header.text("boot-id"),
                                 .pid_namespace = header.text("pid-namespace")},
                     .block_count = header.number("blocks")};
  if (record.block_count > std::numeric_limits<std::uint64_t>::max() / 8) {
    header.refuse("so many blocks are not possible");
  }
  const std::uint64_t runs_bytes = header.number("bytes");
  if (runs_bytes > 2 * kRuns_bytes_max) header.refuse("its runs are too long");
  std::vector<std::byte> runs(runs_bytes);
  try {
    if (runs_bytes > 0) decompress(Compression::zstd, content.subspan(line.size() + 1), runs);
  } catch (const Error& error) {
    refuse_blocks(object_name, error.what());
  }
  record.blocks = RunReader(runs, object_name).read(record.block_count);
  return record;
}

std::size_t block_record_bytes_max(std::uint64_t block_count) {
  constexpr std::size_t kHeader_bytes_max = std::size_t{64} << 10U;
  // A run of length 16 or less is a byte, any other ten at most.
  const std::size_t runs_bytes = std::min<std::uint64_t>(block_count + 64, kRuns_bytes_max + 16);
  return kHeader_bytes_max + compressed_bytes_max(Compression::zstd, runs_bytes);
}

std::string block_record_key(const std::string& volume_key) {
  return (volume_key.empty() ? "" : volume_key + "/") + "nbdstack-blocks";
}

}  // namespace nbdstack
