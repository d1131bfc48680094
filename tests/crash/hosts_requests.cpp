// Requests of clients, and what their outcome says.
#include <fmt/format.h>

#include "tests/crash/hosts_history.hpp"
#include "tests/crash/shared_volume.hpp"

namespace nbdstack::testing {

// Whether it has succeeded, by who owned the volume all the time. Of who had lost it before,
// nothing may.
template <typename Body>
bool HostsHistory::attempt(Machine& machine, const std::string& what, const Body& body) {
  const bool was_lost = !is_owner(machine);
  if (was_lost) ++counts_.lost;
  say(machine, what);
  try {
    machine.may_die();
    body();
    machine.may_die();
  } catch (const Error& error) {
    done_ += machine.is_dead ? "dies "
             : was_lost      ? "fails "
                             : fmt::format("fails ({}) ", error.what());
    return false;
  }
  if (was_lost) oracle_.fail(fmt::format("{} has succeeded after the volume was lost", what));
  return is_owner(machine);
}

void HostsHistory::change(Machine& machine, std::uint64_t page, std::uint64_t stamp) {
  machine.truth.at(page).attempt(stamp);
  if (is_owner(machine)) oracle_.may_be_stored(page, {stamp});
}

void HostsHistory::write(Machine& machine) {
  const std::uint64_t first = draw(kHostsPages);
  const std::uint64_t count = one_in(3) ? 1 + draw(kHostsPages - first) : 1;
  std::vector<std::byte> data;
  const std::uint64_t stamp = ++stamp_;
  for (std::uint64_t page = first; page < first + count; ++page) {
    change(machine, page, stamp);
    const auto bytes = page_of(stamp);
    data.insert(data.end(), bytes.begin(), bytes.end());
  }
  const bool done = attempt(machine, fmt::format("w{}+{}={:x}", first, count, stamp), [&] {
    machine.server->client().pwrite(data, first * kHostsPage, Durability::on_flush);
  });
  for (std::uint64_t page = first; page < first + count; ++page) {
    done ? machine.truth.at(page).acknowledged(stamp) : machine.truth.at(page).failed();
  }
}

void HostsHistory::zero(Machine& machine) {
  const std::uint64_t first = draw(kHostsPages);
  const std::uint64_t count = 1 + draw(kHostsPages - first);
  for (std::uint64_t page = first; page < first + count; ++page) change(machine, page, 0);
  const bool done = attempt(machine, fmt::format("z{}+{}", first, count), [&] {
    machine.server->client().zero(count * kHostsPage, first * kHostsPage, {.may_trim = one_in(2)});
  });
  for (std::uint64_t page = first; page < first + count; ++page) {
    done ? machine.truth.at(page).acknowledged(0) : machine.truth.at(page).failed();
  }
}

// What was trimmed is zeros or what it was, and which of them may change until it is written again.
void HostsHistory::trim(Machine& machine) {
  const std::uint64_t first = draw(kHostsPages);
  const std::uint64_t count = 1 + draw(kHostsPages - first);
  for (std::uint64_t page = first; page < first + count; ++page) {
    change(machine, page, 0);
    machine.truth.at(page).failed();
  }
  attempt(machine, fmt::format("t{}+{}", first, count), [&] {
    machine.server->client().trim(count * kHostsPage, first * kHostsPage, Durability::on_flush);
  });
}

// A volume without a cache is read as it is, whoever owns it.
bool HostsHistory::reads_the_store(const Machine& machine) {
  return !machine.settings.has_cache && !is_owner(machine);
}

void HostsHistory::read(Machine& machine, std::uint64_t page) {
  if (reads_the_store(machine)) return;
  std::vector<std::byte> bytes(kHostsPage);
  if (!attempt(machine, fmt::format("r{}", page),
               [&] { machine.server->client().pread(bytes, page * kHostsPage); })) {
    return;
  }
  const std::uint64_t stamp = stamp_of(bytes);
  PageTruth& truth = machine.truth.at(page);
  if (!truth.now.contains(stamp)) {
    oracle_.fail(fmt::format("page {} is read as {:x}, which may be {:x}; the volume holds {:x}",
                             page, stamp, fmt::join(truth.now, " or "), oracle_.stored(page)));
  }
  truth.seen(stamp);
}

void HostsHistory::look_for_holes(Machine& machine) {
  if (reads_the_store(machine)) return;
  ExtentList extents;
  if (!attempt(machine, "e",
               [&] { machine.server->client().extents(kHostsSize, 0, false, extents); })) {
    return;
  }
  for (const Extent& extent : extents.all()) {
    if (extent.type != kHole) continue;
    for (std::uint64_t at = extent.range.offset; at < extent.range.end(); at += kHostsPage) {
      if (machine.truth.at(at / kHostsPage).now.contains(0)) continue;
      oracle_.fail(fmt::format("page {} is shown as a hole, and is {:x}", at / kHostsPage,
                               fmt::join(machine.truth.at(at / kHostsPage).now, " or ")));
    }
  }
}

void HostsHistory::flush(Machine& machine) {
  bool has_succeeded = false;
  const bool done = attempt(machine, "f", [&] {
    machine.server->client().flush();
    has_succeeded = true;
  });
  if (has_succeeded && !is_owner(machine)) {
    oracle_.fail("a flush has succeeded while the volume was lost");
  }
  if (!done) return;
  ++counts_.flushes;
  for (PageTruth& page : machine.truth) page.flushed();
  const bool stores = !machine.settings.has_cache || machine.settings.flush_to == FlushTo::below;
  if (stores) oracle_.must_be_stored(machine.truth);
}

}  // namespace nbdstack::testing
