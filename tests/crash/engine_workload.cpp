// EngineWorkload: the client, and what the layer below does to it.
#include "tests/crash/engine_workload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "filters/cache/store/durable/durable_store.hpp"
#include "tests/unit/fakes/seeded_cipher.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kShortestJournal_bytes = 3000;

std::unique_ptr<DurableStore> store_on(const SimulatedDisk& disk, std::uint32_t block_size,
                                       std::uint64_t size_bytes,
                                       std::shared_ptr<const UnitCipher> cipher) {
  auto store = std::make_unique<DurableStore>(disk.directory(), block_size, size_bytes,
                                              Damaged::refuse, std::move(cipher));
  store->set_shortest_journal_bytes(kShortestJournal_bytes);
  return store;
}

}  // namespace

std::string EngineWorkload::Sectors::text(const char* verb, Durability durability) const {
  return fmt::format("{} {}:{}-{}:{}{}", verb, first / kSectors, first % kSectors, end() / kSectors,
                     end() % kSectors, durability == Durability::fua ? " fua" : "");
}

EngineWorkload::Server::Server(const SimulatedDisk& disk, Layer& below,
                               const CacheSettings& settings,
                               std::shared_ptr<const UnitCipher> cipher)
    : cache(std::make_shared<BlockCache>(
          settings, below.traits().size_bytes,
          store_on(disk, settings.block_size, below.traits().size_bytes, std::move(cipher)),
          no_threads, no_threads)),
      layer(below, cache, settings) {}

EngineWorkload::EngineWorkload(std::uint64_t seed, Below below)
    : random_(seed), cipher_(seeded_cipher(seed)), when_crashed_(below), traits_(choose_traits()) {
  if (one_in(2)) flush_to_ = FlushTo::local;
  Machine machine{.disk = {}, .below = FlushedContent(kPages)};
  std::vector<std::byte> bytes(kPage_bytes);
  for (std::uint64_t page = 0; page < kPages; ++page) {
    PageContent content;
    content.fill(++stamp_);
    fill(bytes, page, content);
    machine.below.write(bytes, page * kPage_bytes, Durability::fua);
    durable_.reset(page, content);
    published_.reset(page, content);
  }
  start(std::move(machine));
}

EngineWorkload::~EngineWorkload() {
  remove_hooks();
}

LayerTraits EngineWorkload::choose_traits() {
  constexpr std::array kSupport{Support::none, Support::emulated, Support::native, Support::native};
  LayerTraits traits;
  traits.size_bytes = kPages * kPage_bytes;
  traits.can_write = traits.can_flush = traits.can_trim = true;
  traits.can_multi_conn = one_in(2);
  traits.zero = kSupport.at(pick(kSupport.size()));
  traits.fua = kSupport.at(pick(kSupport.size()));
  if (one_in(3)) {
    traits.minimum_block_size = kSector_bytes;
    traits.preferred_block_size = 2 * kBlock_bytes;
    traits.maximum_block_size = 1U << 20U;
  }
  return traits;
}

CacheSettings EngineWorkload::choose_settings() {
  CacheSettings settings{.block_size = kBlock_bytes};
  mode_ = flush_to_ == FlushTo::below && one_in(4) ? CacheMode::writethrough : CacheMode::writeback;
  settings.mode = mode_;
  settings.flush = flush_to_;
  settings.max_size_bytes = (1 + pick(kMostSlots)) * kBlock_bytes;
  roomy_ = one_in(3);
  if (roomy_) settings.max_size_bytes = 4 * kBlocks * kBlock_bytes;
  if (!roomy_ && one_in(3)) settings.max_dirty_bytes = (1 + pick(kMostSlots)) * kBlock_bytes;
  if (one_in(2)) settings.write_delay = std::chrono::seconds(4);
  if (one_in(3)) settings.timeout = std::chrono::seconds(8);
  if (one_in(2)) settings.policy = CachePolicy::s3fifo;
  const bool cache_on_read = !one_in(3);
  settings.cache_on_read = [cache_on_read] { return cache_on_read; };
  return settings;
}

void EngineWorkload::start(Machine machine) {
  disk_ = std::move(machine.disk);
  below_ = std::make_unique<ForgetfulLayer>(traits_, std::move(machine.below));
  install_hooks();
  start_server();
}

void EngineWorkload::start_server() {
  const CacheSettings settings = choose_settings();
  begin(fmt::format(
      "start {} flush={} slots={}", mode_ == CacheMode::writethrough ? "writethrough" : "writeback",
      flush_to_ == FlushTo::local ? "local" : "below", settings.max_size_bytes / kBlock_bytes));
  server_ = std::make_unique<Server>(disk_, *below_, settings, cipher_);
}

void EngineWorkload::install_hooks() {
  disk_.set_hook([this](const SimulatedDisk::Operation&) { judge_crash(); });
  below_->set_judge([this](Op op) { return fate_below(op); });
}

void EngineWorkload::remove_hooks() {
  disk_.set_hook({});
  below_->set_judge([](Op) { return Fate::works; });
}

