// A volume that several hosts serve in turn, as far as the layers above see it: bytes, and a lease
// that counts the terms of its writers (common/block/disk_identity.hpp). What is written is stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/block/layer.hpp"
#include "common/error.hpp"

namespace nbdstack::testing {

// A page is full of the stamp of the write that it holds.
class SharedVolume {
 public:
  static constexpr std::uint32_t kPage = 4096;
  static constexpr std::uint32_t kBlock = 2 * kPage;
  static constexpr std::uint64_t kPages = 7;  // the last block is short

  SharedVolume() : bytes_(kPages * kPage) {}

  // A new owner's term; what the last one has changed is in `since`.
  WriterTerm take_over() {
    last_change_ = owner_ != 0 ? term_ : last_change_;
    owner_ = ++term_;
    return {term_, last_change_};
  }
  void give_back(bool has_changed) {
    if (has_changed) last_change_ = term_;
    owner_ = 0;
  }
  // As a reader finds it.
  [[nodiscard]] WriterTerm term() const { return {term_, last_change_}; }

  [[nodiscard]] std::uint64_t stamp(std::uint64_t page) const {
    std::uint64_t stamp = 0;
    std::memcpy(&stamp, &bytes_[page * kPage], sizeof stamp);
    return stamp;
  }
  // Whether that was ever stored.
  [[nodiscard]] bool was_stored(std::uint64_t stamp) const { return stored_.contains(stamp); }
  // How often anything was stored.
  [[nodiscard]] std::size_t changes() const { return changes_; }

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  void write(std::span<const std::byte> data, std::uint64_t offset) {
    std::memcpy(&bytes_[offset], data.data(), data.size());
    ++changes_;
    for (std::uint64_t page = offset / kPage; page * kPage < offset + data.size(); ++page) {
      stored_.insert(stamp(page));
    }
  }

 private:
  std::vector<std::byte> bytes_;
  std::set<std::uint64_t> stored_{0};
  std::size_t changes_ = 0;
  std::uint64_t term_ = 1;
  std::uint64_t owner_ = 0;  // the term of who holds the lease; 0: nobody
  std::uint64_t last_change_ = 1;
};

inline std::vector<std::byte> page_of(std::uint64_t stamp) {
  std::vector<std::byte> bytes(SharedVolume::kPage);
  for (std::size_t at = 0; at < bytes.size(); at += sizeof stamp) {
    std::memcpy(&bytes[at], &stamp, sizeof stamp);
  }
  return bytes;
}

// The stamp that a page is full of.
inline std::uint64_t stamp_of(std::span<const std::byte> page) {
  std::uint64_t stamp = 0;
  std::memcpy(&stamp, page.data(), sizeof stamp);
  const std::vector<std::byte> expected = page_of(stamp);
  return std::memcmp(expected.data(), page.data(), page.size()) == 0 ? stamp : ~std::uint64_t{0};
}

// One server's view of it.
class VolumeView final : public Layer {
 public:
  VolumeView(SharedVolume& volume, WriterTerm term, WriteRight right)
      : volume_(volume), term_(term) {
    traits_.size_bytes = SharedVolume::kPages * SharedVolume::kPage;
    traits_.can_write = right != WriteRight::none;
    traits_.can_flush = traits_.can_multi_conn = true;
    traits_.zero = traits_.can_write ? Support::native : Support::none;
    traits_.fua = traits_.can_write ? Support::native : Support::none;
    set_right(right);
  }

  void set_right(WriteRight right) {
    identity_ = std::make_shared<const DiskIdentity>(DiskIdentity{
        .id = "volume", .size_bytes = traits_.size_bytes, .term = term_, .right = right});
  }
  [[nodiscard]] bool has_changed() const { return has_changed_; }
  // Somebody has tried to change a disk that was lost.
  [[nodiscard]] bool was_late() const { return was_late_; }

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }
  std::shared_ptr<const DiskIdentity> identity() override { return identity_; }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    std::memcpy(buffer.data(), &volume_.bytes()[offset], buffer.size());
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset, Durability) override {
    if (identity_->right != WriteRight::held) {
      was_late_ = true;
      throw Error(ESHUTDOWN, "the volume is somebody else's");
    }
    has_changed_ = true;
    volume_.write(buffer, offset);
  }
  void flush() override {}
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions&) override {
    pwrite(std::vector<std::byte>(length), offset, Durability::on_flush);
  }
  void trim(std::uint64_t, std::uint64_t, Durability) override {}
  void cache(std::uint64_t, std::uint64_t) override {}
  void extents(std::uint64_t length, std::uint64_t offset, bool, ExtentList& extents) override {
    extents.append({offset, length}, kData);
  }

 private:
  SharedVolume& volume_;
  const WriterTerm term_;
  LayerTraits traits_;
  std::shared_ptr<const DiskIdentity> identity_;
  bool has_changed_ = false;
  bool was_late_ = false;
};

}  // namespace nbdstack::testing
