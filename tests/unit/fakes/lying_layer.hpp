// A layer that lies: now and then a read returns something else for a block than what it holds.
//
//   lie         what is returned for the block
//   ---------   --------------------------------------------------------------------------------
//   stale       what it held before its last change, or before one of those that preceded it
//   swapped     what another block holds
//   flipped     what it holds, with one bit turned
//   truncated   what it holds up to some byte, zeros from there on, or zeros only: an object cut
//               short or lost, as returned by a layer that does not check lengths
//
// A lie differs from the truth in the part of the block that is asked for; where the kind chosen
// cannot (a block of zeros cut short), another kind is taken. Any block of a read may be lied
// about, several at once, whether the read covers it or only a part of it.
//
// Lies last for one read (the next read of the block is right, later ones may lie again) or until
// the block is changed (every read of it returns the same false content).
//
// What is lied about, and how, follows from the seed and the order of the calls alone. Calls may
// come from several threads, which then decide that order. Changes are passed on as they are.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <mutex>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "common/block/layer.hpp"

namespace nbdstack::testing {

enum class Lie : std::uint8_t { stale, swapped, flipped, truncated };
constexpr std::size_t kKindsOfLies = 4;

enum class LieLasts : std::uint8_t { one_read, until_changed };

struct ToldLie {
  BlockNumber block;
  Lie kind;
};

// A read that arrived, and what was untrue in its answer, in the order of the blocks.
struct AnsweredRead {
  Range range;
  std::vector<ToldLie> lies;
};

class LyingLayer final : public Layer {
 public:
  struct Options {
    std::uint64_t seed = 0;
    std::uint32_t block_size = 0;  // a power of two
    LieLasts lasts = LieLasts::one_read;
    unsigned one_in = 4;  // one read in so many begins to lie; 0: none does
  };

  // `below` outlives this layer, and is changed through it alone from now on.
  LyingLayer(Layer& below, const Options& options)
      : below_(below),
        geometry_(below.traits().size_bytes, options.block_size),
        lasts_(options.lasts),
        one_in_(options.one_in),
        random_(options.seed),
        blocks_(geometry_.block_count()) {
    for (std::uint64_t number = 0; number < blocks_.size(); ++number) {
      blocks_[number].now = content(geometry_.range_of({number}));
    }
  }

  // From now on every read is right.
  void become_honest() {
    const std::lock_guard lock(mutex_);
    one_in_ = 0;
    for (Block& block : blocks_) block.lie.reset();
  }

  // The reads answered since the last call.
  [[nodiscard]] std::vector<AnsweredRead> take_reads() {
    const std::lock_guard lock(mutex_);
    return std::exchange(reads_, {});
  }

  // How often a lie of this kind was told; one that lasts counts whenever it is read.
  [[nodiscard]] std::size_t told(Lie kind) const {
    const std::lock_guard lock(mutex_);
    return told_.at(static_cast<std::size_t>(kind));
  }

