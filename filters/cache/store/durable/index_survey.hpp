// Surveys an index: the parts of the disk that only the cache has.
#pragma once

#include <cstdint>
#include <vector>

#include "common/block/range.hpp"
#include "filters/cache/store/durable/index.hpp"
#include "filters/cache/store/durable/page_files.hpp"

namespace nbdstack {

// A part of the disk that was written and is not below yet.
struct UnwrittenPart {
  enum class Kind : std::uint8_t { data, zeros, damaged };

  Range range;
  Kind kind = Kind::data;
  Slot slot = kNoSlot;  // the slot of the data
};

// Sorted by offset; none of them is in two blocks, except zeros.
std::vector<UnwrittenPart> unwritten_parts(const SlotIndex& index);

struct IndexSurvey {
  std::uint64_t unwritten_bytes = 0;  // including damaged ones
  std::uint64_t clean_bytes = 0;
};
IndexSurvey survey_of(const SlotIndex& index);

// Returns whether the stored pages of a slot are intact.
[[nodiscard]] bool is_intact(const SlotIndex& index, Slot slot, const PageFiles& files);
// Removes everything that is clean.
void drop_clean(SlotIndex& index, const PageFiles& files);

}  // namespace nbdstack
