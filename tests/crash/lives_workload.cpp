#include "tests/crash/lives_workload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "filters/cache/store/durable/store_directory.hpp"
#include "tests/unit/fakes/cheap_scrypt.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kSize = SharedVolume::kPages * SharedVolume::kPage;
constexpr std::size_t kSteps = 8;
constexpr std::uint64_t kOperations = 40;  // of a directory in a life, about

CacheIdentity wanted() {
  return {.export_name = "", .disk_size_bytes = kSize, .block_size_bytes = SharedVolume::kBlock};
}

}  // namespace

LivesWorkload::Directory LivesWorkload::Directory::copy() const {
  return {
      .disk = disk.copy(), .versions = versions, .term = term, .alone = alone, .unsure = unsure};
}

LivesWorkload::Server::Server(LivesWorkload& lives, Directory& directory, VolumeView& view,
                              StaleDirty policy)
    : watch(std::make_shared<DiskWatch>(view.identity(), true)) {
  const CacheSettings settings{.flush = lives.flush_to_,
                               .block_size = SharedVolume::kBlock,
                               .max_size_bytes = (2 + lives.pick(4)) * SharedVolume::kBlock,
                               .cache_on_read = [] { return true; }};
  const auto make_cache = [&](std::unique_ptr<SlotStore> store) {
    return std::make_shared<BlockCache>(settings, kSize, std::move(store), no_threads, no_threads);
  };
  if (lives.directories_ == Directories::know_their_disk) {
    home = std::make_shared<CacheDirectory>(directory.disk.directory());
    auto cipher = home->unlock(lives.passphrase_, kCheapScrypt);
    TakingOver taking(home, wanted(), view.identity(), policy);
    auto store =
        std::make_unique<DurableStore>(std::make_unique<StoreDirectory>(home), SharedVolume::kBlock,
                                       kSize, Damaged::refuse, std::move(cipher));
    cache = make_cache(taking.prepare(std::move(store), view, lives.random_()));
    taking.record();
  } else {
    cache = make_cache(
        std::make_unique<DurableStore>(directory.disk.directory(), SharedVolume::kBlock, kSize));
    watch = nullptr;
  }
  layer = std::make_unique<CacheLayer>(view, cache, settings, watch);
}

void LivesWorkload::fail(const std::string& what) {
  if (fault_.empty()) fault_ = fmt::format("{}\n  after {}", what, doing_);
}

void LivesWorkload::run(std::size_t lives) {
  for (std::size_t life = 0; life < lives && fault_.empty(); ++life) {
    is_dead_ = false;
    try {
      live();
    } catch (const Error& error) {
      fail(fmt::format("a failure where there must be none: {}", error.what()));
    }
  }
}

void LivesWorkload::live() {
  Host& host = hosts_.at(pick(hosts_.size()));
  if (one_in(6)) restore(host);
  flush_to_ = one_in(4) ? FlushTo::below : FlushTo::local;
  const std::uint64_t choice = pick(10);
  if (choice < 6) return writer(host);
  if (choice < 9) return writer_without_directory();
  reader_beside_a_writer(host);
}

// A copy is of a directory that no server uses.
void LivesWorkload::restore(Host& host) {
  if (host.backup && one_in(2)) {
    doing_ += "restore ";
    host.directory = host.backup->copy();
  } else {
    doing_ += "backup ";
    host.backup = host.directory.copy();
  }
}

void LivesWorkload::writer(Host& host) {
  const WriterTerm term = volume_.take_over();
  doing_ += fmt::format("[host{} {}/{}: ", &host - hosts_.data(), term.term, term.since);
  Directory& directory = host.directory;
  VolumeView view(volume_, term, WriteRight::held);
  const std::uint64_t crash_at = one_in(3) ? 1 + pick(kOperations) : 0;
  std::uint64_t operations = 0;
  directory.disk.set_hook([&, crash_at](const SimulatedDisk::Operation&) {
    if (++operations == crash_at) is_dead_ = true;
    if (is_dead_) throw Error(EIO, "the machine has crashed");
  });
  auto server = decide(directory, view);
  if (server != nullptr) work(*server, directory, view);
  if (view.was_late()) fail("a disk that was lost was written");
  const bool is_ours = view.identity()->right == WriteRight::held;
  const bool crashes = is_dead_ || one_in(3);
  if (server != nullptr && !crashes) stop(std::move(server), directory, view);
  if (crashes || is_dead_) crash(std::move(server), directory);
  directory.disk.set_hook({});
  if (is_ours && !crashes && !is_dead_) volume_.give_back(view.has_changed());
  doing_ += "] ";
}

