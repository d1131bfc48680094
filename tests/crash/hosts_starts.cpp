// How a life begins, what may be found then, and what becomes of a start that is refused.
#include <fmt/format.h>

#include "tests/crash/hosts_history.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kSteps_max = 120;  // of a life that dies by itself

}  // namespace

void HostsHistory::start(Machine& machine, bool is_calm) {
  machine.settings = {.life = ++life_,
                      .flush_to = one_in(2) ? FlushTo::local : FlushTo::below,
                      .cache_blocks = 2 + draw(4),
                      .caches_reads = !one_in(4),
                      .has_cache = !one_in(6),
                      .seed = draw(1U << 30U)};
  if (machine.decision && (is_calm || one_in(2))) machine.settings.stale_dirty = *machine.decision;
  machine.dies_after = !is_calm && one_in(3) ? 1 + draw(kSteps_max) : 0;
  say(machine, fmt::format("[{}{}", life_,
                           !machine.settings.has_cache                   ? " no cache:"
                           : machine.settings.flush_to == FlushTo::local ? " local:"
                                                                         : ":"));
  const bool is_open = open(machine, is_calm);
  world_.machines().at(1 - number(machine))->is_kept_off = false;
  if (!is_open || !open_cache(machine)) {
    if (!machine.is_dead && machine.server != nullptr) machine.server->stop();
    if (machine.is_dead) return;
    machine.server.reset();
    machine.processes.gone.push_back(machine.processes.process);
    ++machine.processes.process.pid;
  }
}

// Where somebody else is said to write who does not, a person may take the lease by force, and
// keeps the other host from starting meanwhile.
bool HostsHistory::open(Machine& machine, bool is_calm) {
  for (unsigned tries = 0; tries < 2; ++tries) {
    machine.server =
        std::make_unique<HostsServer>(HostsServer::Surroundings{.cloud = world_.cloud(),
                                                                .wire = machine,
                                                                .clock = machine,
                                                                .processes = machine.processes,
                                                                .taken_out = taken_out_},
                                      machine.settings);
    try {
      machine.server->open([&] {
        oracle_.taken_over(machine.settings.life);
        say(machine, "owner");
      });
      machine.server->serve();
      ++counts_.lives;
      if (last_owner_ >= 0 && last_owner_ != number(machine)) ++counts_.takeovers;
      last_owner_ = number(machine);
      return true;
    } catch (const Error& error) {
      if (machine.is_dead) return false;
      done_ += fmt::format("no start: {} ", error.code());
      if (is_calm) oracle_.fail(fmt::format("a start fails: {}", error.what()));
      if (error.code() != EBUSY) return false;
      const std::string message = error.what();
      const auto names = [&](const char* words) {
        return message.find(words) != std::string::npos;
      };
      if (names("has a writer") && !names("own=force")) {
        oracle_.fail("refused without a way out: " + message);
      }
    }
    Machine& other = *world_.machines().at(1 - number(machine));
    if (other.server != nullptr || other.is_busy || !one_in(2)) return false;
    machine.server->stop();
    machine.settings.ownership = Ownership::force;
    other.is_kept_off = true;
    done_ += " by force ";
  }
  return false;
}

bool HostsHistory::open_cache(Machine& machine) {
  if (!machine.settings.has_cache) {
    begin(machine, Found::is_new);
    return true;
  }
  machine.directory.disk.set_hook(
      [&machine](const SimulatedDisk::Operation&) { machine.may_die(); });
  const Found found = judge(machine);
  const Memory& memory = machine.directory.memory;
  const bool must_start =
      !memory.is_unsure && memory.is_used && machine.server->term().still_true(memory.term);
  try {
    machine.server->open_cache(machine.directory.disk.directory());
  } catch (const Error& error) {
    if (machine.is_dead || error.code() != ESTALE) {
      done_ += fmt::format("no cache: {} ", error.code());
      Memory& unsure = machine.directory.memory;
      unsure.is_unsure = unsure.is_used;
      unsure.was_forced |= machine.settings.stale_dirty == StaleDirty::force;
      unsure.was_discarded |= machine.settings.stale_dirty == StaleDirty::discard;
      return false;
    }
    if (must_start && machine.settings.stale_dirty == StaleDirty::refuse) {
      oracle_.fail(fmt::format("refused without a reason: {}", error.what()));
    }
    refused(machine, error.what());
    return false;
  }
  begin(machine, found);
  settle(machine);
  machine.decision.reset();
  return true;
}

HostsHistory::Found HostsHistory::judge(const Machine& machine) {
  const Memory& memory = machine.directory.memory;
  if (!memory.is_used) return Found::is_new;
  if (machine.settings.stale_dirty == StaleDirty::force || memory.was_forced) return Found::unsure;
  if (oracle_.changed_by_others(memory.changes, memory.life)) return Found::changed;
  return memory.is_unsure || !machine.server->term().still_true(memory.term) ? Found::unsure
                                                                             : Found::current;
}

// What its client may read from now on.
void HostsHistory::begin(Machine& machine, Found found) {
  const Memory& memory = machine.directory.memory;
  const bool asks = machine.settings.stale_dirty != StaleDirty::refuse;
  const bool was_decided = asks || memory.was_forced || memory.was_discarded;
  if (found != Found::is_new && !was_decided) expect_nothing_dropped(machine);
  for (std::uint64_t page = 0; page < kHostsPages; ++page) {
    PageTruth truth;
    truth.now = oracle_.may_find(page);
    if (found == Found::current) truth.now = memory.pages.at(page).durable;
    if (found == Found::unsure) truth.now.merge(Stamps(memory.pages.at(page).durable));
    const bool shows_memory = found == Found::current || found == Found::unsure;
    truth.is_open = shows_memory && memory.pages.at(page).is_open;
    truth.is_open = truth.is_open || oracle_.may_find(page).size() > 1;
    truth.durable = truth.now;
    machine.truth.at(page) = truth;
    oracle_.may_be_stored(page, truth.now);
  }
}

// What was flushed and never stored is not gone without a word.
void HostsHistory::expect_nothing_dropped(const Machine& machine) {
  const Memory& memory = machine.directory.memory;
  if (judge(machine) != Found::changed) return;
  for (std::uint64_t page = 0; page < kHostsPages; ++page) {
    const Stamps& durable = memory.pages.at(page).durable;
    if (durable.size() == 1 && !oracle_.was_ever_stored(*durable.begin())) {
      oracle_.fail(
          fmt::format("page {} was flushed, never stored, and dropped without a word", page));
    }
  }
}

void HostsHistory::settle(Machine& machine) {
  machine.directory.memory = {.pages = machine.truth,
                              .is_used = true,
                              .term = machine.server->term().term,
                              .life = machine.settings.life,
                              .changes = oracle_.changes()};
}

// The message names ways out, and a person takes one.
void HostsHistory::refused(Machine& machine, const std::string& message) {
  ++counts_.refusals;
  for (const char* way :
       {"nbdstack-cache show", "nbdstack-cache export", "nbdstack-cache discard"}) {
    if (message.find(way) == std::string::npos) {
      oracle_.fail(fmt::format("a refusal does not name {}: {}", way, message));
    }
  }
  machine.decision = one_in(2) ? StaleDirty::discard : StaleDirty::force;
  done_ += "refused ";
}

}  // namespace nbdstack::testing
