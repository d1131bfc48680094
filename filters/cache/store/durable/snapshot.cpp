#include "filters/cache/store/durable/snapshot.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/error.hpp"
#include "filters/cache/store/durable/page_files.hpp"

namespace nbdstack {
namespace {

constexpr std::uint64_t kMagic = 0x3158444953444e42;  // "BNDSIDX1"
constexpr std::size_t kChunkEntries = 1024;
constexpr std::size_t kBuffer_bytes = 1U << 20U;

struct Header {
  std::uint64_t checksum;  // of the rest
  std::uint64_t magic;
  std::uint64_t generation;
  std::uint64_t sequence;
  std::uint64_t slots;
  std::uint64_t zeros;
  std::uint64_t entry_bytes;
  std::uint64_t has_note;
};
static_assert(sizeof(Header) == 64);

struct ZerosEntry {
  std::uint64_t offset;
  std::uint64_t length;
  std::uint64_t may_trim;
};

// Masks have 16 bits if that suffices.
template <typename Word>
struct SlotEntry {
  std::uint64_t block;
  std::uint64_t checksum;
  Word valid, dirty, zero, hole, copies;
  Slot slot;
};
static_assert(sizeof(SlotEntry<NarrowMask>) == 32);
static_assert(sizeof(SlotEntry<PageMask>) == 64);

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// Collects entries of one kind into chunks, and chunks into writes.
template <typename Entry>
class ChunkWriter {
 public:
  ChunkWriter(StorageFile& file, std::uint64_t position, std::uint64_t seed)
      : file_(file), position_(position), seed_(seed) {}

  void add(const Entry& entry) {
    entries_.push_back(entry);
    if (entries_.size() == kChunkEntries) end_chunk();
  }
  std::uint64_t finish() {
    if (!entries_.empty()) end_chunk();
    write();
    return position_;
  }

 private:
  void end_chunk() {
    const auto bytes = std::as_bytes(std::span(entries_));
    const std::uint64_t checksum = checksum_of(bytes, seed_);
    const auto head = bytes_of(checksum);
    buffer_.insert(buffer_.end(), head.begin(), head.end());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    entries_.clear();
    if (buffer_.size() >= kBuffer_bytes) write();
  }
  void write() {
    if (!buffer_.empty()) file_.write_at(buffer_, position_);
    position_ += buffer_.size();
    buffer_.clear();
  }

