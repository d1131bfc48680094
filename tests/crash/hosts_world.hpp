// Two machines, each with a clock of its own, a cache directory and a server; and the time that
// passes for both (hosts_history.hpp).
//
// There is one thread. While a request of one server is on its way, or while it waits, the world
// goes on: leases are renewed, what is late is delivered, and the other machine has its turn.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/error.hpp"
#include "tests/crash/cloud.hpp"
#include "tests/crash/hosts_oracle.hpp"
#include "tests/crash/hosts_server.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack::testing {

class World;

// A cache directory, and what is known of it.
struct RememberingDisk {
  SimulatedDisk disk;
  Memory memory;

  [[nodiscard]] RememberingDisk copy() const { return {.disk = disk.copy(), .memory = memory}; }
};

class Machine final : public Wire, public Clock {
 public:
  Machine(World& world, int number, double rate, Duration ahead);

  // Wire: the requests of its server.
  void touch() override;
  void pass(Duration duration) override;
  // Clock: its own seconds.
  [[nodiscard]] TimePoint now() const override;
  void sleep_for(Duration duration) override;

  // Something happens that the machine may die of.
  void may_die();
  [[nodiscard]] bool is_awake() const;

  RememberingDisk directory;
  std::optional<RememberingDisk> backup;
  FakeProcesses processes;
  std::unique_ptr<HostsServer> server;
  ServerSettings settings;
  std::optional<StaleDirty> decision;  // a person's, after a refusal
  Truth truth{};                       // of the client of this life
  bool is_busy = false;                // a call of its server is under way
  bool is_tending = false;             // the same of its lease's thread
  bool is_kept_off = false;            // a person sees to it that it does not start
  bool is_dead = false;                // nothing that it does has any effect from now on
  std::uint64_t dies_after = 0;        // so many steps; 0: it does not
  TimePoint frozen_until{};            // by the world's clock
  TimePoint next_tending{};

 private:
  World& world_;
  const double rate_;
  const Duration ahead_;
};

class World {
 public:
  World(std::uint64_t seed, const CloudManners& manners);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] TimePoint now() const { return clock_.now(); }
  [[nodiscard]] Cloud& cloud() { return cloud_; }
  [[nodiscard]] Oracle& oracle() { return oracle_; }
  [[nodiscard]] std::array<std::unique_ptr<Machine>, 2>& machines() { return machines_; }

  // What a machine does when it has its turn.
  void on_turn(std::function<void(Machine&)> turn) { turn_ = std::move(turn); }
  void pass(Duration duration);
  [[nodiscard]] std::uint64_t draw(std::uint64_t below) { return cloud_.draw(below); }
  [[nodiscard]] bool one_in(std::uint64_t chances) { return draw(chances) == 0; }

 private:
  void tend(Machine& machine);
  void allow_everywhere(std::uint64_t page, std::uint64_t stamp);

  FakeClock clock_;
  Cloud cloud_;
  Oracle oracle_;
  std::array<std::unique_ptr<Machine>, 2> machines_;
  std::function<void(Machine&)> turn_ = [](Machine&) {};
};

}  // namespace nbdstack::testing
