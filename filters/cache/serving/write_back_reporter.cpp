#include "filters/cache/serving/write_back_reporter.hpp"

#include <chrono>
#include <exception>

#include "common/io/service_manager.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

constexpr std::chrono::seconds kLookEvery{5};

WriteBackReport::Readers readers_of(const std::string& whose) {
  WriteBackReport::Readers readers;
  readers.log = [whose](const std::string& line) { log::error("{}: {}", whose, line); };
  if (has_service_manager()) readers.service_manager = tell_service_manager;
  return readers;
}

}  // namespace

WriteBackReporter::WriteBackReporter(const std::string& whose,
                                     const WriteBackReport::Source& source) {
  try {
    report_.emplace(source, readers_of(whose), std::chrono::steady_clock::now());
    if (!report_->has_anything_to_tell()) return;
    thread_.start([this](StoppableThread& self) {
      Duration pause = WriteBackReport::kQuiet;
      while (self.pause_for(pause)) {
        report_->look(std::chrono::steady_clock::now());
        pause = kLookEvery;
      }
    });
  } catch (const std::exception& error) {
    log::debug("{}: its write-back is not reported: {}", whose, error.what());
  }
}

WriteBackReporter::~WriteBackReporter() {
  thread_.stop();
  try {
    if (report_) report_->end(std::chrono::steady_clock::now());
  } catch (const std::exception& error) {
    log::debug("the end of a write-back is not reported: {}", error.what());
  }
}

}  // namespace nbdstack
