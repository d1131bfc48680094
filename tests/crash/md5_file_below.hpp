// A layer below the md5 filter that crashes, too: durable at once, as an object store is, or
// volatile, as a disk with a cache is, which keeps what was flushed and of the rest what a crash
// leaves, piece by piece, so that a block may be old, new or torn.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "common/block/layer.hpp"

namespace nbdstack::testing {

// The bytes, without the layer around them: what is copied and crashes.
class CrashingContent {
 public:
  static constexpr std::size_t kTornAt_bytes = 16;

  explicit CrashingContent(std::size_t size_bytes) : current_(size_bytes) {}

  [[nodiscard]] std::span<const std::byte> bytes() const { return current_; }

  void write(std::span<const std::byte> data, std::uint64_t offset) {
    for (std::size_t done = 0; done < data.size();) {
      const std::uint64_t at = offset + done;
      const std::uint64_t piece = at / kTornAt_bytes;
      const auto end = std::min<std::uint64_t>((piece + 1) * kTornAt_bytes, current_.size());
      const auto length = std::min<std::size_t>(end - at, data.size() - done);
      unflushed_[piece].push_back(content_of(piece));
      std::copy_n(&data[done], length, &current_[at]);
      done += length;
    }
  }
  void flush() { unflushed_.clear(); }

  // Each piece that was changed since the last flush holds what it held at some time since then.
  void crash(std::mt19937_64& random) {
    const std::uint64_t way = random() % 4;
    for (const auto& [piece, versions] : unflushed_) {
      if (way == 0 || (way > 1 && random() % 2 == 0)) continue;
      const auto& kept = way == 1 ? versions.front() : versions[random() % versions.size()];
      std::copy(kept.begin(), kept.end(), &current_[piece * kTornAt_bytes]);
    }
    flush();
  }

  // Bypasses durability: for damage.
  void flip(std::uint64_t offset) { current_[offset] ^= std::byte{1}; }

 private:
  using Piece = std::vector<std::byte>;

  [[nodiscard]] Piece content_of(std::uint64_t piece) const {
    const std::size_t begin = piece * kTornAt_bytes;
    const std::size_t end = std::min(begin + kTornAt_bytes, current_.size());
    return {current_.begin() + static_cast<std::ptrdiff_t>(begin),
            current_.begin() + static_cast<std::ptrdiff_t>(end)};
  }

  std::vector<std::byte> current_;
  std::map<std::uint64_t, std::vector<Piece>> unflushed_;  // what pieces held before, oldest first
};

class CrashingLayer final : public Layer {
 public:
  // Called before, in the midst of and after each change, and before a flush takes effect; what it
  // throws is how the call fails.
  using OnStep = std::function<void()>;

  CrashingLayer(CrashingContent content, bool is_volatile)
      : content_(std::move(content)), is_volatile_(is_volatile) {
    traits_.size_bytes = content_.bytes().size();
    traits_.can_write = traits_.can_flush = traits_.can_trim = true;
    traits_.zero = traits_.fua = Support::native;
  }

  void on_step(OnStep on_step) { on_step_ = std::move(on_step); }
  [[nodiscard]] CrashingContent& content() { return content_; }

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    const auto found = content_.bytes().subspan(offset, buffer.size());
    std::copy(found.begin(), found.end(), buffer.begin());
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    const std::size_t half = buffer.size() / 2;
    step();
    store(buffer.first(half), offset, durability);
    step();
    store(buffer.subspan(half), offset + half, durability);
    step();
  }
  void flush() override {
    step();
    content_.flush();
  }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    pwrite(std::vector<std::byte>(length), offset, options.durability);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    pwrite(std::vector<std::byte>(length, std::byte{0x77}), offset, durability);
  }
  void cache(std::uint64_t /*length*/, std::uint64_t /*offset*/) override {}
  void extents(std::uint64_t length, std::uint64_t offset, bool /*only_one*/,
               ExtentList& extents) override {
    extents.append({offset, length}, kData);
  }

 private:
  void step() const {
    if (on_step_) on_step_();
  }
  void store(std::span<const std::byte> data, std::uint64_t offset, Durability durability) {
    content_.write(data, offset);
    if (!is_volatile_ || durability == Durability::fua) content_.flush();
  }

  LayerTraits traits_;
  CrashingContent content_;
  const bool is_volatile_;
  OnStep on_step_;
};

}  // namespace nbdstack::testing