EngineWorkload::Fate EngineWorkload::fate_below(Op op) {
  const bool is_change = op == Op::pwrite || op == Op::zero || op == Op::trim;
  if (is_change || op == Op::flush) judge_crash();
  if (op == Op::pwrite && one_in(2)) write_beside();
  Fate fate = Fate::works;
  switch (outage_) {
    case Outage::none:
      break;
    case Outage::everything:
      fate = Fate::refused;
      break;
    case Outage::changes:
      if (is_change) fate = one_in(4) ? Fate::half_done : Fate::refused;
      break;
    case Outage::flushes:
      if (op == Op::flush) fate = Fate::refused;
      break;
    case Outage::now_and_then:
      if (one_in(3)) fate = one_in(2) ? Fate::half_done : Fate::refused;
      break;
  }
  if (fate != Fate::works) {
    ++failures_;
    troubled_ = true;
  }
  return fate;
}

void EngineWorkload::run(std::size_t crash_points) {
  const std::size_t enough = crash_points_ + crash_points;
  while (crash_points_ < enough && fault_.empty()) {
    try {
      step();
    } catch (const Error& error) {
      fail(fmt::format("a failure where there must be none: {}", error.what()));
    }
  }
}

void EngineWorkload::step() {
  if (outage_ != Outage::none && one_in(5)) outage_ = Outage::none;
  if (outage_ == Outage::none && one_in(30)) outage_ = static_cast<Outage>(1 + pick(4));
  const std::uint64_t choice = pick(100);
  if (choice < 38) return write(choose_durability());
  if (choice < 46) return zero();
  if (choice < 52) return trim();
  if (choice < 75) return read();
  if (choice < 85) return flush();
  if (choice < 96) return go_on_in_the_background();
  if (choice < 98) return restart();
  crash_and_restart();
}

// Whole blocks, whole pages, or any sectors, of up to three blocks.
EngineWorkload::Sectors EngineWorkload::choose_sectors() {
  constexpr std::uint64_t kSectorsOfBlock = kSectors * kPagesPerBlock;
  constexpr std::array<std::uint64_t, 3> kUnits{kSectorsOfBlock, kSectors, 1};
  const std::uint64_t unit = kUnits.at(pick(kUnits.size()));
  const std::uint64_t most = (one_in(3) ? 3 : 1) * kSectorsOfBlock / unit;
  const std::uint64_t first = pick((kSectorsOfDisk + unit - 1) / unit) * unit;
  const std::uint64_t count = (1 + pick(most)) * unit;
  return {first, std::min(count, kSectorsOfDisk - first)};
}

// A stamp of 0 makes zeros.
void EngineWorkload::change(const Sectors& sectors, std::uint64_t stamp) {
  for (std::uint64_t page = sectors.pages().first; page < sectors.pages().end; ++page) {
    PageContent content = durable_.latest(page);
    for (std::uint64_t sector = 0; sector < kSectors; ++sector) {
      const std::uint64_t number = page * kSectors + sector;
      if (number >= sectors.first && number < sectors.end()) content.at(sector) = stamp;
    }
    durable_.changed(page, content);
    published_.changed(page, content);
    published_.in_change(page);
  }
}

void EngineWorkload::acknowledge(const Sectors& sectors, Durability durability) {
  published_.keep();
  if (durability == Durability::fua) durable_.keep(sectors.pages());
}

bool EngineWorkload::attempt(const std::string& what, bool may_fail,
                             const std::function<void()>& body) {
  begin(what);
  const std::size_t failures = failures_;
  try {
    body();
    return true;
  } catch (const Error& error) {
    if (failures_ == failures && !may_fail) {
      fail(fmt::format("{} failed without a reason: {}", what, error.what()));
    }
    end(" (failed)");
    return false;
  }
}

void EngineWorkload::find_out(const PageRun& pages) {
  const Outage outage = std::exchange(outage_, Outage::none);
  begin("find out");
  std::vector<std::byte> bytes(kPage_bytes);
  for (std::uint64_t page = pages.first; page < pages.end; ++page) {
    server_->layer.pread(bytes, page * kPage_bytes);
    if (!published_.allows(page, bytes)) {
      return fail(fmt::format("page {} holds what it must not, after a failed request", page));
    }
    const PageContent found = EngineOracle::content_of(bytes);
    durable_.changed(page, found);
    published_.changed(page, found);
  }
  outage_ = outage;
}

void EngineWorkload::write_beside() {
  const bool may = writing_back_ && !judging_ && roomy_ && outage_ == Outage::none &&
                   mode_ == CacheMode::writeback && fault_.empty();
  if (!may) return;
  writing_back_ = false;
  write(Durability::on_flush);
  writing_back_ = true;
}

