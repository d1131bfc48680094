#include "plugins/s3/blocks/block_objects.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "common/block/zeros.hpp"
#include "common/error.hpp"
#include "common/invariant.hpp"
#include "plugins/s3/blocks/block_listing.hpp"

namespace nbdstack {

bool BlockObjects::get(BlockNumber block, std::span<std::byte> data) {
  INVARIANT(data.size() == block_size_, block.value, data.size());
  if (changes_.is_disputed(block)) return get_disputed(block, data);
  return format_.is_plain() ? store_.get(format_.name_of(block), data)
                            : fetch_coded(block, data).has_value();
}

// The version matters, so the whole object is read.
bool BlockObjects::get_disputed(BlockNumber block, std::span<std::byte> data) {
  const auto object = fetch_whole(block, data);
  changes_.note_seen({block, format_.name_of(block)}, object);
  return object.has_value();
}

BlockObjects::Found BlockObjects::get_to_change(BlockNumber block, std::span<std::byte> data) {
  if (!changes_.has_conditions()) return {.exists = get(block, data)};
  const auto object = fetch_whole(block, data);
  return {.exists = object.has_value(),
          .version = changes_.note_read({block, format_.name_of(block)}, object)};
}

std::optional<ObjectInfo> BlockObjects::fetch_whole(BlockNumber block, std::span<std::byte> data) {
  return format_.is_plain() ? fetch_plain(block, data) : fetch_coded(block, data);
}

std::optional<ObjectInfo> BlockObjects::fetch_plain(BlockNumber block, std::span<std::byte> data) {
  const std::string name = format_.name_of(block);
  auto object = store_.fetch_checked(name, data, [&](const ObjectInfo& read, const auto& /*body*/) {
    if (read.size_bytes == data.size()) return;
    throw Error(EIO, fmt::format("{}: the object is {} bytes long where {} were expected", name,
                                 read.size_bytes, data.size()))
        .about(block.value);
  });
  if (object.has_value() && object->checksum == ChecksumKind::none) unverified_.say(name);
  return object;
}

// Decodes the object on arrival: one that cannot be decoded is read again. It is received into
// `data` if it may fit there, because it may turn out not to be coded.
std::optional<ObjectInfo> BlockObjects::fetch_coded(BlockNumber block, std::span<std::byte> data) {
  const std::string name = format_.name_of(block);
  if (format_.overhead_bytes() > 0) {
    std::vector<std::byte> received(data.size() + format_.overhead_bytes());
    return store_.fetch_checked(name, received, [&](const ObjectInfo& object, const auto& body) {
      format_.decode(block, body, object.attributes, data);
    });
  }
  bool is_vouched_for = true;
  auto object = store_.fetch_checked(name, data, [&](const ObjectInfo& read, const auto& body) {
    const bool is_plain = format_.is_stored_plain(read);
    is_vouched_for = !is_plain || read.checksum != ChecksumKind::none;
    if (is_plain) return;
    const std::vector<std::byte> received(body.begin(), body.end());
    format_.decode(block, received, read.attributes, data);
  });
  if (!is_vouched_for) unverified_.say(name);
  return object;
}

bool BlockObjects::get_part(BlockNumber block, std::span<std::byte> part,
                            std::uint32_t offset_in_block) {
  INVARIANT(offset_in_block + part.size() <= block_size_, block.value, offset_in_block);
  if (format_.is_plain() && !changes_.is_disputed(block)) {
    return store_.get_range(format_.name_of(block), part,
                            {.offset = offset_in_block, .object_bytes = block_size_});
  }
  std::vector<std::byte> data(block_size_);
  if (!get(block, data)) return false;
  std::memcpy(part.data(), data.data() + offset_in_block, part.size());
  return true;
}

BlockObjects::Put BlockObjects::put(BlockNumber block, std::span<const std::byte> data,
                                    const ObjectVersion& seen) {
  if (format_.removes_zeros() && is_zero(data)) {
    return remove(std::span(&block, 1)).empty() ? Put::removed : Put::stored;
  }
  put_object(block, data, seen);
  return Put::stored;
}

void BlockObjects::put_object(BlockNumber block, std::span<const std::byte> data,
                              const ObjectVersion& seen) {
  INVARIANT(data.size() == block_size_, block.value, data.size());
  const EncodedBlock encoded = format_.encode(block, data);
  changes_.put({block, format_.name_of(block)}, encoded.body,
               {.attributes = encoded.attributes,
                .with_checksum = encoded.with_checksum,
                .with_pieces = format_.is_plain(),
                .is_block = true},
               seen);
}

std::vector<BlockNumber> BlockObjects::remove(std::span<const BlockNumber> blocks) {
  std::vector<GuardedChanges::Target> targets;
  targets.reserve(blocks.size());
  std::vector<BlockNumber> zeroed;
  for (const BlockNumber block : blocks) {
    if (may_create(block)) {
      zeroed.push_back(block);
    } else {
      targets.push_back({block, format_.name_of(block)});
    }
  }
  if (!targets.empty()) changes_.remove(targets);
  if (zeroed.empty()) return zeroed;
  const std::vector<std::byte> zeros(block_size_);
  for (const BlockNumber block : zeroed) put_object(block, zeros, {});
  return zeroed;
}

std::vector<BlockNumber> BlockObjects::may_create(BlockNumber first, BlockNumber end) const {
  auto blocks = changes_.open_blocks(first, end);
  std::erase_if(blocks, [&](BlockNumber block) { return !may_create(block); });
  return blocks;
}

void BlockObjects::wait_until_absence_lasts(BlockNumber first, BlockNumber end) {
  std::vector<GuardedChanges::Target> targets;
  for (const BlockNumber block : changes_.open_blocks(first, end)) {
    targets.push_back({block, format_.name_of(block)});
  }
  changes_.wait_until_absence_lasts(targets);
}

void BlockObjects::learn(std::span<const ListedBlock> blocks) {
  for (const ListedBlock& each : blocks) changes_.learn(each.block, each.etag);
}

StoredBlocks BlockObjects::stored(BlockNumber first, BlockNumber end, std::size_t limit) {
  StoredBlocks result{.blocks = {}, .known_to = end};
  if (first >= end) return result;
  if (first.next() == end) {  // costs a service less than a listing, a directory far less
    if (exists(first)) result.blocks.push_back(first);
    return result;
  }
  BlockListing::run_in_order(store_, format_, first, end, [&](const ListedBlocks& listed) {
    learn(listed.blocks);
    for (const ListedBlock& each : listed.blocks) {
      if (result.blocks.size() == limit) {
        result.known_to = each.block;
        return false;
      }
      result.blocks.push_back(each.block);
    }
    if (result.blocks.size() < limit) return true;
    result.known_to = listed.end;  // not one page more
    return false;
  });
  return result;
}

}  // namespace nbdstack
