#include "tests/unit/fakes/simulated_disk.hpp"

#include <algorithm>
#include <cstring>
#include <random>

#include "common/error.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::size_t kTornAt_bytes = 512;
using Sector = std::array<std::byte, kTornAt_bytes>;

// A sector's content, or a size, since operation number `when`.
template <typename Value>
struct Version {
  std::uint64_t when;
  Value value;
};

struct Inode {
  std::vector<std::byte> durable;
  std::vector<std::byte> current;
  std::map<std::uint64_t, std::vector<Version<Sector>>> sectors;  // not synced; by number
  std::vector<Version<std::size_t>> sizes;                        // not synced
};

using Names = std::map<std::string, std::shared_ptr<Inode>>;

struct NameChange {
  std::uint64_t when;
  std::string removed;  // may be empty
  std::string added;    // may be empty
  std::shared_ptr<Inode> inode;
};

void perform(const NameChange& change, Names& names) {
  if (!change.removed.empty()) names.erase(change.removed);
  if (!change.added.empty()) names[change.added] = change.inode;
}

// Which unsynced operations survive.
class Survival {
 public:
  Survival(std::uint64_t seed, std::uint64_t operations) : random_(seed) {
    constexpr unsigned kWays = 5;
    constexpr std::uint64_t kLatest = 24;
    way_ = static_cast<unsigned>(random_() % kWays);
    last_ = operations - std::min<std::uint64_t>(operations, random_() % kLatest);
  }
  bool survives(std::uint64_t when) {
    switch (way_) {
      case 0:
        return false;
      case 1:
        return true;
      case 2:  // in order, the last one in part
        return when < last_ || (when == last_ && random_() % 2 == 0);
      case 3:
        return random_() % 2 == 0;
      default:
        return random_() % 8 != 0;
    }
  }

 private:
  std::mt19937_64 random_;
  unsigned way_ = 0;
  std::uint64_t last_ = 0;
};

void crash_inode(Inode& inode, Survival& survival) {
  std::size_t size = inode.durable.size();
  for (const auto& version : inode.sizes) {
    if (survival.survives(version.when)) size = version.value;
  }
  inode.durable.resize(std::max(size, inode.current.size()));
  for (const auto& [number, versions] : inode.sectors) {
    for (const auto& version : versions) {
      if (!survival.survives(version.when)) continue;
      const std::size_t at = number * kTornAt_bytes;
      std::memcpy(&inode.durable[at], version.value.data(),
                  std::min(kTornAt_bytes, inode.durable.size() - at));
    }
  }
  inode.durable.resize(size);
  inode.current = inode.durable;
  inode.sectors.clear();
  inode.sizes.clear();
}

}  // namespace

struct SimulatedDisk::State {
  mutable std::mutex mutex;  // protects everything below
  Names durable;
  Names current;
  std::vector<NameChange> changes;  // not synced
  std::uint64_t operations = 0;
  Hook hook;

  void announce(Kind kind, const std::string& name) {
    std::unique_lock lock(mutex);
    const Hook called = hook;
    lock.unlock();
    if (called) called({kind, name});
  }
  void change_names(NameChange change) {
    change.when = ++operations;
    perform(change, current);
    changes.push_back(std::move(change));
  }
  void store(Inode& inode, std::span<const std::byte> bytes, std::uint64_t offset) {
    const std::uint64_t when = ++operations;
    const std::uint64_t end = offset + bytes.size();
    if (end > inode.current.size()) {
      inode.current.resize(end);
      inode.sizes.push_back({when, end});
    }
    std::memcpy(&inode.current[offset], bytes.data(), bytes.size());
    for (std::uint64_t at = offset / kTornAt_bytes; at * kTornAt_bytes < end; ++at) {
      Sector sector{};
      const std::size_t begin = at * kTornAt_bytes;
      std::memcpy(sector.data(), &inode.current[begin],
                  std::min(kTornAt_bytes, inode.current.size() - begin));
      inode.sectors[at].push_back({when, sector});
    }
  }
};

class SimulatedDisk::FileHandle final : public StorageFile {
 public:
  FileHandle(std::shared_ptr<State> state, std::shared_ptr<Inode> inode, std::string name)
      : state_(std::move(state)), inode_(std::move(inode)), name_(std::move(name)) {}

  [[nodiscard]] const std::string& path() const override { return name_; }
  [[nodiscard]] std::uint64_t size_bytes() const override {
    const std::lock_guard lock(state_->mutex);
    return inode_->current.size();
  }
  void read_at(std::span<std::byte> buffer, std::uint64_t offset) const override {
    const std::lock_guard lock(state_->mutex);
    if (offset + buffer.size() > inode_->current.size()) {
      throw Error(EIO, name_ + " ends before what is read");
    }
    if (!buffer.empty()) std::memcpy(buffer.data(), &inode_->current[offset], buffer.size());
  }
  void write_at(std::span<const std::byte> buffer, std::uint64_t offset) override {
    if (buffer.empty()) return;
    state_->announce(Kind::write, name_);
    const std::lock_guard lock(state_->mutex);
    state_->store(*inode_, buffer, offset);
  }
  void punch_hole(std::uint64_t length, std::uint64_t offset) override {
    state_->announce(Kind::punch, name_);
    const std::lock_guard lock(state_->mutex);
    const std::uint64_t end = std::min<std::uint64_t>(offset + length, inode_->current.size());
    if (offset >= end) return;
    state_->store(*inode_, std::vector<std::byte>(end - offset), offset);
  }
  void sync_data() override {
    state_->announce(Kind::sync, name_);
    const std::lock_guard lock(state_->mutex);
    inode_->durable.resize(inode_->current.size());
    for (const auto& [number, versions] : inode_->sectors) {
      const std::size_t at = number * kTornAt_bytes;
      std::memcpy(&inode_->durable[at], &inode_->current[at],
                  std::min(kTornAt_bytes, inode_->current.size() - at));
    }
    inode_->sectors.clear();
    inode_->sizes.clear();
  }

