// EngineWorkload: crashes, and what is right after one.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "common/error.hpp"
#include "tests/crash/engine_workload.hpp"

namespace nbdstack::testing {

void EngineWorkload::fail(const std::string& what) {
  if (!fault_.empty()) return;
  constexpr std::size_t kMostSaid = 40;
  const std::size_t skipped = doing_.size() - std::min(doing_.size(), kMostSaid);
  const auto first = doing_.begin() + static_cast<std::ptrdiff_t>(skipped);
  fault_ = fmt::format("{}; crash point {} ({}), after: {}", what, crash_points_, crash_,
                       fmt::join(first, doing_.end(), ", "));
}

EngineWorkload::Machine EngineWorkload::copy() const {
  return {.disk = disk_.copy(), .below = below_->content()};
}

void EngineWorkload::judge_crash() {
  if (judging_ || !fault_.empty()) return;
  judging_ = true;
  ++crash_points_;
  constexpr std::array kKinds{Crash::both, Crash::both, Crash::cache, Crash::process};
  const Crash kind = kKinds.at(pick(kKinds.size()));
  judge(copy(), kind, kind == Crash::process ? published_ : durable_, one_in(6));
  judging_ = false;
}

void EngineWorkload::crash(Machine& machine, Crash kind) {
  if (kind != Crash::process) machine.disk.crash(random_());
  if (kind == Crash::both && when_crashed_ == Below::forgets) machine.below.crash(random_());
}

std::optional<EngineWorkload::Content> EngineWorkload::judge(Machine machine, Crash kind,
                                                             const EngineOracle& oracle,
                                                             bool may_stop_again) {
  constexpr std::array kNames{"both", "cache", "process"};
  crash_ = kNames.at(static_cast<std::size_t>(kind));
  crash(machine, kind);
  std::optional<std::uint64_t> stop_after;
  if (may_stop_again) stop_after = pick(24);
  std::optional<Content> found;
  if (recover(machine, oracle, stop_after, found) || !fault_.empty()) return found;
  // It crashed again. What has been read before stays.
  EngineOracle then = oracle;
  for (std::uint64_t page = 0; found && page < kPages; ++page) then.reset(page, (*found)[page]);
  ++crash_points_;
  return judge(std::move(machine), kind, then, false);
}

// False: it stopped at an operation before the end.
bool EngineWorkload::recover(Machine& machine, const EngineOracle& oracle,
                             std::optional<std::uint64_t> stop_after,
                             std::optional<Content>& found) {
  bool stopped = false;
  const auto count = [&] {
    if (!stop_after) return;
    stopped = stopped || (*stop_after)-- == 0;
    if (stopped) throw Error(EIO, "the machine stops here");
  };
  ForgetfulLayer below(traits_, machine.below);
  machine.disk.set_hook([&](const SimulatedDisk::Operation&) { count(); });
  below.set_judge([&](Op op) {
    if (op != Op::pread) count();
    return Fate::works;
  });
  const CacheMode mode = mode_;
  const bool roomy = roomy_;
  try {
    Server server(machine.disk, below, choose_settings(), cipher_);
    found = read_everything(server, oracle);
    if (found) {
      server.cache->write_back_all(below);
      below.flush();
      if (server.cache->has_unwritten()) fail("something is dirty after everything went below");
      compare_below(below, *found);
    }
  } catch (const Error& error) {
    if (!stopped) fail(fmt::format("recovered, but: {}", error.what()));
  }
  mode_ = mode;
  roomy_ = roomy;
  machine.disk.set_hook({});
  machine.below = below.content();
  return !stopped;
}

// In any order, so that what is read evicts what was recovered.
std::optional<EngineWorkload::Content> EngineWorkload::read_everything(Server& server,
                                                                       const EngineOracle& oracle) {
  std::vector<std::uint64_t> order(kPages);
  std::iota(order.begin(), order.end(), 0);
  if (one_in(2)) std::shuffle(order.begin(), order.end(), random_);
  Content found(kPages);
  std::vector<std::byte> bytes(kPage_bytes);
  for (const std::uint64_t page : order) {
    server.layer.pread(bytes, page * kPage_bytes);
    found[page] = EngineOracle::content_of(bytes);
    if (oracle.allows(page, bytes)) continue;
    fail(
        fmt::format("page {} holds what it must not: {}, not {}", page,
                    fmt::format("{}:{}", found[page].front(), found[page].back()),
                    fmt::format("{}:{}", oracle.latest(page).front(), oracle.latest(page).back())));
    return std::nullopt;
  }
  return found;
}

void EngineWorkload::compare_below(const ForgetfulLayer& below, const Content& found) {
  for (std::uint64_t page = 0; page < kPages; ++page) {
    if (holds(below.content().page(page), page, found[page])) continue;
    fail(fmt::format("page {} was read as {}:{}, but is {}:{} below", page, found[page].front(),
                     found[page].back(),
                     EngineOracle::content_of(below.content().page(page)).front(),
                     EngineOracle::content_of(below.content().page(page)).back()));
  }
}

void EngineWorkload::crash_and_restart() {
  remove_hooks();
  Machine machine = copy();
  server_.reset();
  crash(machine, Crash::both);
  Machine judged{.disk = machine.disk.copy(), .below = machine.below};
  begin("crash");
  judging_ = true;
  const auto found = judge(std::move(judged), Crash::process, durable_, false);
  judging_ = false;
  if (!found || !fault_.empty()) return;
  for (std::uint64_t page = 0; page < kPages; ++page) {
    durable_.reset(page, (*found)[page]);
    published_.reset(page, (*found)[page]);
  }
  start(std::move(machine));
}

}  // namespace nbdstack::testing
