// Lets changes of a disk pass only while its lease is held.
//
//   the lease is    a change, or a flush                           a read
//   held            passes                                         passes
//   doubtful        waits for the renewal that decides, for a      passes
//                   while (Lease::await_writable())
//   lost, or        ESHUTDOWN                                      passes
//   doubtful still
//
// A flush changes nothing, but its success would promise that the writes of this server are the
// disk's content, which it does not know any more. A read returns the store's content, whichever
// server wrote it, and nothing older. (identity() tells a layer above that its blocks may be
// older.)
//
// A change is refused before it begins. For one that began in time and takes long, the store checks
// Lease::may_write() before it sends each piece. A change that was cut off so is repeated if the
// lease turns out to be still held, because its client has had no reply yet.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "common/block/forwarding_layer.hpp"
#include "common/error.hpp"
#include "plugins/s3/lease/lease.hpp"

namespace nbdstack {

class LeasedDisk final : public ForwardingLayer {
 public:
  // `lease` outlives this, and determines the right to write in `identity`.
  LeasedDisk(std::unique_ptr<Layer> below, Lease& lease, DiskIdentity identity)
      : ForwardingLayer(std::move(below)), lease_(lease) {
    for (std::size_t i = 0; i < identities_.size(); ++i) {
      identity.right = static_cast<WriteRight>(i);
      identities_[i] = std::make_shared<const DiskIdentity>(identity);
    }
  }

  // Changes at the moment when the lease runs out.
  std::shared_ptr<const DiskIdentity> identity() override {
    return identities_.at(static_cast<std::size_t>(lease_.right()));
  }

  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    change([&] { below().pwrite(buffer, offset, durability); });
  }
  void flush() override {
    await_right();
    below().flush();
  }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    change([&] { below().zero(length, offset, options); });
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    change([&] { below().trim(length, offset, durability); });
  }

 private:
  template <typename Body>
  void change(const Body& body) {
    while (true) {
      await_right();
      const std::uint64_t regained = lease_.regained();
      lease_.note_change();
      try {
        return body();
      } catch (const Error& error) {
        const bool was_cut_off = !lease_.may_write() || lease_.regained() != regained;
        if (error.code() != ESHUTDOWN || !was_cut_off) throw;
      }
    }
  }

  // The reason why the lease is not held is logged once, not with each refused request.
  void await_right() {
    try {
      lease_.await_writable();
    } catch (const Error& error) {
      if (lease_.has_said_why()) throw Error::reported(error.code());
      throw;
    }
  }

  Lease& lease_;
  std::array<std::shared_ptr<const DiskIdentity>, 4> identities_;  // for each WriteRight
};

}  // namespace nbdstack
