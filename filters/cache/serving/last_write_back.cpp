#include "filters/cache/serving/last_write_back.hpp"

#include <new>
#include <optional>

#include "common/error.hpp"
#include "common/log.hpp"
#include "common/sync/system_clock.hpp"
#include "filters/cache/serving/patient_layer.hpp"

namespace nbdstack {
namespace {

// Returns the promise to clients about their writes, for a message.
const char* promised(CacheMode mode) {
  switch (mode) {
    case CacheMode::unsafe:
      return "that clients have written, and may have flushed, which cache=unsafe ignores,";
    case CacheMode::writeback:
    case CacheMode::writethrough:
      return "that clients have written, and no flush has stored,";
  }
  return "that clients have written";
}

}  // namespace

bool LastWriteBack::loses_data(BlockCache& cache,
                               const std::function<std::unique_ptr<Layer>()>& open) const {
  std::optional<Error> failure;
  try {
    const std::unique_ptr<Layer> below = open();
    SystemClock clock;
    PatientLayer patient(*below, clock, since, longest);
    cache.write_back_all(patient);
    if (below->traits().can_flush) patient.flush();
  } catch (const Error& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    failure = Error(ENOMEM, "out of memory");
  }
  if (!failure) return false;
  const char* reason = failure->reason();
  const std::uint64_t bytes = cache.unwritten_bytes();
  if (!cache_dir.empty()) {
    log::error(
        "cache: export {}: {} bytes could not be written back; they stay in {} and are written "
        "back when a server is started with it again: {}",
        export_name, bytes, cache_dir, reason);
    return false;
  }
  if (bytes == 0) {
    log::error(
        "cache: export {}: what was written back last may be LOST, because a flush of it "
        "failed: {}",
        export_name, reason);
  } else {
    log::error("cache: export {}: {} bytes {} could not be written back and are LOST: {}",
               export_name, bytes, promised(mode), reason);
  }
  return true;
}

}  // namespace nbdstack
