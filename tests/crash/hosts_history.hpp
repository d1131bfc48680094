// Histories by seed of two hosts and one volume, from one end of the stack to the other: each has a
// cache directory over the s3 plugin's volume over a service (cloud.hpp), with the volume's lease.
//
// A host's turn is one of
//   start     with its directory, perhaps an older copy of it, a new one, or none
//   request   write, zero, trim, read, extents, flush, and what the cache does by itself
//   end       a stop; a kill or a power loss, of which it also dies within any request
//   freeze    it does nothing for up to two minutes
// and while a request is on its way the other host has turns. Where a start is refused, a person
// takes one of the ways out that the message has to name.
//
// What is promised:
//   - what was flushed is stored (or in the directory, with FlushTo::local), and stays until the
//     owner changes it
//   - a read returns what was written last; at the start of a life, what was flushed last or later
//   - a directory whose disk somebody else has changed is refused, or shows the disk; what was
//     flushed into it and never stored does not go without a word
//   - who has lost the volume sends no change of it, and nothing that its clients ask succeeds
//   - a hole is zeros
//   - in the end, when nothing goes wrong any more, every host can serve the volume again
#pragma once

#include <cstdint>
#include <string>

#include "tests/crash/hosts_world.hpp"

namespace nbdstack::testing {

class HostsHistory {
 public:
  HostsHistory(std::uint64_t seed, const TakenOut& taken_out);

  void run();

  // Empty: all is well. Else what was found, and all that was done before.
  [[nodiscard]] std::string fault() const;

  struct Counts {
    std::size_t lives = 0;
    std::size_t takeovers = 0;  // by another host than the one before
    std::size_t refusals = 0;   // for a person to decide
    std::size_t lost = 0;       // requests of servers that had lost the volume
    std::size_t flushes = 0;    // that succeeded
    std::size_t late = 0;       // changes that were done late

    Counts& operator+=(const Counts& other);
  };
  [[nodiscard]] Counts counts();

 private:
  enum class Found : std::uint8_t { is_new, current, unsure, changed };

  // hosts_history.cpp: what is done.
  void turn(Machine& machine);
  void take_turn(Machine& machine);
  void request(Machine& machine);
  void end(Machine& machine);
  void bury(Machine& machine);
  void restore(Machine& machine);
  void stop(Machine& machine);
  void calm_end();
  void serve_calmly(Machine& machine);
  bool remove_what_came_late(const Machine& machine);

  // hosts_requests.cpp: one request, and its outcome.
  template <typename Body>
  bool attempt(Machine& machine, const std::string& what, const Body& body);
  void change(Machine& machine, std::uint64_t page, std::uint64_t stamp);
  void write(Machine& machine);
  void zero(Machine& machine);
  void trim(Machine& machine);
  [[nodiscard]] bool reads_the_store(const Machine& machine);
  void read(Machine& machine, std::uint64_t page);
  void look_for_holes(Machine& machine);
  void flush(Machine& machine);

  // hosts_starts.cpp: a life begins.
  void start(Machine& machine, bool is_calm = false);
  bool open(Machine& machine, bool is_calm);
  bool open_cache(Machine& machine);
  void refused(Machine& machine, const std::string& message);
  [[nodiscard]] Found judge(const Machine& machine);
  void begin(Machine& machine, Found found);
  void expect_nothing_dropped(const Machine& machine);
  void settle(Machine& machine);

  [[nodiscard]] std::uint64_t draw(std::uint64_t below) { return world_.draw(below); }
  [[nodiscard]] bool one_in(std::uint64_t chances) { return world_.one_in(chances); }
  [[nodiscard]] bool is_owner(const Machine& machine) {
    return world_.oracle().owner() == machine.settings.life;
  }
  [[nodiscard]] int number(const Machine& machine) {
    return &machine == world_.machines().at(0).get() ? 0 : 1;
  }
  void say(const Machine& machine, const std::string& what);

  const TakenOut taken_out_;
  World world_;
  Oracle& oracle_;
  std::uint64_t stamp_ = 0;
  std::uint64_t life_ = 0;
  int last_owner_ = -1;
  Counts counts_;
  std::string done_;
};

}  // namespace nbdstack::testing
