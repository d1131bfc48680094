// The md5-file (md5_file.hpp): its identity, its list of open regions, its records.
//
//   the input      is a file's first lines up to an empty line, then a list of regions of 4 entries
//                  of 32 bytes, then records of 64 bytes. It is taken as it is, and as a file of
//                  which the checksums of the lines, entries and records are right
//   any file       is refused, or opened, and what is in it is read, changed and read again
//   an identity    that is accepted is the same when it is written
//   a record       comes back as it went in; one damaged byte, and it is not believed
#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "common/hash/xxh3.hpp"
#include "filters/md5/md5_file.hpp"
#include "filters/md5/md5_file_layout.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::fuzz {
namespace {

constexpr std::size_t kEntries = 4;
constexpr std::uint64_t kBlocks = 600;  // of more than two regions
const std::string kName = "digests";

std::uint64_t seed_of(const std::string& uuid) {
  return xxh3_64(std::as_bytes(std::span(uuid)), 0);
}

// The bytes of a part become those of a checksum of what stands before it.
void put_checksum(std::span<std::byte> part, std::size_t at, std::uint64_t seed) {
  const std::uint64_t checksum = xxh3_64(part.first(at), seed);
  std::memcpy(part.data() + at, &checksum, sizeof checksum);
}

struct Input {
  std::string lines;
  std::vector<std::byte> entries;
  std::vector<std::byte> records;
};

Input input_of(std::string_view text) {
  Input input;
  input.lines = std::string(take_until(text, "\n\n")) + "\n";
  input.lines.resize(std::min(input.lines.size(), kIdentity_bytes / 2));
  constexpr std::size_t kEntries_bytes = kEntries * OpenRegions::kEntry_bytes;
  input.entries = bytes_of(text.substr(0, kEntries_bytes));
  text.remove_prefix(std::min(text.size(), kEntries_bytes));
  input.records = bytes_of(text);
  return input;
}

// The line "check=" at the end of an identity is the right one.
void put_right(Input& input, const std::string& uuid) {
  const std::size_t check = input.lines.rfind("check=");
  if (check != std::string::npos) {
    const auto before = std::as_bytes(std::span(input.lines).first(check));
    input.lines = input.lines.substr(0, check) + fmt::format("check={:016x}\n", xxh3_64(before, 0));
  }
  const std::uint64_t seed = seed_of(uuid);
  constexpr std::size_t kEntry_bytes = OpenRegions::kEntry_bytes;
  for (std::size_t at = 0; at + kEntry_bytes <= input.entries.size(); at += kEntry_bytes) {
    put_checksum(std::span(input.entries).subspan(at, kEntry_bytes), 24, seed);
  }
  for (std::size_t at = 0; at + kRecord_bytes <= input.records.size(); at += kRecord_bytes) {
    put_checksum(std::span(input.records).subspan(at, kRecord_bytes), 56,
                 seed + at / kRecord_bytes);
  }
}

std::vector<std::byte> file_of(const Input& input) {
  std::vector<std::byte> file(kRecords_offset);
  std::memcpy(file.data(), input.lines.data(), input.lines.size());
  std::copy(input.entries.begin(), input.entries.end(),
            file.begin() + static_cast<long>(kRegionList_offset));
  file.insert(file.end(), input.records.begin(), input.records.end());
  return file;
}

void check_change(Md5File& file, BlockNumber first) {
  const auto before = file.load(first, 3);
  auto change = file.begin(first, before);
  must(change.has_value(), "there is room for one change");
  must(file.load(first, 1) == Md5File::Records(1), "what is being changed is unknown");
  const std::vector<std::optional<Content>> contents(3, Content{.digest = {}, .length = 4096});
  change->record(contents);
  must(file.load(first, 1).front()->content == contents.front(), "what was recorded is known");
}

void check_use(testing::SimulatedDisk& disk) {
  const std::shared_ptr<StorageFile> storage = disk.directory()->open(kName);
  const auto identity = Md5File::identity_of(*storage);
  if (!identity.has_value()) return;
  Md5File file(storage, *identity, {});
  const auto records = file.load({0}, kBlocks);
  must(records.size() == kBlocks, "there is a record of each block, or none");
  if (std::any_of(records.begin(), records.end(),
                  [](const auto& each) { return each && each->doubtful; })) {
    must(file.resolve({0}, false), "there is room to resolve");
  }
  check_change(file, {255});
  must(file.forget({0}, 10), "there is room to forget");
  must(file.load({0}, 10) == Md5File::Records(10), "what is forgotten is unknown");
  file.settle(file.quiet());
  file.doubt_all(7);
  file.store_identity();
  must(Md5File::identity_of(*storage) == file.identity(),
       "an identity is the same when it is written");
  const Md5File again(storage, file.identity(), {});
  must(again.load({0}, kBlocks) == file.load({0}, kBlocks),
       "a file says the same when it is opened again");
}

void check_file(const Input& input) {
  testing::SimulatedDisk disk;
  disk.replace(kName, file_of(input));
  succeeds([&] { check_use(disk); });
}

void check_record(std::span<const std::byte> bytes, std::uint64_t choice) {
  Md5FileRecord record{.content = {.digest = {}, .length = static_cast<std::uint32_t>(choice)},
                       .previous = std::nullopt,
                       .written_at_s = static_cast<std::int64_t>(choice),
                       .doubtful = choice % 2 == 0};
  std::copy_n(bytes.begin(), std::min(bytes.size(), record.content.digest.size()),
              record.content.digest.begin());
  if (choice % 3 == 0) record.previous = Content{.digest = record.content.digest, .length = 1};
  std::array<std::byte, kRecord_bytes> place{};
  encode_record(record, {5}, choice, place);
  must(decode_record(place, {5}, choice).record == record, "a record comes back as it went in");
  must(decode_record(place, {6}, choice).damaged, "another block's record is none");
  with_damage(place, choice, [&] {
    must(decode_record(place, {5}, choice).damaged, "a damaged record is not believed");
  });
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  const auto bytes = std::as_bytes(std::span(data, size));
  fuzz::check_record(bytes, xxh3_64(bytes, 0));
  const std::string text = fuzz::text_of({data, size});
  fuzz::Input input = fuzz::input_of(text);
  fuzz::check_file(input);
  const std::size_t uuid = input.lines.find("uuid=");
  const std::string rest = uuid == std::string::npos ? "" : input.lines.substr(uuid + 5);
  fuzz::put_right(input, rest.substr(0, rest.find('\n')));
  fuzz::check_file(input);
  return 0;
}