void LivesWorkload::writer_without_directory() {
  VolumeView view(volume_, volume_.take_over(), WriteRight::held);
  doing_ += "[direct: ";
  write_directly(view);
  end_directly(view);
  doing_ += "] ";
}

void LivesWorkload::write_directly(VolumeView& view) {
  for (std::uint64_t count = pick(3); count > 0; --count) {
    const std::uint64_t page = pick(kPages);
    doing_ += fmt::format("w{} ", page);
    view.pwrite(page_of(++stamp_), page * SharedVolume::kPage, Durability::on_flush);
  }
}

void LivesWorkload::end_directly(const VolumeView& view) {
  if (!one_in(3)) volume_.give_back(view.has_changed());
}

void LivesWorkload::reader_beside_a_writer(Host& host) {
  VolumeView writer(volume_, volume_.take_over(), WriteRight::held);
  VolumeView reader(volume_, volume_.term(), WriteRight::none);
  doing_ += fmt::format("[reader{}: ", &host - hosts_.data());
  auto server = start(host.directory, reader);
  write_directly(writer);
  if (server != nullptr) {
    server->cache->close();
    settle(host.directory, volume_.term(), false);
  }
  end_directly(writer);
  doing_ += "] ";
}

std::unique_ptr<LivesWorkload::Server> LivesWorkload::start(Directory& directory,
                                                            VolumeView& view) {
  const DiskIdentity told = *view.identity();
  const bool is_writer = told.right == WriteRight::held;
  const bool is_current =
      is_writer ? told.term->still_true(directory.term) : told.term->term == directory.term;
  const bool still_true = directory.term == 0 || (is_current && directory.alone);
  const Found found = directory.unsure ? Found::unsure
                      : still_true     ? Found::true_still
                                       : Found::doubtful;
  const std::size_t changes = volume_.changes();
  std::unique_ptr<Server> server;
  try {
    server = std::make_unique<Server>(*this, directory, view, StaleDirty::refuse);
  } catch (const Error& error) {
    doing_ += "refused ";
    ++refusals_;
    if (!is_dead_ && found == Found::true_still)
      fail(fmt::format("refused without a reason: {}", error.what()));
    return nullptr;
  }
  if (found == Found::doubtful) expect_nothing_dropped(directory);
  look(*server, directory, found);
  if (found == Found::doubtful && is_writer && !is_dead_) {
    server->cache->background().step(view, {});
    if (volume_.changes() != changes) fail("the volume has changed without anybody's doing");
  }
  return server;
}

// Where it is refused, a person decides.
std::unique_ptr<LivesWorkload::Server> LivesWorkload::decide(Directory& directory,
                                                             VolumeView& view) {
  auto server = start(directory, view);
  if (server == nullptr && !is_dead_ && fault_.empty() && one_in(2)) {
    const bool discards = one_in(2);
    doing_ += discards ? "discard " : "force ";
    for (std::uint64_t page = 0; page < kPages; ++page) {
      directory.versions.at(page).push_back(volume_.stamp(page));
    }
    try {
      server = std::make_unique<Server>(*this, directory, view,
                                        discards ? StaleDirty::discard : StaleDirty::force);
      look(*server, directory, discards ? Found::doubtful : Found::true_still);
    } catch (const Error& error) {
      if (!is_dead_) fail(fmt::format("refused all the same: {}", error.what()));
      server = nullptr;
    }
  }
  if (is_dead_) {
    directory.unsure = directory.term != 0;
  } else if (server != nullptr) {
    settle(directory, *view.identity()->term, true);
  }
  return server;
}

void LivesWorkload::settle(Directory& directory, const WriterTerm& term, bool alone) {
  directory.term = term.term;
  directory.alone = alone;
  directory.unsure = false;
}

// What was flushed and never stored is not gone without a word.
void LivesWorkload::expect_nothing_dropped(const Directory& directory) {
  for (std::uint64_t page = 0; page < kPages; ++page) {
    const auto& versions = directory.versions.at(page);
    if (versions.size() == 1 && !volume_.was_stored(versions[0]) && !is_dead_) {
      fail(fmt::format("page {} was flushed, never stored, and dropped in silence", page));
    }
  }
}