  StorageFile& file_;
  std::uint64_t position_;
  std::uint64_t seed_;
  std::vector<Entry> entries_;
  std::vector<std::byte> buffer_;
};

template <typename Word>
std::uint64_t write_slots(StorageFile& file, const SlotIndex& index, const std::vector<Slot>& slots,
                          std::uint64_t generation, const SlotEntry<Word>& /*empty*/) {
  ChunkWriter<SlotEntry<Word>> writer(file, sizeof(Header), generation);
  for (const Slot slot : slots) {
    const SlotIndex::Entry& entry = index[slot];
    SlotEntry<Word> packed;
    std::memset(&packed, 0, sizeof packed);
    packed.block = entry.block.value;
    packed.checksum = entry.checksum;
    packed.valid = static_cast<Word>(entry.pages.valid);
    packed.dirty = static_cast<Word>(entry.pages.dirty);
    packed.zero = static_cast<Word>(entry.pages.zero);
    packed.hole = static_cast<Word>(entry.pages.hole);
    packed.copies = static_cast<Word>(entry.copies);
    packed.slot = slot;
    writer.add(packed);
  }
  return writer.finish();
}

// Returns the result of `fn` for the entry type of the index's blocks.
template <typename Fn>
auto with_entry_of(const PageGeometry& pages, Fn&& fn) {
  const bool is_narrow = fits_narrow_mask(pages.pages_per_block());
  return is_narrow ? fn(SlotEntry<NarrowMask>{}) : fn(SlotEntry<PageMask>{});
}

std::vector<Slot> complete_order(const SlotIndex& index, std::span<const Slot> order) {
  std::vector<bool> listed(index.slots());
  std::vector<Slot> slots;
  const auto add = [&](Slot slot) {
    if (slot >= index.slots() || !index[slot].in_use || listed[slot]) return;
    listed[slot] = true;
    slots.push_back(slot);
  };
  std::for_each(order.begin(), order.end(), add);
  for (Slot slot = 0; slot < index.slots(); ++slot) add(slot);
  return slots;
}

// Calls fn(entry) for `count` entries from `position` on. Returns false if some are damaged.
template <typename Entry, typename Fn>
bool read_chunks(const StorageFile& file, std::uint64_t& position, std::uint64_t count,
                 std::uint64_t generation, const char* what, std::vector<std::string>& damage,
                 Fn&& fn) {
  bool intact = true;
  std::vector<std::byte> chunk;
  std::vector<Entry> entries;
  for (std::uint64_t done = 0; done < count;) {
    const auto some =
        static_cast<std::size_t>(std::min<std::uint64_t>(kChunkEntries, count - done));
    if (position >= file.size_bytes()) {
      damage.push_back(
          fmt::format("{} ends at {}: {} {} are lost", file.path(), position, count - done, what));
      return false;
    }
    chunk.resize(sizeof(std::uint64_t) + some * sizeof(Entry));
    read_padded(file, chunk, position);
    std::uint64_t checksum = 0;
    std::memcpy(&checksum, chunk.data(), sizeof checksum);
    const auto bytes = std::span(chunk).subspan(sizeof checksum);
    if (checksum_of(bytes, generation) == checksum) {
      entries.resize(some);
      std::memcpy(entries.data(), bytes.data(), bytes.size());
      for (const Entry& entry : entries) fn(entry);
    } else {
      intact = false;
      damage.push_back(
          fmt::format("{} is damaged at {}: {} {} are lost", file.path(), position, some, what));
    }
    position += chunk.size();
    done += some;
  }
  return intact;
}

template <typename Word>
bool read_slots(const StorageFile& file, std::uint64_t& position, const Header& header,
                SlotIndex& index, std::vector<std::string>& damage,
                const SlotEntry<Word>& /*empty*/) {
  const std::uint64_t blocks = index.geometry().block_count();
  const PageMask all = index.page_geometry().all(index.geometry().block_size());
  std::uint64_t impossible = 0;
  const auto add = [&](const SlotEntry<Word>& packed) {
    const PageMask named = packed.valid | packed.dirty | packed.zero | packed.hole | packed.copies;
    if (packed.block >= blocks || (named & ~all) != 0 || !index.is_possible(packed.slot)) {
      ++impossible;
      return;
    }
    index.add(packed.slot, {.block = {packed.block},
                            .pages = {.valid = packed.valid,
                                      .dirty = packed.dirty,
                                      .zero = packed.zero,
                                      .hole = packed.hole},
                            .copies = packed.copies,
                            .checksum = packed.checksum,
                            .named_at = 0,
                            .in_use = true});
  };
  const bool intact = read_chunks<SlotEntry<Word>>(file, position, header.slots, header.generation,
                                                   "blocks", damage, add);
  if (impossible == 0) return intact;
  damage.push_back(
      fmt::format("{} is damaged: {} of its blocks lie where neither this disk nor this "
                  "cache has room for them",
                  file.path(), impossible));
  return false;
}

}  // namespace

std::uint64_t snapshot_entry_bytes(const PageGeometry& pages) {
  return with_entry_of(pages, [](const auto& entry) { return sizeof entry; });
}

std::string snapshot_name(std::uint64_t generation) {
  return fmt::format("index.{}", generation);
}

void write_snapshot(Directory& directory, const SlotIndex& index, std::span<const Slot> order,
                    std::uint64_t generation, std::uint64_t sequence) {
  const std::string temporary = "index.new";
  directory.remove(temporary);
  const auto file = directory.open(temporary);
  const std::vector<Slot> slots = complete_order(index, order);
  const auto zeros = index.zeros().overlapping({0, index.geometry().size_bytes()});
  const std::uint64_t end = with_entry_of(index.page_geometry(), [&](const auto& empty) {
    return write_slots(*file, index, slots, generation, empty);
  });
  ChunkWriter<ZerosEntry> writer(*file, end, generation);
  for (const auto& run : zeros) {
    writer.add({run.range.offset, run.range.length, run.value ? 1U : 0U});
  }
  writer.finish();
  Header header{.checksum = 0,
                .magic = kMagic,
                .generation = generation,
                .sequence = sequence,
                .slots = slots.size(),
                .zeros = zeros.size(),
                .entry_bytes = snapshot_entry_bytes(index.page_geometry()),
                .has_note = 1};
  header.checksum = checksum_of(bytes_of(header).subspan(sizeof header.checksum), generation);
  file->write_at(bytes_of(header), 0);
  file->sync_data();
  directory.rename(temporary, snapshot_name(generation));
  directory.sync();
}

SnapshotState read_snapshot(Directory& directory, std::uint64_t generation, SlotIndex& index,
                            std::vector<std::string>& damage) {
  const auto file = directory.open(snapshot_name(generation));
  Header header{};
  read_padded(*file, std::as_writable_bytes(std::span(&header, 1)), 0);
  if (header.checksum !=
          checksum_of(bytes_of(header).subspan(sizeof header.checksum), generation) ||
      header.magic != kMagic || header.generation != generation ||
      header.entry_bytes != snapshot_entry_bytes(index.page_geometry())) {
    damage.push_back(
        fmt::format("{} is damaged: what it said of cached blocks is lost", file->path()));
    return {};
  }
  std::uint64_t position = sizeof header;
  bool intact = with_entry_of(index.page_geometry(), [&](const auto& empty) {
    return read_slots(*file, position, header, index, damage, empty);
  });
  const std::uint64_t size = index.geometry().size_bytes();
  const bool zeros_intact =
      read_chunks<ZerosEntry>(*file, position, header.zeros, generation, "ranges of zeros", damage,
                              [&](const ZerosEntry& entry) {
                                if (entry.offset > size || entry.length > size - entry.offset)
                                  return;
                                index.add_zeros({entry.offset, entry.length}, entry.may_trim != 0);
                              });
  intact = intact && zeros_intact;
  return {.sequence = header.sequence,
          .intact = intact,
          .readable = true,
          .has_note = header.has_note != 0};
}

}  // namespace nbdstack