 private:
  std::shared_ptr<State> state_;
  std::shared_ptr<Inode> inode_;
  std::string name_;
};

class SimulatedDisk::Handle final : public Directory {
 public:
  explicit Handle(std::shared_ptr<State> state) : state_(std::move(state)) {}

  [[nodiscard]] const std::string& path() const override { return path_; }
  [[nodiscard]] std::vector<std::string> names() const override {
    const std::lock_guard lock(state_->mutex);
    std::vector<std::string> names;
    for (const auto& [name, inode] : state_->current) names.push_back(name);
    return names;
  }
  [[nodiscard]] std::unique_ptr<StorageFile> open(const std::string& name) override {
    std::unique_lock lock(state_->mutex);
    if (!state_->current.contains(name)) {
      lock.unlock();
      state_->announce(Kind::create, name);
      lock.lock();
      state_->change_names({.when = 0, .added = name, .inode = std::make_shared<Inode>()});
    }
    return std::make_unique<FileHandle>(state_, state_->current.at(name), name);
  }
  void rename(const std::string& from, const std::string& to) override {
    state_->announce(Kind::rename, to);
    const std::lock_guard lock(state_->mutex);
    state_->change_names(
        {.when = 0, .removed = from, .added = to, .inode = state_->current.at(from)});
  }
  void remove(const std::string& name) override {
    std::unique_lock lock(state_->mutex);
    if (!state_->current.contains(name)) return;
    lock.unlock();
    state_->announce(Kind::remove, name);
    lock.lock();
    state_->change_names({.when = 0, .removed = name});
  }
  void sync() override {
    state_->announce(Kind::sync_directory, path_);
    const std::lock_guard lock(state_->mutex);
    state_->durable = state_->current;
    state_->changes.clear();
  }

 private:
  std::shared_ptr<State> state_;
  std::string path_ = "/simulated";
};

SimulatedDisk::SimulatedDisk() : state_(std::make_shared<State>()) {}
SimulatedDisk::~SimulatedDisk() = default;
SimulatedDisk::SimulatedDisk(SimulatedDisk&&) noexcept = default;
SimulatedDisk& SimulatedDisk::operator=(SimulatedDisk&&) noexcept = default;

std::unique_ptr<Directory> SimulatedDisk::directory() const {
  return std::make_unique<Handle>(state_);
}

void SimulatedDisk::set_hook(Hook hook) {
  const std::lock_guard lock(state_->mutex);
  state_->hook = std::move(hook);
}

SimulatedDisk SimulatedDisk::copy() const {
  const std::lock_guard lock(state_->mutex);
  SimulatedDisk result;
  std::map<Inode*, std::shared_ptr<Inode>> copies;
  const auto copied = [&](const std::shared_ptr<Inode>& inode) -> std::shared_ptr<Inode> {
    if (inode == nullptr) return nullptr;
    auto& copy = copies[inode.get()];
    if (copy == nullptr) copy = std::make_shared<Inode>(*inode);
    return copy;
  };
  for (const auto& [name, inode] : state_->durable) result.state_->durable[name] = copied(inode);
  for (const auto& [name, inode] : state_->current) result.state_->current[name] = copied(inode);
  for (NameChange change : state_->changes) {
    change.inode = copied(change.inode);
    result.state_->changes.push_back(std::move(change));
  }
  result.state_->operations = state_->operations;
  return result;
}

void SimulatedDisk::crash(std::uint64_t seed) {
  const std::lock_guard lock(state_->mutex);
  Survival survival(seed, state_->operations);
  for (const NameChange& change : state_->changes) {
    if (survival.survives(change.when)) perform(change, state_->durable);
  }
  state_->changes.clear();
  state_->current = state_->durable;
  for (const auto& [name, inode] : state_->current) crash_inode(*inode, survival);
}

void SimulatedDisk::overwrite(const std::string& name, std::uint64_t offset, std::byte value) {
  const std::lock_guard lock(state_->mutex);
  Inode& inode = *state_->current.at(name);
  inode.current.at(offset) = value;
  inode.durable.resize(std::max(inode.durable.size(), inode.current.size()));
  inode.durable.at(offset) = value;
}

void SimulatedDisk::replace(const std::string& name, std::vector<std::byte> content) {
  const std::lock_guard lock(state_->mutex);
  auto inode = std::make_shared<Inode>();
  inode->durable = content;
  inode->current = std::move(content);
  state_->durable[name] = inode;
  state_->current[name] = std::move(inode);
}

void SimulatedDisk::lose(const std::string& name) {
  const std::lock_guard lock(state_->mutex);
  state_->durable.erase(name);
  state_->current.erase(name);
}

std::vector<std::byte> SimulatedDisk::content(const std::string& name) const {
  const std::lock_guard lock(state_->mutex);
  return state_->current.at(name)->current;
}

std::vector<std::string> SimulatedDisk::names() const {
  return directory()->names();
}

}  // namespace nbdstack::testing
