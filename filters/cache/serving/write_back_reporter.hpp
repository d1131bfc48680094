// Reports a write-back that the end of the server may wait for, as long as this object exists: the
// thread around a WriteBackReport.
#pragma once

#include <string>

#include "common/sync/stoppable_thread.hpp"
#include "filters/cache/serving/write_back_report.hpp"

namespace nbdstack {

class WriteBackReporter {
 public:
  // `whose` stands before each line of the log: "cache: export x". Any thread may call `source`.
  // Without a thread there is no report, which a debug message tells.
  WriteBackReporter(const std::string& whose, const WriteBackReport::Source& source);
  WriteBackReporter(const WriteBackReporter&) = delete;
  WriteBackReporter& operator=(const WriteBackReporter&) = delete;
  ~WriteBackReporter();

 private:
  std::optional<WriteBackReport> report_;
  StoppableThread thread_;
};

}  // namespace nbdstack
