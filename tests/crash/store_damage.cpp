// StoreWorkload: files that are damaged, cut, lost, or older than the others.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "tests/crash/store_workload.hpp"

namespace nbdstack::testing {

void StoreWorkload::run_damaged(std::size_t copies) {
  older_ = disk_.copy();
  enough_ = crash_points_ + copies;
  while (crash_points_ < enough_ && fault_.empty()) {
    try {
      step();
      if (pick(20) == 0) older_ = disk_.copy();
      if (pick(3) == 0) judge_damage();
    } catch (const Error& error) {
      fail(fmt::format("an operation failed: {}", error.what()));
    }
  }
}

void StoreWorkload::judge_damage() {
  ++crash_points_;
  SimulatedDisk disk = disk_.copy();
  if (pick(3) == 0) {
    disk_.set_hook({});
    commit();
    store_->confirm();
    disk = disk_.copy();
    disk.crash(random_());
    disk_.set_hook([this](const SimulatedDisk::Operation& operation) { on_operation(operation); });
  }
  const std::string what = damage(disk);
  try {
    std::vector<PageContent> found(kPages);
    judge(disk, Exact::no, &found, Damage::expected);
  } catch (const Error&) {
    ++refused_;
  }
  if (!fault_.empty()) fault_ += " after " + what;
}

// Returns what was done.
std::string StoreWorkload::damage(SimulatedDisk& disk) {
  std::vector<std::string> names = disk.names();
  std::erase_if(names, [&](const std::string& name) { return disk.content(name).empty(); });
  // Most of the others hold pages, which have checksums of their own.
  std::erase_if(names, [&](const std::string& name) {
    return name.starts_with("data") && names.size() > 1 && pick(2) == 0;
  });
  const std::string name = names.at(pick(names.size()));
  std::vector<std::byte> content = disk.content(name);
  const std::size_t at = pick(content.size());
  const std::size_t sector = at / kSector_bytes * kSector_bytes;
  const std::size_t sector_end = std::min(content.size(), sector + kSector_bytes);
  switch (pick(6)) {
    case 0:
      disk.lose(name);
      return name + " was lost";
    case 1:
      content.resize(at);
      disk.replace(name, std::move(content));
      return fmt::format("{} was cut at {}", name, at);
    case 2:
    case 3: {
      const std::byte value = pick(2) == 0 ? std::byte{0} : std::byte{0xff};
      for (std::size_t i = sector; i < sector_end; ++i) content[i] = value;
      disk.replace(name, std::move(content));
      return fmt::format("{} lost a sector at {}", name, sector);
    }
    case 4: {
      const std::vector<std::string> there = older_->names();
      if (std::find(there.begin(), there.end(), name) == there.end()) return "nothing";
      disk.replace(name, older_->content(name));
      return name + " was replaced by an older copy";
    }
    default:
      content[at] ^= std::byte{1} << pick(8);
      disk.replace(name, std::move(content));
      return fmt::format("{} lost a bit at {}", name, at);
  }
}

}  // namespace nbdstack::testing
