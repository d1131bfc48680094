#include "filters/zeroblock/extent_scan.hpp"

#include <algorithm>
#include <exception>
#include <span>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kExtentsAtOnce = 4096;

}  // namespace

void ExtentScan::add(Layer& below) {
  if (!below.traits().can_extents) return;
  const std::lock_guard lock(mutex_);
  layers_.push_back(&below);
  start_if_wanted();
}

void ExtentScan::remove(Layer& below) {
  std::unique_lock lock(mutex_);
  layers_.remove(&below);
  if (asked_ != &below) return;
  end_walk(lock);
  start_if_wanted();
}

void ExtentScan::stop() {
  std::unique_lock lock(mutex_);
  over_ = true;
  if (asked_ != nullptr) end_walk(lock);
}

bool ExtentScan::is_over() {
  const std::lock_guard lock(mutex_);
  return over_;
}

void ExtentScan::start_if_wanted() {
  if (over_ || asked_ != nullptr || layers_.empty()) return;
  try {
    asked_ = layers_.front();
    thread_ = std::thread([this] { main(); });
  } catch (const std::exception& error) {
    log::debug("zeroblock: there is no scan: {}", error.what());
    asked_ = nullptr;
    over_ = true;
  }
}

// asked_ stays what it is while the thread is waited for: nobody else starts or ends one then.
void ExtentScan::end_walk(std::unique_lock<std::mutex>& lock) {
  stopping_ = true;
  std::thread ending = std::move(thread_);
  lock.unlock();
  if (ending.joinable()) ending.join();
  lock.lock();
  stopping_ = false;
  asked_ = nullptr;
}

bool ExtentScan::walk(Layer& below, ZeroMap& map, Progress& progress,
                      const std::atomic<bool>& stopping) {
  const std::uint64_t size = map.geometry().size_bytes();
  while (progress.position < size && progress.questions < kMostQuestions) {
    if (stopping) return false;
    // It tells as much as it likes.
    const Range range{progress.position, size - progress.position};
    ZeroMap::Watch watch(map, range);
    ExtentList answer;
    ++progress.questions;
    below.extents(range.length, range.offset, false, answer);
    const std::span<const Extent> found = answer.all();
    for (std::size_t at = 0; at < found.size(); at += kExtentsAtOnce) {
      watch.learn(found.subspan(at, std::min(kExtentsAtOnce, found.size() - at)));
    }
    if (answer.end() <= range.offset) throw Error(EIO, "an answer about extents is empty");
    progress.position = answer.end();
  }
  return true;
}

void ExtentScan::main() {
  bool over = true;
  try {
    over = walk(*asked_, map_, progress_, stopping_);
    if (over) log::debug("zeroblock: the scan has ended; {} runs of blocks are known", map_.runs());
  } catch (const Error& error) {
    over = !stopping_ || (server_stops_ && server_stops_());
    if (over) {
      log::debug("zeroblock: the scan was given up: {}", error.reason());
    }
  } catch (const std::exception& error) {
    log::debug("zeroblock: the scan was given up: {}", error.what());
  }
  const std::lock_guard lock(mutex_);
  over_ = over_ || over;
}

}  // namespace nbdstack