void EngineWorkload::write(Durability durability) {
  const Sectors sectors = choose_sectors();
  change(sectors, ++stamp_);
  const PageRun pages = sectors.pages();
  std::vector<std::byte> bytes((pages.end - pages.first) * kPage_bytes);
  for (std::uint64_t page = pages.first; page < pages.end; ++page) {
    fill(std::span(bytes).subspan((page - pages.first) * kPage_bytes, kPage_bytes), page,
         durable_.latest(page));
  }
  const Range range = sectors.range();
  const auto data =
      std::span(bytes).subspan(range.offset - pages.first * kPage_bytes, range.length);
  const bool may_fail = durability == Durability::fua && troubled_;
  if (attempt(sectors.text("write", durability), may_fail,
              [&] { server_->layer.pwrite(data, range.offset, durability); })) {
    acknowledge(sectors, durability);
  } else {
    find_out(pages);
  }
}

void EngineWorkload::zero() {
  if (server_->layer.traits().zero == Support::none) return;
  const Sectors sectors = choose_sectors();
  const ZeroOptions options{
      .may_trim = one_in(2), .fast = false, .durability = choose_durability()};
  change(sectors, 0);
  const Range range = sectors.range();
  const bool may_fail = options.durability == Durability::fua && troubled_;
  if (attempt(sectors.text("zero", options.durability), may_fail,
              [&] { server_->layer.zero(range.length, range.offset, options); })) {
    acknowledge(sectors, options.durability);
  } else {
    find_out(sectors.pages());
  }
}

// Where it goes around the cache nothing is said of the content. Else it makes zeros of the pages
// that it covers.
void EngineWorkload::trim() {
  const Sectors asked = choose_sectors();
  const Durability durability = choose_durability();
  const Range range = asked.range();
  const bool around = mode_ == CacheMode::writethrough || traits_.zero != Support::native;
  const std::uint64_t first = (asked.first + kSectors - 1) / kSectors;
  const std::uint64_t end = asked.end() / kSectors;
  const PageRun whole{first, std::max(first, end)};
  if (around) {
    for (std::uint64_t page = whole.first; page < whole.end; ++page) {
      durable_.unspecified(page);
      published_.unspecified(page);
    }
  }
  const Sectors covered{whole.first * kSectors, (whole.end - whole.first) * kSectors};
  change(covered, 0);
  const bool may_fail = durability == Durability::fua && troubled_;
  const bool done = attempt(asked.text("trim", durability), may_fail,
                            [&] { server_->layer.trim(range.length, range.offset, durability); });
  if (done && !around) return acknowledge(covered, durability);
  find_out(whole);
}

void EngineWorkload::read() {
  const Sectors sectors = choose_sectors();
  const Range range = sectors.range();
  if (one_in(8)) {
    attempt(sectors.text("prefetch"), false,
            [&] { server_->layer.cache(range.length, range.offset); });
    return;
  }
  const PageRun pages = sectors.pages();
  std::vector<std::byte> expected((pages.end - pages.first) * kPage_bytes);
  for (std::uint64_t page = pages.first; page < pages.end; ++page) {
    fill(std::span(expected).subspan((page - pages.first) * kPage_bytes, kPage_bytes), page,
         durable_.latest(page));
  }
  std::vector<std::byte> bytes(range.length);
  if (!attempt(sectors.text("read"), false, [&] { server_->layer.pread(bytes, range.offset); }))
    return;
  const std::size_t skipped = range.offset - pages.first * kPage_bytes;
  if (std::memcmp(bytes.data(), &expected[skipped], bytes.size()) != 0) {
    fail(fmt::format("sectors {} to {} do not hold what was written last", sectors.first,
                     sectors.end()));
  }
}

// A flush may report what happened in the background before. That it says once.
void EngineWorkload::flush() {
  const PageHistory::Moment durable = durable_.now();
  const auto send = [&] {
    writing_back_ = true;
    server_->layer.flush();
  };
  bool done = attempt("flush", troubled_, send);
  if (!done && outage_ == Outage::none) done = attempt("flush again", false, send);
  writing_back_ = false;
  if (!done) return;
  durable_.keep(durable);
  published_.keep();
  troubled_ = false;
}

void EngineWorkload::go_on_in_the_background() {
  now_ += std::chrono::milliseconds(pick(4000));
  begin("background");
  writing_back_ = true;
  server_->cache->background().step(*below_, now_);
  writing_back_ = false;
}

// As a server that stops: the client leaves, and what is dirty is written back as far as possible.
bool EngineWorkload::stop_orderly() {
  attempt("finalize", false, [&] { server_->layer.finalize(); });
  const bool all_below = attempt("the last write-back", false, [&] {
    server_->cache->write_back_all(*below_);
    below_->flush();
  });
  begin("close");
  server_->cache->close();
  published_.keep();
  if (all_below || flush_to_ == FlushTo::local) durable_.keep();
  server_.reset();
  return all_below;
}

void EngineWorkload::restart() {
  if (stop_orderly() && one_in(3)) {
    flush_to_ = flush_to_ == FlushTo::below ? FlushTo::local : FlushTo::below;
  }
  start_server();
}

}  // namespace nbdstack::testing
