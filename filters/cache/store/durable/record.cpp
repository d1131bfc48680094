#include "filters/cache/store/durable/record.hpp"

#include <bit>
#include <cstring>
#include <utility>

#include "filters/cache/store/durable/page_files.hpp"

namespace nbdstack {
namespace {

struct Fixed {
  std::uint64_t checksum;
  std::uint32_t length;
  std::uint8_t kind;
  std::uint8_t flag;
  std::uint16_t pages;  // how many pairs of checksums follow
  std::uint64_t sequence;
  std::uint64_t durable_sequence;
  std::uint32_t slot;
  std::uint32_t unused;
  std::uint64_t first;
  std::uint64_t second;
  std::uint64_t copies;
};
static_assert(sizeof(Fixed) == 64);

constexpr std::size_t kPair_bytes = 16;

// Every member has one place, whatever the kind; the places of members that a kind lacks are 0.
template <typename Event, typename Fields>
void exchange(Event& event, Fields& fields) {
  if constexpr (requires { event.slot; }) fields.slot(event.slot);
  if constexpr (requires { event.block; }) fields.block(event.block);
  if constexpr (requires { event.range; }) fields.range(event.range);
  if constexpr (requires { event.pages; }) fields.pages(event.pages);
  if constexpr (requires { event.copies; }) fields.copies(event.copies);
  if constexpr (requires { event.dirty; }) fields.flag(event.dirty);
  if constexpr (requires { event.may_trim; }) fields.flag(event.may_trim);
  if constexpr (requires { event.now; }) fields.new_checksums(event.now, event.pages);
  if constexpr (requires { event.old; }) fields.old_checksums(event.old);
}

// The fields of a record, for writing it to a file.
struct Written {
  Fixed fixed{};
  const record::Checksums* now = nullptr;  // zeros if null
  const record::Checksums* old = nullptr;

  void slot(Slot slot) { fixed.slot = slot; }
  void block(BlockNumber block) { fixed.first = block.value; }
  void pages(PageMask pages) { fixed.second = pages; }
  void copies(PageMask copies) { fixed.copies = copies; }
  void flag(bool flag) { fixed.flag = flag ? 1 : 0; }
  void range(const Range& range) {
    fixed.first = range.offset;
    fixed.second = range.length;
  }
  void new_checksums(const record::Checksums& checksums, PageMask /*pages*/) { now = &checksums; }
  void old_checksums(const record::Checksums& checksums) { old = &checksums; }
};

// The fields of a record in a file; `fits` becomes false if the disk lacks what the record names.
struct Found {
  const Fixed& fixed;
  std::span<const std::byte> checksums;  // all following bytes
  const BlockGeometry& geometry;
  bool fits = true;
  bool has_checksums = false;  // the kind has some, or may have

  void slot(Slot& slot) { slot = fixed.slot; }
  void block(BlockNumber& block) {
    block = {fixed.first};
    fits = fits && block.value < geometry.block_count();
  }
  void pages(PageMask& pages) { mask(pages, fixed.second); }
  void copies(PageMask& copies) { mask(copies, fixed.copies); }
  void flag(bool& flag) const { flag = fixed.flag != 0; }
  void range(Range& range) {
    range = {fixed.first, fixed.second};
    fits = fits && range.offset <= geometry.size_bytes() &&
           range.length <= geometry.size_bytes() - range.offset;
  }
  void new_checksums(record::Checksums& now, PageMask pages) {
    copy(now, 0);
    fits = fits && fixed.pages == std::popcount(pages);
  }
  void old_checksums(record::Checksums& old) {
    copy(old, checksums.size() / 2);
    has_checksums = true;
  }

 private:
  void mask(PageMask& mask, std::uint64_t value) {
    mask = value;
    fits = fits && (mask & ~PageGeometry(geometry.block_size()).all(geometry.block_size())) == 0;
  }
  void copy(record::Checksums& target, std::size_t from) const {
    target.resize(fixed.pages);
    if (fixed.pages > 0) std::memcpy(target.data(), &checksums[from], checksums.size() / 2);
  }
};

// Makes a record of the kind with this index, with its members still to be read.
template <std::size_t kIndex = 0>
std::optional<record::Event> event_of(std::size_t index) {
  if constexpr (kIndex < std::variant_size_v<record::Event>) {
    if (index != kIndex) return event_of<kIndex + 1>(index);
    return record::Event(std::in_place_index<kIndex>);
  } else {
    return std::nullopt;
  }
}

}  // namespace

std::optional<Slot> Record::slot() const {
  const auto slot_of = [](const auto& of_kind) -> std::optional<Slot> {
    if constexpr (requires { of_kind.slot; }) return of_kind.slot;
    return std::nullopt;
  };
  return std::visit(slot_of, event);
}

void encode(const Record& record, std::uint64_t generation, std::vector<std::byte>& buffer) {
  Written written;
  Fixed& fixed = written.fixed;
  fixed.slot = kNoSlot;
  std::visit([&](const auto& event) { exchange(event, written); }, record.event);
  const std::size_t pairs = written.old == nullptr ? 0 : written.old->size();
  const std::size_t length = sizeof(Fixed) + pairs * kPair_bytes;
  fixed.length = static_cast<std::uint32_t>(length);
  fixed.kind = record.kind();
  fixed.pages = static_cast<std::uint16_t>(pairs);
  fixed.sequence = record.sequence;
  fixed.durable_sequence = record.durable_sequence;
  const std::size_t begin = buffer.size();
  buffer.resize(begin + length);
  const std::span<std::byte> bytes = std::span(buffer).subspan(begin);
  if (pairs > 0) {
    if (written.now != nullptr) std::memcpy(&bytes[sizeof fixed], written.now->data(), pairs * 8);
    std::memcpy(&bytes[sizeof fixed + pairs * 8], written.old->data(), pairs * 8);
  }
  std::memcpy(bytes.data(), &fixed, sizeof fixed);
  fixed.checksum = checksum_of(bytes.subspan(8), generation);
  std::memcpy(bytes.data(), &fixed.checksum, sizeof fixed.checksum);
}

std::optional<Decoded> decode(std::span<const std::byte> bytes, std::uint64_t generation,
                              const BlockGeometry& geometry) {
  Fixed fixed{};
  if (bytes.size() < sizeof fixed) return std::nullopt;
  std::memcpy(&fixed, bytes.data(), sizeof fixed);
  const std::size_t checksums_bytes = fixed.pages * kPair_bytes;
  if (fixed.pages > PageGeometry::kMostPages || fixed.length != sizeof fixed + checksums_bytes ||
      fixed.length > bytes.size() ||
      fixed.checksum != checksum_of(bytes.subspan(8, fixed.length - 8), generation)) {
    return std::nullopt;
  }
  auto event = event_of(std::size_t{fixed.kind} - 1);
  if (!event) return std::nullopt;
  Found found{fixed, bytes.subspan(sizeof fixed, checksums_bytes), geometry};
  std::visit([&](auto& of_kind) { exchange(of_kind, found); }, *event);
  if (!found.fits || (fixed.pages > 0 && !found.has_checksums)) return std::nullopt;
  return Decoded{.record = {.event = std::move(*event),
                            .sequence = fixed.sequence,
                            .durable_sequence = fixed.durable_sequence},
                 .length = fixed.length};
}

}  // namespace nbdstack
