#include "filters/cache/store/durable/content_check.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <vector>

#include "filters/cache/store/durable/index_survey.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kMostSamples = 16;
// Fewer large blocks are read, and not to their end.
constexpr std::size_t kMostSamples_large = 2;
constexpr std::uint32_t kLarge_bytes = 1U << 20U;

PageMask clean_pages(const SlotIndex::Entry& entry) {
  return entry.in_use ? entry.pages.valid & ~entry.pages.dirty : 0;
}

// Sorted by offset.
std::vector<Slot> samples_of(const SlotIndex& index, std::uint64_t seed) {
  const bool large = index.geometry().block_size() > kLarge_bytes;
  const std::size_t most = large ? kMostSamples_large : kMostSamples;
  std::vector<Slot> slots;
  for (Slot slot = 0; slot < index.slots(); ++slot) {
    if (clean_pages(index[slot]) != 0) slots.push_back(slot);
  }
  const auto by_offset = [&](Slot a, Slot b) { return index[a].block < index[b].block; };
  if (slots.size() > most) {
    const auto [first, last] = std::minmax_element(slots.begin(), slots.end(), by_offset);
    std::vector<Slot> chosen{*first, *last};
    std::mt19937_64 random(seed);
    std::sample(slots.begin(), slots.end(), std::back_inserter(chosen), most - 2, random);
    slots = std::move(chosen);
  }
  std::sort(slots.begin(), slots.end(), by_offset);
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
  return slots;
}

// Returns whether clean pages are the same below, as far as one request of a bounded size shows.
bool is_same(const SlotIndex& index, Slot slot, const PageFiles& files, Layer& below) {
  const SlotIndex::Entry& entry = index[slot];
  const PageGeometry& pages = files.pages();
  const std::uint32_t from =
      pages.offset_of(static_cast<unsigned>(std::countr_zero(clean_pages(entry))));
  const std::uint32_t length =
      std::min(index.geometry().length_of(entry.block) - from, kLarge_bytes);
  std::vector<std::byte> cached(length);
  std::vector<std::byte> there(length);
  files.read(slot, cached, from, entry.copies);
  below.pread(there, index.geometry().offset_of(entry.block) + from);
  bool same = true;
  pages.for_each_part(from, length, entry.pages.zero,
                      [&](std::uint32_t at, std::uint32_t bytes, bool is_zero) {
                        if (is_zero) std::memset(&cached[at - from], 0, bytes);
                      });
  pages.for_each_part(
      from, length, clean_pages(entry), [&](std::uint32_t at, std::uint32_t bytes, bool is_clean) {
        same =
            same && (!is_clean || std::memcmp(&cached[at - from], &there[at - from], bytes) == 0);
      });
  return same;
}

}  // namespace

ContentCheck compare_with_disk(const SlotIndex& index, const PageFiles& files, Layer& below,
                               std::uint64_t seed) {
  ContentCheck check;
  for (const Slot slot : samples_of(index, seed)) {
    if (!is_intact(index, slot, files)) continue;
    ++check.compared;
    if (is_same(index, slot, files, below)) continue;
    check.differs = index.geometry().offset_of(index[slot].block);
    break;
  }
  return check;
}

}  // namespace nbdstack
