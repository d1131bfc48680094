// A disk whose blocks are objects.
//
//   reads                take no lock: a GET sees one version of an object, from before or after a
//                        write
//   write of a block     owns the block's range: it reads, modifies and puts the block in one step,
//                        and an object never has two PUTs, or a PUT and a DELETE, in flight
//   zero, trim           own all their blocks as long as they take; their pieces own none
//
// A request that spans blocks works on `connections` of them at a time. In a write each thread owns
// the one block that it writes. So no thread waits for a block while owning another.
//
// Changes of objects are conditional, so that late requests and other writers are noticed:
// guarded_changes.hpp.
//
// Every write is durable when it returns, because the store's are: FUA costs nothing, and flush has
// nothing to wait for. Blocks that are known to be absent are read, partly written and discarded
// without the store (presence.hpp). Memory does not grow with the size of the disk.
//
// The last object is as long as the others, with zeros beyond the end of the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/block/layer.hpp"
#include "common/block/range.hpp"
#include "common/block/range_lock.hpp"
#include "common/sync/worker_pool.hpp"
#include "plugins/s3/blocks/block_objects.hpp"
#include "plugins/s3/blocks/presence.hpp"

namespace nbdstack {

struct VolumeOptions {
  std::size_t connections = 16;  // objects that a request works on at a time
  // Returns whether no other server writes to the volume now. Empty if that is never known.
  std::function<bool()> is_owner{};
  ChangeGuard guard{};
  // Certain knowledge about its blocks, given in place of is_owner. The map outlives the volume,
  // and is recorded then.
  std::shared_ptr<PresenceMap> map{};
  std::shared_ptr<PresenceMap> frozen{};  // PresenceSettings
  std::string witness{};                  // PresenceSettings
};

class Volume final : public Layer {
 public:
  // `store` outlives this.
  Volume(ObjectStore& store, std::shared_ptr<const BlockFormat> format,
         const BlockGeometry& geometry, const VolumeOptions& options);

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }

  // Whole blocks go straight into `buffer`, verified; parts of blocks are ranged reads, which no
  // checksum covers.
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override;

  // A whole block is one PUT; a part of one is read, modified and put back.
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;

  void flush() override {}

  // Removes whole blocks, and rewrites parts of blocks that have an object. With options.fast it
  // fails with ENOTSUP, before anything is changed, if a part would have to be rewritten.
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;

  // Removes whole blocks; parts of blocks at both ends are left as they are.
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;

  void cache(std::uint64_t /*length*/, std::uint64_t /*offset*/) override {}

  // A block with an object is data. The reply ends early after some pages of listing, to bound its
  // time.
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override;

  // For a test that counts what comes after.
  void wait_until_listed() { presence_.wait_until_listed(); }

  // Requests that own or wait for a block: shows a test that one waits.
  [[nodiscard]] std::size_t writers() const { return writing_.claims(); }

 private:
  void read_piece(const BlockPiece& piece, std::span<std::byte> target);
  bool fetch_piece(const BlockPiece& piece, std::span<std::byte> target);  // false: no object
  void write_piece(const BlockPiece& piece, std::span<const std::byte> source);
  void zero_piece(const BlockPiece& piece);  // the caller owns the block
  // The caller owns the block. put() replaces only the version that get() returned.
  BlockObjects::Found get(BlockNumber block, std::span<std::byte> data);
  void put(BlockNumber block, std::span<const std::byte> data, const ObjectVersion& seen = {});
  // Removes the existing objects of [first, end), in as few requests as possible. The caller owns
  // them.
  void discard(BlockNumber first, BlockNumber end);
  void look_before_removal(const std::vector<BlockNumber>& blocks);

  const BlockGeometry geometry_;
  const std::shared_ptr<const BlockFormat> format_;
  BlockObjects objects_;
  Presence presence_;
  LayerTraits traits_;
  RangeLock writing_;
  WorkerPool pool_;  // last: its threads are joined before what they use is gone
};

}  // namespace nbdstack
