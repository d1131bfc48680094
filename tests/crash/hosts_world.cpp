#include "tests/crash/hosts_world.hpp"

namespace nbdstack::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kStep = milliseconds(500);
constexpr std::uint64_t kTurnsOfOthers = 6;  // one in so many steps

}  // namespace

Machine::Machine(World& world, int number, double rate, Duration ahead)
    : processes("host" + std::to_string(number), 1), world_(world), rate_(rate), ahead_(ahead) {}

void Machine::may_die() {
  if (dies_after != 0 && --dies_after == 0) is_dead = true;
  if (is_dead) throw Error(EIO, "the machine has died");
}

void Machine::touch() {
  may_die();
  world_.pass(milliseconds(1));
}

// Now and then it is suspended meanwhile.
void Machine::pass(Duration duration) {
  if (world_.one_in(12)) {
    duration += seconds(world_.draw(90));
    frozen_until = std::max(frozen_until, world_.now() + duration);
  }
  world_.pass(duration);
}

TimePoint Machine::now() const {
  const auto passed = std::chrono::duration<double>(world_.now().time_since_epoch());
  return TimePoint(ahead_ + std::chrono::duration_cast<Duration>(passed * rate_));
}

void Machine::sleep_for(Duration duration) {
  const TimePoint until = now() + duration;
  while (now() < until) {
    if (is_dead) throw Error(EIO, "the machine has died");
    world_.pass(std::min<Duration>(until - now() + milliseconds(1), kStep));
  }
}

bool Machine::is_awake() const {
  return !is_dead && frozen_until <= world_.now();
}

World::World(std::uint64_t seed, const CloudManners& manners)
    : cloud_(clock_, manners, seed), oracle_(cloud_) {
  for (int i = 0; i < 2; ++i) {
    machines_.at(i) = std::make_unique<Machine>(
        *this, i, 0.99 + 0.01 * static_cast<double>(draw(3)), seconds(draw(1'000'000)));
  }
  cloud_.on_block_change([this](const Cloud::Change& change, bool is_harmless) {
    oracle_.block_changed(change, is_harmless, [this](std::uint64_t page, std::uint64_t stamp) {
      allow_everywhere(page, stamp);
    });
  });
}

void World::allow_everywhere(std::uint64_t page, std::uint64_t stamp) {
  const auto allow = [&](Truth& truth) {
    truth.at(page).attempt(stamp);
    truth.at(page).is_open = true;
  };
  for (const auto& machine : machines_) {
    allow(machine->truth);
    allow(machine->directory.memory.pages);
    if (machine->backup) allow(machine->backup->memory.pages);
  }
}

void World::pass(Duration duration) {
  const TimePoint until = clock_.now() + duration;
  while (clock_.now() < until) {
    const Duration step = std::min<Duration>(until - clock_.now(), kStep);
    clock_.advance(step);
    cloud_.deliver_due();
    for (const auto& machine : machines_) tend(*machine);
    if (step < kStep || !one_in(kTurnsOfOthers)) continue;
    Machine& other = *machines_.at(draw(machines_.size()));
    if (!other.is_busy && !other.is_tending && other.is_awake()) turn_(other);
  }
}

// Its thread looks once a second, also while a request waits.
void World::tend(Machine& machine) {
  if (machine.server == nullptr || machine.is_tending || !machine.is_awake()) return;
  if (clock_.now() < machine.next_tending) return;
  machine.next_tending = clock_.now() + seconds(1);
  machine.is_tending = true;
  try {
    machine.server->tend();
  } catch (const Error& error) {
    if (!machine.is_dead) oracle_.fail(std::string("a lease was not tended: ") + error.what());
  }
  machine.is_tending = false;
}

}  // namespace nbdstack::testing