// Everything is read: what is found is what is there from now on.
void LivesWorkload::look(Server& server, Directory& directory, Found found) {
  const bool is_new = directory.term == 0;
  Versions found_now;
  for (std::uint64_t page = 0; page < kPages && !is_dead_; ++page) {
    std::vector<std::byte> bytes(SharedVolume::kPage);
    server.layer->pread(bytes, page * SharedVolume::kPage);
    const std::uint64_t stamp = stamp_of(bytes);
    const auto& versions = directory.versions.at(page);
    const std::uint64_t below = volume_.stamp(page);
    const bool is_version = std::find(versions.begin(), versions.end(), stamp) != versions.end();
    const bool right = is_new || found == Found::doubtful ? stamp == below
                       : found == Found::unsure           ? is_version || stamp == below
                                                          : is_version;
    if (!right) {
      fail(fmt::format("page {} is {:x} at the start of a life; the volume holds {:x}, it was {:x}",
                       page, stamp, below, versions.empty() ? 0 : versions.back()));
    }
    found_now.at(page) = {stamp};
  }
  if (!is_dead_) directory.versions = found_now;
}

void LivesWorkload::work(Server& server, Directory& directory, VolumeView& view) {
  for (std::uint64_t steps = pick(kSteps); steps > 0 && !is_dead_ && fault_.empty(); --steps) {
    if (one_in(12)) return taken_over(server, view);
    step(server, directory, view);
  }
}

void LivesWorkload::step(Server& server, Directory& directory, VolumeView& view) {
  const std::uint64_t page = pick(kPages);
  const std::uint64_t offset = page * SharedVolume::kPage;
  auto& versions = directory.versions.at(page);
  const std::uint64_t choice = pick(10);
  try {
    if (choice < 4) {
      doing_ += fmt::format("w{} ", page);
      versions.push_back(++stamp_);
      server.layer->pwrite(page_of(stamp_), offset, Durability::on_flush);
    } else if (choice < 5) {
      doing_ += fmt::format("z{} ", page);
      versions.push_back(0);
      server.layer->zero(SharedVolume::kPage, offset, {});
    } else if (choice < 7) {
      std::vector<std::byte> bytes(SharedVolume::kPage);
      server.layer->pread(bytes, offset);
      if (stamp_of(bytes) != versions.back()) {
        fail(fmt::format("page {} is {:x} and was written as {:x}", page, stamp_of(bytes),
                         versions.back()));
      }
    } else if (choice < 9) {
      doing_ += "f ";
      server.layer->flush();
      for (auto& each : directory.versions) each = {each.back()};
    } else {
      doing_ += "b ";
      server.cache->background().step(view, {});
    }
  } catch (const Error& error) {
    if (!is_dead_) fail(fmt::format("a request failed: {}", error.what()));
  }
}

void LivesWorkload::taken_over(Server& server, VolumeView& view) {
  doing_ += "taken-over ";
  VolumeView winner(volume_, volume_.take_over(), WriteRight::held);
  view.set_right(WriteRight::lost);
  write_directly(winner);
  const std::size_t changes = volume_.changes();
  const auto expect_failure = [&](const char* what, const std::function<void()>& request) {
    try {
      request();
      fail(fmt::format("a {} succeeded after the volume was lost", what));
    } catch (const Error&) {
    }
  };
  std::vector<std::byte> page = page_of(++stamp_);
  expect_failure("write", [&] { server.layer->pwrite(page, 0, Durability::on_flush); });
  expect_failure("read", [&] { server.layer->pread(page, 0); });
  expect_failure("flush", [&] { server.layer->flush(); });
  if (volume_.changes() != changes) fail("a server that was taken over has changed the volume");
  end_directly(winner);
}

// As a server that stops: what is dirty is written back where that is ours to do.
void LivesWorkload::stop(std::unique_ptr<Server> server, Directory& directory, VolumeView& view) {
  doing_ += "stop ";
  try {
    server->layer->finalize();
    const bool may = server->watch == nullptr || server->watch->may_write_back(view);
    if (may) server->cache->write_back_all(view);
    server->cache->close();
    for (auto& each : directory.versions) each = {each.back()};
  } catch (const Error& error) {
    if (!is_dead_) fail(fmt::format("a stop failed: {}", error.what()));
  }
}

void LivesWorkload::crash(std::unique_ptr<Server> server, Directory& directory) {
  is_dead_ = true;  // what the end of the server would still do to its directory
  server.reset();
  if (one_in(4)) {
    doing_ += "kill ";
  } else {
    doing_ += "crash ";
    directory.disk.crash(random_());
  }
}

}  // namespace nbdstack::testing
