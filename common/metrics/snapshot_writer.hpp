// Writes the metrics of a layer to its file once a second, in a thread of its own, from the time
// the server has forked until it stops.
//
// A failure (a full file system, a name that is taken) never is one of the disk: it is told in the
// log once, and tried again each second.
#pragma once

#include <chrono>
#include <string>

#include "common/error.hpp"
#include "common/fault/fault.hpp"
#include "common/metrics/registry.hpp"
#include "common/metrics/stack_directory.hpp"
#include "common/sync/stoppable_thread.hpp"

namespace nbdstack {

class SnapshotWriter {
 public:
  static constexpr std::chrono::seconds kEvery{1};

  // `registry` outlives the writer.
  SnapshotWriter(MetricsRegistry& registry, const std::string& directory, const std::string& layer)
      : registry_(registry), file_(directory, layer), thread_([this](StoppableThread& self) {
          do {
            write();
          } while (self.pause_for(kEvery));
        }) {}
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;
  ~SnapshotWriter() {
    thread_.stop();
    file_.remove();
  }

 private:
  void write() {
    try {
      file_.write(registry_.text());
      fault_.succeeded();
    } catch (const std::exception& error) {
      fault_.failed_with(error.what());
    }
  }

  MetricsRegistry& registry_;
  LayerFile file_;
  Fault fault_{"writes of metrics"};
  StoppableThread thread_;
};

}  // namespace nbdstack
