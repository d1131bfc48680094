// What an index says about the disk: which parts of it only the cache has.
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
  Slot slot = kNoSlot;  // where the data lies
};

// By offset; none of them touches two blocks, but for zeros.
std::vector<UnwrittenPart> unwritten_parts(const SlotIndex& index);

struct IndexSurvey {
  std::uint64_t unwritten_bytes = 0;  // also those that are damaged
  std::uint64_t clean_bytes = 0;
};
IndexSurvey survey_of(const SlotIndex& index);

// Whether the stored pages of a slot are what was written.
[[nodiscard]] bool is_intact(const SlotIndex& index, Slot slot, const PageFiles& files);
// Leaves only what is dirty.
void drop_clean(SlotIndex& index, const PageFiles& files);

}  // namespace nbdstack