  [[nodiscard]] const LayerTraits& traits() const override { return below_.traits(); }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    below_.pread(buffer, offset);
    const std::lock_guard lock(mutex_);
    AnsweredRead read{{offset, buffer.size()}, {}};
    const std::vector<BlockPiece> pieces = geometry_.split(read.range);
    const std::vector<bool> chosen = choose(pieces.size());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const BlockPiece& piece = pieces[i];
      const auto part = buffer.subspan(piece.offset_in_request, piece.length);
      if (const auto kind = answer(piece, chosen[i], part)) {
        read.lies.push_back({piece.block, *kind});
        ++told_.at(static_cast<std::size_t>(*kind));
      }
    }
    reads_.push_back(std::move(read));
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    below_.pwrite(buffer, offset, durability);
    note_change({offset, buffer.size()});
  }
  void flush() override { below_.flush(); }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    below_.zero(length, offset, options);
    note_change({offset, length});
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    below_.trim(length, offset, durability);
    note_change({offset, length});
  }
  void cache(std::uint64_t length, std::uint64_t offset) override { below_.cache(length, offset); }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    below_.extents(length, offset, only_one, extents);
  }

 private:
  using Bytes = std::vector<std::byte>;
  static constexpr std::size_t kMostVersions = 4;

  struct FalseContent {
    Lie kind;
    Bytes bytes;  // of the whole block
  };
  struct Block {
    Bytes now;
    std::deque<Bytes> before;  // latest first
    std::optional<FalseContent> lie;
    bool owes_truth = false;  // lies last for one read, and the last read of this block was one
  };

  static std::span<const std::byte> part_of(const Bytes& block, const BlockPiece& piece) {
    return std::span(block).subspan(piece.offset_in_block, piece.length);
  }
  static bool differ(std::span<const std::byte> one, std::span<const std::byte> other) {
    return !std::equal(one.begin(), one.end(), other.begin(), other.end());
  }

  Bytes content(const Range& range) {
    Bytes bytes(range.length);
    below_.pread(bytes, range.offset);
    return bytes;
  }

  void note_change(const Range& range) {
    const Bytes bytes = content(range);
    const std::lock_guard lock(mutex_);
    for (const BlockPiece& piece : geometry_.split(range)) {
      Block& block = blocks_[piece.block.value];
      block.before.push_front(block.now);
      if (block.before.size() > kMostVersions) block.before.pop_back();
      const auto fresh = std::span(bytes).subspan(piece.offset_in_request, piece.length);
      std::copy(fresh.begin(), fresh.end(), block.now.begin() + piece.offset_in_block);
      block.lie.reset();
      block.owes_truth = false;
    }
  }

  // All of the following with mutex_ held.

  std::size_t random_under(std::size_t bound) { return random_() % bound; }

  // About which of the blocks of a read a new lie may begin.
  std::vector<bool> choose(std::size_t count) {
    std::vector<bool> chosen(count);
    if (one_in_ == 0 || random_under(one_in_) != 0) return chosen;
    for (std::size_t i = 0; i < count; ++i) chosen[i] = random_under(4) == 0;
    chosen[random_under(count)] = true;
    return chosen;
  }

  // Puts the lie in place of the truth that stands in `part`; nothing when the answer is right.
  std::optional<Lie> answer(const BlockPiece& piece, bool may_begin, std::span<std::byte> part) {
    Block& block = blocks_[piece.block.value];
    if (std::exchange(block.owes_truth, false)) return std::nullopt;
    if (!block.lie && may_begin) block.lie = invent(piece);
    if (!block.lie) return std::nullopt;
    const FalseContent lie = *block.lie;
    const auto untrue = part_of(lie.bytes, piece);
    if (!differ(untrue, part)) return std::nullopt;
    std::copy(untrue.begin(), untrue.end(), part.begin());
    if (lasts_ == LieLasts::one_read) {
      block.lie.reset();
      block.owes_truth = true;
    }
    return lie.kind;
  }

  FalseContent invent(const BlockPiece& piece) {
    const Bytes& now = blocks_[piece.block.value].now;
    for (std::size_t kind = random_under(kKindsOfLies);; kind = (kind + 1) % kKindsOfLies) {
      FalseContent lie{static_cast<Lie>(kind), now};
      twist(lie, piece);
      if (differ(part_of(lie.bytes, piece), part_of(now, piece))) return lie;
    }
  }

  // May leave everything as it is, where there is nothing to make this kind of lie from.
  void twist(FalseContent& lie, const BlockPiece& piece) {
    Bytes& bytes = lie.bytes;
    const Block& block = blocks_[piece.block.value];
    switch (lie.kind) {
      case Lie::stale:
        if (!block.before.empty()) bytes = block.before[random_under(block.before.size())];
        break;
      case Lie::swapped: {
        const Bytes& other = blocks_[random_under(blocks_.size())].now;
        std::copy_n(other.begin(), std::min(other.size(), bytes.size()), bytes.begin());
        break;
      }
      case Lie::flipped: {
        const std::size_t bit = random_under(std::size_t{piece.length} * 8);
        bytes[piece.offset_in_block + bit / 8] ^= std::byte{1} << (bit % 8);
        break;
      }
      case Lie::truncated: {
        // One in four is lost altogether.
        const bool lost = random_under(4) == 0;
        const std::size_t kept = lost ? 0 : piece.offset_in_block + random_under(piece.length);
        std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(kept), bytes.end(), std::byte{0});
        break;
      }
    }
  }

  Layer& below_;
  const BlockGeometry geometry_;
  const LieLasts lasts_;

  mutable std::mutex mutex_;  // protects everything below
  unsigned one_in_;
  std::mt19937_64 random_;
  std::vector<Block> blocks_;
  std::vector<AnsweredRead> reads_;
  std::array<std::size_t, kKindsOfLies> told_{};
};

}  // namespace nbdstack::testing
