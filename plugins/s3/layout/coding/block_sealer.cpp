#include "plugins/s3/layout/coding/block_sealer.hpp"

#include <string_view>
#include <vector>

#include "common/io/big_endian.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kBlockKeyLabel = "nbdstack block key";

// The volume id and the block number: together they name one block's place.
std::vector<std::byte> place_of(BlockNumber block, const std::string& volume_id) {
  const auto id = std::as_bytes(std::span(volume_id));
  std::vector<std::byte> place(id.begin(), id.end());
  place.resize(place.size() + sizeof block.value);
  store_big_endian(block.value, std::span(place).last(sizeof block.value));
  return place;
}

std::vector<std::byte> associated_data(std::span<const std::byte> header, BlockNumber block,
                                       const std::string& volume_id) {
  std::vector<std::byte> data(header.begin(), header.end());
  const std::vector<std::byte> place = place_of(block, volume_id);
  data.insert(data.end(), place.begin(), place.end());
  return data;
}

}  // namespace

void BlockSealer::seal(BlockNumber block, std::span<const std::byte> header,
                       std::span<const std::byte> text, std::span<std::byte> sealed) const {
  nbdstack::seal(key_of(block), associated_data(header, block, volume_id_), text, sealed);
}

bool BlockSealer::unseal(BlockNumber block, std::span<const std::byte> header,
                         std::span<const std::byte> sealed, std::span<std::byte> text) const {
  return nbdstack::unseal(key_of(block), associated_data(header, block, volume_id_), sealed, text);
}

SecretKey BlockSealer::key_of(BlockNumber block) const {
  SecretKey key;
  volume_key_.derive(kBlockKeyLabel, place_of(block, volume_id_), key.buffer());
  return key;
}

}  // namespace nbdstack
