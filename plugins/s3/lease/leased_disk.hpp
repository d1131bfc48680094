// A disk that is changed only while the lease on it lasts.
//
//   the lease is    a change, or a flush                           a read
//   held            is done                                        is done
//   doubtful        waits for the renewal that decides, for a      is done
//                   while (Lease::await_writable())
//   lost, or        ESHUTDOWN                                      is done
//   doubtful still
//
// A flush changes nothing, but its success says that what this server accepted is the disk's
// content, which it does not know any more. A read returns what lies in the store, whoever wrote
// it: it is never older than that. (A layer above that remembers blocks learns from identity() that
// they may be.)
//
// A change is refused before it begins. One that was begun in time, and takes long, is watched
// further down: whoever sends its bytes asks Lease::may_write() as well. What was cut off so is done
// once more if the lease turns out to be ours still: its client knows nothing of it yet.
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
  // `lease` outlives this. `identity` is the disk's; its right to write is told by the lease.
  LeasedDisk(std::unique_ptr<Layer> below, Lease& lease, DiskIdentity identity)
      : ForwardingLayer(std::move(below)), lease_(lease) {
    for (std::size_t i = 0; i < identities_.size(); ++i) {
      identity.right = static_cast<WriteRight>(i);
      identities_[i] = std::make_shared<const DiskIdentity>(identity);
    }
  }

  // The moment in which the lease runs out changes the answer, without anybody having to notice.
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

  // The lease says once in the log why it is not held: not with each request that is refused.
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
