#include "plugins/s3/block_objects.hpp"

#include <functional>

namespace nbdstack {
namespace {

// The last block that a volume can have: the largest disk, in the smallest objects.
constexpr BlockNumber kLastBlock{((std::uint64_t{1} << 63U) / 4096) - 1};

}  // namespace

void BlockObjects::remove(std::span<const BlockNumber> blocks) {
  std::vector<std::string> keys;
  keys.reserve(blocks.size());
  for (const BlockNumber block : blocks) keys.push_back(names_.block(block));
  store_.remove(keys);
}

StoredBlocks BlockObjects::stored(BlockNumber first, BlockNumber end, std::size_t limit) {
  StoredBlocks result{.blocks = {}, .known_to = end};
  if (first >= end) return result;
  const BlockNumber last{end.value - 1};
  if (first == last) {  // a HEAD costs a service less than a listing, and a directory far less
    if (exists(first)) result.blocks.push_back(first);
    return result;
  }
  const std::string start_after =
      first.value == 0 ? std::string() : names_.block({first.value - 1});
  store_.list(names_.common_prefix(first, last), start_after, [&](const ListedObject& object) {
    const auto block = names_.parse_block(object.key);
    if (!block.has_value()) return true;
    if (*block > last) return false;
    if (result.blocks.size() == limit) {
      result.known_to = *block;
      return false;
    }
    result.blocks.push_back(*block);
    return true;
  });
  return result;
}

std::optional<ListedObject> BlockObjects::first_stored(BlockNumber first) {
  std::optional<ListedObject> found;
  if (first > kLastBlock) return found;
  const std::string start_after =
      first.value == 0 ? std::string() : names_.block({first.value - 1});
  store_.list(names_.common_prefix(first, kLastBlock), start_after,
              [&](const ListedObject& object) {
                if (!names_.parse_block(object.key).has_value()) return true;
                found = object;
                return false;
              });
  return found;
}

}  // namespace nbdstack
