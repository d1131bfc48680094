#include "tests/crash/hosts_history.hpp"

#include <fmt/format.h>

namespace nbdstack::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr unsigned kTurns = 7;

}  // namespace

HostsHistory::HostsHistory(std::uint64_t seed, const TakenOut& taken_out)
    : taken_out_(taken_out), world_(seed, taken_out.cloud), oracle_(world_.oracle()) {
  world_.on_turn([this](Machine& machine) { turn(machine); });
}

std::string HostsHistory::fault() const {
  return oracle_.fault().empty() ? "" : fmt::format("{}\n  after {}", oracle_.fault(), done_);
}

HostsHistory::Counts& HostsHistory::Counts::operator+=(const Counts& other) {
  lives += other.lives;
  takeovers += other.takeovers;
  refusals += other.refusals;
  lost += other.lost;
  flushes += other.flushes;
  late += other.late;
  return *this;
}

HostsHistory::Counts HostsHistory::counts() {
  Counts counts = counts_;
  counts.late = world_.cloud().late_done();
  return counts;
}

void HostsHistory::say(const Machine& machine, const std::string& what) {
  const auto now = std::chrono::duration<double>(world_.now().time_since_epoch());
  done_ += fmt::format("{}{:.0f}:{} ", number(machine) == 0 ? "a" : "B", now.count(), what);
}

void HostsHistory::run() {
  world_.cloud().set_stormy_percent(one_in(3) ? 0 : one_in(2) ? 4 : 15);
  for (unsigned i = 0; i < kTurns && oracle_.fault().empty(); ++i) {
    turn(*world_.machines().at(draw(2)));
    world_.pass(one_in(6) ? Duration(seconds(draw(60))) : Duration(milliseconds(draw(900))));
    oracle_.check_volume();
  }
  if (oracle_.fault().empty()) calm_end();
}

void HostsHistory::turn(Machine& machine) {
  if (!oracle_.fault().empty()) return;
  if (machine.is_dead) return bury(machine);
  if (!machine.is_awake()) return;
  machine.is_busy = true;
  try {
    take_turn(machine);
  } catch (const Error& error) {
    if (!machine.is_dead) oracle_.fail(fmt::format("an error in a wrong place: {}", error.what()));
  }
  machine.is_busy = false;
  if (machine.is_dead) bury(machine);
}

void HostsHistory::take_turn(Machine& machine) {
  if (machine.server == nullptr) {
    if (machine.is_kept_off) return;
    if (one_in(3)) restore(machine);
    return start(machine);
  }
  for (std::uint64_t requests = 1 + draw(4); requests > 0 && !machine.is_dead; --requests) {
    request(machine);
  }
  if (one_in(5)) end(machine);
}

void HostsHistory::request(Machine& machine) {
  switch (draw(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return write(machine);
    case 4:
      return zero(machine);
    case 5:
      return trim(machine);
    case 6:
    case 7:
      return read(machine, draw(kHostsPages));
    case 8:
      return look_for_holes(machine);
    case 9:
    case 10:
      return flush(machine);
    default:
      say(machine, "b");
      return machine.server->work_in_background(machine.now());
  }
}

void HostsHistory::end(Machine& machine) {
  const std::uint64_t choice = draw(6);
  if (choice == 0) {
    machine.frozen_until = world_.now() + seconds(draw(120));
    return say(machine, "(frozen)");
  }
  if (choice < 3) {
    machine.is_dead = true;
    return;
  }
  stop(machine);
}

void HostsHistory::stop(Machine& machine) {
  say(machine, "(stop");
  const bool is_stored = machine.server->stop();
  if (machine.is_dead) return;
  say(machine, is_stored ? ")" : ", not all is stored)");
  if (is_stored && is_owner(machine)) oracle_.must_be_stored(machine.truth);
  for (PageTruth& page : machine.truth) page.flushed();
  if (machine.directory.memory.life == machine.settings.life) {
    machine.directory.memory.pages = machine.truth;
  }
  machine.server.reset();
  machine.processes.gone.push_back(machine.processes.process);
  ++machine.processes.process.pid;
}

// Of all that the server still does, nothing has any effect.
void HostsHistory::bury(Machine& machine) {
  if (machine.is_busy || machine.is_tending) return;
  machine.is_dead = true;
  if (machine.server != nullptr && machine.directory.memory.life == machine.settings.life) {
    machine.directory.memory.pages = machine.truth;
  }
  machine.server.reset();
  const bool loses_power = one_in(2);
  say(machine, loses_power ? "(power loss)" : "(killed)");
  machine.directory.disk.set_hook({});
  if (loses_power) machine.directory.disk.crash(draw(1U << 30U));
  machine.processes.gone.push_back(machine.processes.process);
  ++machine.processes.process.pid;
  machine.dies_after = 0;
  machine.is_dead = false;
}

// A copy is of a directory that no server uses.
void HostsHistory::restore(Machine& machine) {
  if (one_in(8)) {
    say(machine, "(new directory)");
    machine.directory = RememberingDisk();
  } else if (machine.backup && one_in(2)) {
    say(machine, "(restored)");
    machine.directory = machine.backup->copy();
  } else {
    say(machine, "(backup)");
    machine.backup = machine.directory.copy();
  }
}

// All that is late comes, and nothing else goes wrong. Whoever serves stops, and a new server of
// each host, one after the other, takes the volume over and reads all of it.
void HostsHistory::calm_end() {
  world_.on_turn([](Machine&) {});
  world_.cloud().calm();
  done_ += "| ";
  for (const auto& machine : world_.machines()) {
    machine->frozen_until = {};
    machine->dies_after = 0;
    if (machine->is_dead) bury(*machine);
  }
  world_.pass(minutes(3));
  try {
    for (const auto& machine : world_.machines()) {
      if (machine->server != nullptr) stop(*machine);
    }
    for (const auto& machine : world_.machines()) serve_calmly(*machine);
  } catch (const Error& error) {
    oracle_.fail(fmt::format("an error though nothing goes wrong: {}", error.what()));
  }
  oracle_.check_volume();
}

void HostsHistory::serve_calmly(Machine& machine) {
  start(machine, true);
  if (machine.server == nullptr && machine.decision) start(machine, true);
  if (machine.server == nullptr) {
    oracle_.fail("a host cannot serve the volume any more, though nothing goes wrong");
  }
  if (!oracle_.fault().empty()) return;
  for (std::uint64_t page = 0; page < kHostsPages; ++page) read(machine, page);
  write(machine);
  const std::size_t flushes = counts_.flushes;
  flush(machine);
  if (counts_.flushes == flushes && remove_what_came_late(machine)) flush(machine);
  if (counts_.flushes == flushes) oracle_.fail("a flush fails, though nothing goes wrong");
  stop(machine);
}

// A request of a predecessor may make an object where this server knows none, as docs/promises.md
// says. What a client writes there is refused then, and one way out is to remove that object.
bool HostsHistory::remove_what_came_late(const Machine& machine) {
  const std::string before_key = "f fails (";
  const std::string said = done_.substr(done_.rfind(before_key) + before_key.size());
  if (said.find("this server knows no object, and now there is") == std::string::npos) return false;
  const std::string key = said.substr(0, said.find(':'));
  world_.cloud().apply({.key = key, .life = machine.settings.life});
  return true;
}

}  // namespace nbdstack::testing
