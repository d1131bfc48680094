// A pass over a fake disk, with the md5-file that a Md5Layer over that disk wrote.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "filters/md5/command/verify_pass.hpp"
#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {

// Reads a layer, one read after the other, in the order of their start or against it.
class FakeExport final : public ExportReader {
 public:
  explicit FakeExport(Layer& layer) : layer_(&layer) {}

  // Called for each read, before it takes effect and after.
  std::function<void(const Range&)> before_read = [](const Range&) {};
  std::function<void(const Range&)> after_read = [](const Range&) {};
  std::function<void()> on_flush = [] {};
  std::set<std::uint64_t> unreadable;  // offsets: reads of that byte fail
  bool is_lost = false;
  bool latest_first = false;
  std::uint32_t longest_request = 32U << 20U;

  std::vector<Range> reads;
  std::size_t most_under_way = 0;
  std::size_t flushes = 0;

  [[nodiscard]] std::uint64_t size_bytes() const override { return layer_->traits().size_bytes; }
  [[nodiscard]] std::uint32_t longest_request_bytes() const override { return longest_request; }
  void start(std::uint64_t read, std::span<std::byte> buffer, std::uint64_t offset) override {
    under_way_.push_back({read, buffer, offset});
    most_under_way = std::max(most_under_way, under_way_.size());
  }
  void flush() override {
    ++flushes;
    on_flush();
  }
  std::vector<Outcome> wait() override {
    if (is_lost) throw Error(ENOTCONN, "told to be lost");
    const Started next = latest_first ? under_way_.back() : under_way_.front();
    if (latest_first) {
      under_way_.pop_back();
    } else {
      under_way_.pop_front();
    }
    const Range range{next.offset, next.buffer.size()};
    reads.push_back(range);
    before_read(range);
    const auto bad = unreadable.lower_bound(range.offset);
    if (bad != unreadable.end() && *bad < range.end()) return {{next.read, "told to fail"}};
    layer_->pread(next.buffer, next.offset);
    after_read(range);
    return {{next.read, ""}};
  }

 private:
  struct Started {
    std::uint64_t read;
    std::span<std::byte> buffer;
    std::uint64_t offset;
  };

  Layer* layer_;
  std::deque<Started> under_way_;
};

class VerifyTest : public Md5FileTest {
 protected:
  // What it found is in `findings`.
  VerifyResult verify(const VerifyPass::Options& options = {}) {
    WatchedFile file(disk.directory()->open(kFileName), after_look);
    KnownBlocks known(file, reader.size_bytes(), clock, next_data);
    VerifyPass pass(known, reader, hashing, clock, options,
                    {.found =
                         [this](const Finding& finding, const std::string& failure) {
                           findings.push_back(finding);
                           failures.push_back(failure);
                         },
                     .progress = [](const VerifyResult&, double) {}});
    return pass.run();
  }
  void flush() const { layer->flush(); }
  // A bit of a block, behind everybody's back.
  void damage(std::uint64_t block) {
    const Range bit{block * kBlock, 1};
    below.fill(bit, below.content(bit)[0] ^ std::byte{1});
  }
  void put_back(const Bytes& data, std::uint64_t block) {
    below.pwrite(data, block * kBlock, Durability::on_flush);
  }

  WorkerPool hashing{0};
  FakeExport reader{below};
  KnownBlocks::NextData next_data = [](std::uint64_t offset) { return offset; };
  std::shared_ptr<ReadHook> after_look = std::make_shared<ReadHook>();
  std::vector<Finding> findings;
  std::vector<std::string> failures;
};

}  // namespace nbdstack::testing
