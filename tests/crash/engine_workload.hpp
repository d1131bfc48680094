// A client of the whole cache - engine, durable store, simulated disk, and a layer below that
// forgets - that does at random what clients do, with one thread: and the judge of what a crash
// left.
//
// At every operation on the cache's directory, and before every change of the layer below, a copy
// of both crashes, a second cache recovers from it, and what is read through that is compared with
// what the oracles allow; then it is written back, and the layer below has to say the same.
//
// Three kinds of crash:
//   both     the machine of the cache and the layer below lose what is not durable; not with
//            Below::keeps
//   cache    the layer below goes on: only the cache's directory loses something
//   process  kill -9: nothing is lost but what was in memory
// After the first two the oracle is `durable_`: what was flushed, or something later. After the
// third it is `published_`: what was acknowledged, or something later; of what was being
// overwritten `durable_` again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/crypto/unit_cipher.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/cache/serving/cache_layer.hpp"
#include "tests/crash/engine_below.hpp"
#include "tests/crash/engine_oracle.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::testing {

class EngineWorkload {
 public:
  // What a crash does to the layer below.
  enum class Below : std::uint8_t { keeps, forgets };

  EngineWorkload(std::uint64_t seed, Below below);
  ~EngineWorkload();
  EngineWorkload(const EngineWorkload&) = delete;
  EngineWorkload& operator=(const EngineWorkload&) = delete;

  // Until that many crashes have been judged, or a fault was found.
  void run(std::size_t crash_points);

  [[nodiscard]] std::size_t crash_points() const { return crash_points_; }
  // Empty: all is well.
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  static constexpr std::uint32_t kBlock_bytes = 16384;
  static constexpr unsigned kPagesPerBlock = kBlock_bytes / kPage_bytes;
  static constexpr std::uint64_t kBlocks = 7;
  static constexpr std::uint64_t kPages = kBlocks * kPagesPerBlock - 1;  // the last one is short
  static constexpr std::uint64_t kSectorsOfDisk = kPages * kSectors;
  static constexpr std::uint64_t kMostSlots = 6;

  using Fate = ForgetfulLayer::Fate;
  using Content = std::vector<PageContent>;  // of all pages
  enum class Outage : std::uint8_t { none, everything, changes, flushes, now_and_then };
  enum class Crash : std::uint8_t { both, cache, process };

  // What outlives a crash.
  struct Machine {
    SimulatedDisk disk;
    FlushedContent below;
  };
  // One run of a server.
  struct Server {
    Server(const SimulatedDisk& disk, Layer& below, const CacheSettings& settings,
           std::shared_ptr<const UnitCipher> cipher);

    WorkerPool no_threads{0};
    std::shared_ptr<BlockCache> cache;
    CacheLayer layer;
  };
  // Sectors of a request.
  struct Sectors {
    std::uint64_t first = 0;
    std::uint64_t count = 0;

    [[nodiscard]] std::uint64_t end() const { return first + count; }
    [[nodiscard]] Range range() const { return {first * kSector_bytes, count * kSector_bytes}; }
    [[nodiscard]] PageRun pages() const {
      return {first / kSectors, (end() + kSectors - 1) / kSectors};
    }
    // As page:sector.
    [[nodiscard]] std::string text(const char* verb,
                                   Durability durability = Durability::on_flush) const;
  };

  // --- engine_workload.cpp: the client ---
  std::uint64_t pick(std::uint64_t bound) { return random_() % bound; }
  bool one_in(std::uint64_t chances) { return pick(chances) == 0; }
  [[nodiscard]] LayerTraits choose_traits();
  [[nodiscard]] CacheSettings choose_settings();
  void start_server();
  Sectors choose_sectors();
  void start(Machine machine);
  void install_hooks();
  void remove_hooks();
  void step();
  void write(Durability durability);
  // While a flush or the background writes back: never where it could have to wait, because there
  // is one thread only.
  void write_beside();
  void zero();
  void trim();
  void read();
  void flush();
  void restart();
  void crash_and_restart();
  void go_on_in_the_background();
  bool stop_orderly();

  void change(const Sectors& sectors, std::uint64_t stamp);
  void acknowledge(const Sectors& sectors, Durability durability);
  // Whether the body succeeds. Failing without a failure below is a fault.
  bool attempt(const std::string& what, bool may_fail, const std::function<void()>& body);
  // For the report of a fault: what is being done now.
  void begin(std::string what) { doing_.push_back(std::move(what)); }
  void end(const char* how) { doing_.back() += how; }
  // A request failed, or says nothing of the content: what is read now is what is there.
  void find_out(const PageRun& pages);
  Durability choose_durability() { return one_in(6) ? Durability::fua : Durability::on_flush; }
  Fate fate_below(Op op);

  // --- engine_judge.cpp ---
  [[nodiscard]] Machine copy() const;
  void judge_crash();
  void crash(Machine& machine, Crash kind);
  // Lets the machine crash, recovers it and compares; returns what was found.
  std::optional<Content> judge(Machine machine, Crash kind, const EngineOracle& oracle,
                               bool may_stop_again);
  // Recovers, reads everything, and writes it back; what it found is true as far as it got.
  bool recover(Machine& machine, const EngineOracle& oracle,
               std::optional<std::uint64_t> stop_after, std::optional<Content>& found);
  std::optional<Content> read_everything(Server& server, const EngineOracle& oracle);
  void compare_below(const ForgetfulLayer& below, const Content& found);
  void fail(const std::string& what);

  std::mt19937_64 random_;
  const std::shared_ptr<const UnitCipher> cipher_;  // null: the pages lie in the clear
  const Below when_crashed_;
  const LayerTraits traits_;
  FlushTo flush_to_ = FlushTo::below;
  CacheMode mode_ = CacheMode::writeback;
  SimulatedDisk disk_;
  std::unique_ptr<ForgetfulLayer> below_;
  std::unique_ptr<Server> server_;
  EngineOracle durable_{kPages};
  EngineOracle published_{kPages, &durable_};
  Outage outage_ = Outage::none;
  std::size_t failures_ = 0;  // of the layer below
  bool troubled_ = false;     // there were some since the last flush that succeeded
  bool judging_ = false;
  bool roomy_ = false;         // the cache holds the whole disk and more
  bool writing_back_ = false;  // a flush, or the background: no request owns any page
  TimePoint now_{};
  std::uint64_t stamp_ = 0;
  std::vector<std::string> doing_;  // since the first start, oldest first
  const char* crash_ = "";          // the kind of the last one
  std::size_t crash_points_ = 0;
  std::string fault_;
};

}  // namespace nbdstack::testing
