#include "filters/cache/store/durable/commit_note.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "filters/cache/store/durable/page_files.hpp"

namespace nbdstack {
namespace {

constexpr std::uint64_t kNoteMagic = 0x3154494d4d4f4342;  // "BCOMMIT1"
constexpr std::uint64_t kPlace_bytes = 512;
constexpr std::uint64_t kPlaces = 2;

struct Place {
  std::uint64_t checksum;  // of the rest
  std::uint64_t magic;
  std::uint64_t turn;
  std::uint64_t sequence;
  std::uint64_t anything_dirty;
};

std::uint64_t checksum_of_rest(const Place& place) {
  const auto bytes = std::as_bytes(std::span(&place, 1));
  return checksum_of(bytes.subspan(sizeof place.checksum), kNoteMagic);
}

struct Latest {
  bool damaged = false;
  Place place{};  // turn 0: none
};

Latest latest_in(const StorageFile& file) {
  Latest latest;
  for (std::uint64_t number = 0; number < kPlaces; ++number) {
    Place place{};
    read_padded(file, std::as_writable_bytes(std::span(&place, 1)), number * kPlace_bytes);
    const auto bytes = std::as_bytes(std::span(&place, 1));
    const bool unused =
        std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{}; });
    if (unused) continue;
    if (place.magic != kNoteMagic || place.checksum != checksum_of_rest(place)) {
      latest.damaged = true;
    } else if (place.turn > latest.place.turn) {
      latest.place = place;
    }
  }
  return latest;
}

}  // namespace

CommitNote::Found CommitNote::read(Directory& directory) {
  const std::vector<std::string> names = directory.names();
  if (std::find(names.begin(), names.end(), kName) == names.end()) return {};
  const Latest latest = latest_in(*directory.open(kName));
  Found found{.exists = true, .damaged = latest.damaged, .commit = {}};
  if (latest.place.turn == 0) {
    found.damaged = true;
  } else {
    found.commit = {latest.place.sequence, latest.place.anything_dirty != 0};
  }
  return found;
}

CommitNote::CommitNote(Directory& directory) : file_(directory.open(kName)) {
  turn_ = latest_in(*file_).place.turn;
  if (turn_ == 0) write({});
}

void CommitNote::write(const Commit& commit) {
  ++turn_;
  Place place{.checksum = 0,
              .magic = kNoteMagic,
              .turn = turn_,
              .sequence = commit.sequence,
              .anything_dirty = commit.anything_dirty ? 1U : 0U};
  place.checksum = checksum_of_rest(place);
  file_->write_at(std::as_bytes(std::span(&place, 1)), turn_ % kPlaces * kPlace_bytes);
}

}  // namespace nbdstack
