// A client of Md5Layer with an md5-file, at random and with one thread: and the judge of what a
// crash left.
//
// At every operation on the md5-file's disk, and before, in the midst of and after every change of
// the layer below, both are copied and crash. A second server recovers from them and is asked:
//  - no block is refused: whatever the layer below holds then is what it had to keep;
//  - a block whose last change was followed by a flush, with no change begun in its region since
//    (a read that ends the doubt of a block is one), is verified: with a bit of it turned, its read
//    fails.
//
//   promise   the block
//   -------   ---------------------------------------------------------------------------------
//   none      is perhaps not remembered
//   known     is verified while this server lives: its last change said what it holds
//   safe      and after a crash: a flush has succeeded since, and no change of its region has begun
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "filters/md5/md5_layer.hpp"
#include "tests/crash/md5_file_below.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::testing {

class Md5FileWorkload {
 public:
  struct Options {
    std::uint64_t seed = 0;
    bool below_is_volatile = false;
    bool disk_is_large = false;  // some changes are too large for records (kChange_blocks_max)
  };

  explicit Md5FileWorkload(const Options& options);
  ~Md5FileWorkload();
  Md5FileWorkload(const Md5FileWorkload&) = delete;
  Md5FileWorkload& operator=(const Md5FileWorkload&) = delete;

  // Until that many crashes have been judged, or a fault was found.
  void run(std::size_t crash_points);

  [[nodiscard]] std::size_t crash_points() const { return crash_points_; }
  // Blocks that were damaged, and found so.
  [[nodiscard]] std::size_t blocks_verified() const { return blocks_verified_; }
  // Empty: all is well.
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  static constexpr std::uint32_t kBlock_bytes = 64;

  enum class Promise : std::uint8_t { none, known, safe };
  struct Server {
    std::shared_ptr<Md5Export> shared;
    std::unique_ptr<Md5Layer> layer;
  };

  std::uint64_t pick(std::uint64_t bound) { return random_() % bound; }
  [[nodiscard]] std::uint64_t pick_block() { return blocks_[pick(blocks_.size())]; }
  [[nodiscard]] Range range_of(std::uint64_t block) const { return geometry_.range_of({block}); }
  [[nodiscard]] Range pick_range();
  [[nodiscard]] Range pick_whole_blocks();

  void step();
  void write(const Range& range);
  void zero(const Range& range);
  void trim(const Range& range);
  void flush();
  void read(const Range& range);
  void change(const Range& range, bool says_content, const std::function<void()>& call);
  void regions_change(std::uint64_t first, std::uint64_t last);
  bool succeeds(const std::function<void()>& call);
  void restart();
  void kill();
  void crash_and_restart();
  void forget_what_is_not_safe();

  void on_step();
  void judge_crash();
  void crash(SimulatedDisk& disk, CrashingContent& below);
  void judge(SimulatedDisk& disk, const CrashingContent& below);
  void expect_verified(Md5Layer& layer, CrashingLayer& below, std::uint64_t block);
  void expect_all_readable(Md5Layer& layer, CrashingLayer& below);
  [[nodiscard]] Server server_on(const SimulatedDisk& disk, CrashingLayer& below);
  void fail(const std::string& what);

  const Options options_;
  std::mt19937_64 random_;
  FakeClock clock_;
  BlockGeometry geometry_;
  std::vector<std::uint64_t> blocks_;  // those that are used
  SimulatedDisk disk_;
  CrashingLayer below_;
  Server server_;
  std::vector<Promise> promises_;  // by block
  bool may_fail_ = false;          // an operation under way may be made to fail
  bool has_failed_ = false;
  bool judging_ = false;
  std::size_t crash_points_ = 0;
  std::size_t blocks_verified_ = 0;
  std::string fault_;
};

}  // namespace nbdstack::testing
