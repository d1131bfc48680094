#include "filters/cache/store/durable/index_survey.hpp"

#include <algorithm>

namespace nbdstack {
namespace {

// Calls fn(range) for each run of these pages of a block, cut at the end of the disk.
template <typename Fn>
void for_each_range(const SlotIndex& index, const SlotIndex::Entry& entry, PageMask pages,
                    Fn&& fn) {
  const Range block = index.geometry().range_of(entry.block);
  index.page_geometry().for_each_run(pages, block.length,
                                     [&](std::uint32_t offset, std::uint32_t length) {
                                       fn(Range{block.offset + offset, length});
                                     });
}

std::uint64_t bytes_of(const SlotIndex& index, const SlotIndex::Entry& entry, PageMask pages) {
  std::uint64_t bytes = 0;
  for_each_range(index, entry, pages, [&](const Range& range) { bytes += range.length; });
  return bytes;
}

}  // namespace

std::vector<UnwrittenPart> unwritten_parts(const SlotIndex& index) {
  using Kind = UnwrittenPart::Kind;
  std::vector<UnwrittenPart> parts;
  for (Slot slot = 0; slot < index.slots(); ++slot) {
    const SlotIndex::Entry& entry = index[slot];
    if (!entry.in_use) continue;
    const auto add = [&](PageMask pages, Kind kind) {
      for_each_range(index, entry, pages, [&](const Range& range) {
        parts.push_back({range, kind, slot});
      });
    };
    add(entry.pages.unwritten() & ~entry.pages.zero, Kind::data);
    add(entry.pages.unwritten() & entry.pages.zero, Kind::zeros);
    add(entry.pages.damaged(), Kind::damaged);
  }
  for (const auto& run : index.zeros().overlapping({0, index.geometry().size_bytes()})) {
    parts.push_back({run.range, Kind::zeros, kNoSlot});
  }
  std::sort(parts.begin(), parts.end(), [](const UnwrittenPart& a, const UnwrittenPart& b) {
    return a.range.offset < b.range.offset;
  });
  return parts;
}

IndexSurvey survey_of(const SlotIndex& index) {
  IndexSurvey survey;
  for (Slot slot = 0; slot < index.slots(); ++slot) {
    const SlotIndex::Entry& entry = index[slot];
    if (!entry.in_use) continue;
    survey.unwritten_bytes += bytes_of(index, entry, entry.pages.dirty);
    survey.clean_bytes += bytes_of(index, entry, entry.pages.valid & ~entry.pages.dirty);
  }
  for (const auto& run : index.zeros().overlapping({0, index.geometry().size_bytes()})) {
    survey.unwritten_bytes += run.range.length;
  }
  return survey;
}

bool is_intact(const SlotIndex& index, Slot slot, const PageFiles& files) {
  const SlotIndex::Entry& entry = index[slot];
  return combined(files.checksums(slot, entry.pages.stored(), entry.copies)) == entry.checksum;
}

// The checksum of a block covers all its stored pages: all of them are compared with it before the
// clean ones are removed.
void drop_clean(SlotIndex& index, const PageFiles& files) {
  for (Slot slot = 0; slot < index.slots(); ++slot) {
    SlotIndex::Entry& entry = index[slot];
    if (!entry.in_use) continue;
    if (entry.pages.dirty == 0) {
      entry = {};
      continue;
    }
    const PageMask clean = entry.pages.stored() & ~entry.pages.dirty;
    if (clean != 0 && !is_intact(index, slot, files)) {
      lose_stored(entry);
    } else if (clean != 0) {
      entry.checksum ^= combined(files.checksums(slot, clean, entry.copies));
    }
    entry.pages.valid &= entry.pages.dirty;
    entry.pages.zero &= entry.pages.dirty;
    entry.copies &= entry.pages.stored();
  }
}

}  // namespace nbdstack
