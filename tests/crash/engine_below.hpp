// A layer below the cache that crashes, too: it keeps what was flushed or written with FUA, and of
// the rest what a seed says. Pages are kept or forgotten as a whole, each on its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "common/block/layer.hpp"
#include "tests/crash/page_history.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {

// The bytes, without the layer around them: what is copied and crashes.
class FlushedContent {
 public:
  explicit FlushedContent(std::size_t pages)
      : durable_(pages * kPage_bytes), current_(pages * kPage_bytes) {}

  [[nodiscard]] std::span<const std::byte> bytes() const { return current_; }
  [[nodiscard]] std::span<const std::byte> page(std::uint64_t number) const {
    return bytes().subspan(number * kPage_bytes, kPage_bytes);
  }
  void write(std::span<const std::byte> data, std::uint64_t offset, Durability durability);
  void flush();
  // Loses some of what is not durable: nothing, all, everything after some moment, or at random.
  void crash(std::uint64_t seed);

 private:
  struct Version {
    std::uint64_t when;  // the number of the write
    std::array<std::byte, kPage_bytes> bytes;
  };

  std::vector<std::byte> durable_;
  std::vector<std::byte> current_;
  std::map<std::uint64_t, std::vector<Version>> unflushed_;  // by page, oldest first
  std::uint64_t writes_ = 0;
};

class ForgetfulLayer final : public Layer {
 public:
  enum class Fate : std::uint8_t {
    works,
    refused,    // fails, and has done nothing
    half_done,  // fails, and has done the first half, durably, up to the end of a page
  };
  // Asked before each call takes effect.
  using Judge = std::function<Fate(Op)>;

  ForgetfulLayer(const LayerTraits& traits, FlushedContent content)
      : traits_(traits), content_(std::move(content)) {}

  void set_judge(Judge judge) { judge_ = std::move(judge); }
  [[nodiscard]] const FlushedContent& content() const { return content_; }

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override;
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;
  void flush() override;
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;
  void cache(std::uint64_t length, std::uint64_t offset) override;
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override;

 private:
  void change(Op op, std::span<const std::byte> data, std::uint64_t offset, Durability durability);

  LayerTraits traits_;
  FlushedContent content_;
  Judge judge_ = [](Op) { return Fate::works; };
};

}  // namespace nbdstack::testing
