#include "filters/cacheextents/extents_walk.hpp"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include "common/log.hpp"

namespace nbdstack {

ExtentsWalk::ExtentsWalk(KnownExtents& known, std::string export_name, OpenBelow open_below)
    : known_(known), export_name_(std::move(export_name)), open_below_(std::move(open_below)) {
  try {
    thread_.start([this](StoppableThread& /*self*/) { main(); });
  } catch (const std::exception& error) {  // std::system_error, std::bad_alloc
    ended_ = true;
    log::error(
        "cacheextents: export {}: no thread could be started to walk it (cacheextents-scan): {}",
        export_name_, error.what());
  }
}

void ExtentsWalk::main() {
  try {
    const std::unique_ptr<Layer> below = open_below_();
    walk(*below);
  } catch (const std::exception& error) {
    // Empty where the layer below has logged the reason itself.
    log::debug("cacheextents: export {}: the walk has ended early: {}", export_name_,
               *error.what() == '\0' ? "see the message above" : error.what());
  }
  ended_ = true;
  ended_.notify_all();
}

// Questions begin at multiples of what the layer below states as its smallest block, though it may
// tell of less. No step begins where the last one did: a layer that tells of nothing new is not
// asked for ever.
void ExtentsWalk::walk(Layer& below) {
  const std::uint64_t size = below.traits().size_bytes;
  const std::uint64_t block = std::max(below.traits().minimum_block_size, 1U);
  for (std::uint64_t position = 0; position < size;) {
    if (thread_.is_stopping()) return;
    if (known_.has_forgotten()) {
      log::debug(
          "cacheextents: export {}: the walk ends at {} of {} bytes: there is no room for more "
          "(cacheextents-max-runs)",
          export_name_, position, size);
      return;
    }
    const std::uint64_t told = step(below, position);
    position = told >= size ? size : std::max(position + block, told / block * block);
  }
  log::debug("cacheextents: export {}: the walk is complete, {} runs are known", export_name_,
             known_.runs());
}

// Where what is known, or was told, from `position` on ends.
std::uint64_t ExtentsWalk::step(Layer& below, std::uint64_t position) {
  const std::uint64_t size = below.traits().size_bytes;
  auto answer = known_.look({position, size - position}, size, false);
  if (!answer.question) return answer.extents.end();
  ExtentList reply;
  const Range range = answer.question->range();
  below.extents(range.length, range.offset, false, reply);
  answer.question->learn(reply);
  return reply.end();
}

}  // namespace nbdstack
