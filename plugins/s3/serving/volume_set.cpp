#include "plugins/s3/serving/volume_set.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "common/error.hpp"
#include "common/quoted_name.hpp"
#include "common/sync/worker_pool.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/store/directory/directory_walk.hpp"

namespace nbdstack {
namespace {

std::string below(const std::string& key, const std::string& name) {
  return key.empty() ? name : key + "/" + name;
}

}  // namespace

VolumeSet::VolumeSet(ServingSettings settings, const Host& host, std::function<bool()> stopping)
    : settings_(std::move(settings)), host_(host), stopping_(std::move(stopping)) {}

Layer& VolumeSet::disk(const std::string& name) {
  if (!can_be_volume_name(name)) {
    throw Error(EINVAL, fmt::format("{} cannot be the name of a volume: the client has to ask for "
                                    "an export by the name of one (nbdinfo --list shows them)",
                                    quoted_name(name)));
  }
  std::shared_ptr<Entry> entry;
  {
    const MutexLock lock(mutex_);
    auto& slot = entries_[name];
    if (slot == nullptr) slot = std::make_shared<Entry>();
    entry = slot;
  }
  const MutexLock opening(entry->opening);
  if (entry->volume == nullptr) {
    try {
      entry->volume = open(name);
    } catch (...) {
      forget_if_unused(name, entry);
      throw;
    }
  }
  return entry->volume->disk();
}

std::unique_ptr<ServedVolume> VolumeSet::open(const std::string& name) {
  ServingSettings settings = settings_;
  VolumeRequest& request = settings.request;
  request.key = below(request.key, name);
  if (!request.key_as_given.empty()) request.key_as_given = below(request.key_as_given, name);
  auto volume = std::make_unique<ServedVolume>(std::move(settings), host_);
  volume->open();
  volume->serve(stopping_);
  return volume;
}

// The entry stays if another client waits for it.
void VolumeSet::forget_if_unused(const std::string& name, const std::shared_ptr<Entry>& entry) {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  constexpr long kOursAndTheMaps = 2;
  if (found != entries_.end() && found->second == entry && entry.use_count() <= kOursAndTheMaps) {
    entries_.erase(found);
  }
}

std::vector<std::string> VolumeSet::names() {
  return list_volumes(*host_.stores.make({.clock = host_.clock, .stopping = stopping_}),
                      settings_.request.key, settings_.connections);
}

void VolumeSet::stop() {
  std::map<std::string, std::shared_ptr<Entry>> entries;
  {
    const MutexLock lock(mutex_);
    entries.swap(entries_);
  }
  for (const auto& each : entries) {
    const MutexLock opening(each.second->opening);
    if (each.second->volume != nullptr) each.second->volume->stop();
  }
}

bool can_be_volume_name(const std::string& name) {
  constexpr std::size_t kName_bytes_max = 255;  // of a file, and far from what a key may have
  const auto is_forbidden = [](char c) { return (c >= 0 && c < ' ') || c == 0x7f || c == '/'; };
  return !name.empty() && name != "." && name != ".." && name.size() <= kName_bytes_max &&
         !name.starts_with(kTemporaryPrefix) &&
         std::none_of(name.begin(), name.end(), is_forbidden);
}

std::vector<std::string> list_volumes(ObjectStore& store, const std::string& key,
                                      std::size_t requests) {
  std::vector<std::string> names = store.directories_below(key.empty() ? "" : key + "/");
  std::erase_if(names, [](const std::string& name) { return !can_be_volume_name(name); });
  std::vector<char> is_volume(names.size(), 0);  // a char each, which threads can set in parallel
  WorkerPool(requests - 1)
      .run(
          names.size(),
          [&](std::size_t i) {
            const std::string descriptor = ObjectNames(below(key, names[i])).descriptor();
            is_volume[i] = store.look_up(descriptor).has_value() ? 1 : 0;
          },
          WorkerPool::OnFailure::stop);
  std::vector<std::string> volumes;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (is_volume[i] != 0) volumes.push_back(std::move(names[i]));
  }
  return volumes;
}

}  // namespace nbdstack
