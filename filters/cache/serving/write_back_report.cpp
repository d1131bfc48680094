#include "filters/cache/serving/write_back_report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "common/approximate_size.hpp"

namespace nbdstack {

WriteBackReport::WriteBackReport(Source source, Readers readers, TimePoint now)
    : source_(std::move(source)),
      readers_(std::move(readers)),
      begun_at_(now),
      total_bytes_(source_.left_bytes()),
      progress_(source_.progress()) {
  ask_for_time(has_anything_to_tell() ? fmt::format("{} bytes are to be written back", total_bytes_)
                                      : "");
}

void WriteBackReport::look(TimePoint now) {
  const bool is_line_due =
      now - begun_at_ >= kQuiet && (!logged_at_ || now - *logged_at_ >= kLogEvery);
  const std::uint64_t progress = source_.progress();
  const bool got_on = progress != progress_;
  progress_ = progress;
  if (!is_line_due && !got_on) return;
  const std::uint64_t left_bytes = source_.left_bytes();
  total_bytes_ = std::max(total_bytes_, left_bytes);
  const std::string text = status(left_bytes, now);
  if (got_on) ask_for_time(text);
  if (!is_line_due || left_bytes == 0) return;
  readers_.log(text);
  logged_at_ = now;
}

void WriteBackReport::end(TimePoint now) {
  if (!has_anything_to_tell()) return;
  const std::uint64_t left_bytes = source_.left_bytes();
  const auto took = std::chrono::duration_cast<std::chrono::seconds>(now - begun_at_).count();
  const std::string text =
      left_bytes == 0
          ? fmt::format("{} bytes were written back in {} s", total_bytes_, took)
          : fmt::format("the write-back ended after {} s: {} of {} bytes were not written back",
                        took, left_bytes, total_bytes_);
  if (logged_at_) readers_.log(text);
  if (readers_.service_manager != nullptr) readers_.service_manager("STATUS=" + text);
}

void WriteBackReport::ask_for_time(const std::string& status) {
  if (readers_.service_manager == nullptr) return;
  const auto microseconds =
      std::chrono::duration_cast<std::chrono::microseconds>(kProgressCounts).count();
  std::string message = fmt::format("EXTEND_TIMEOUT_USEC={}", microseconds);
  if (!status.empty()) message += "\nSTATUS=" + status;
  readers_.service_manager(message);
}

std::string WriteBackReport::status(std::uint64_t left_bytes, TimePoint now) const {
  const double seconds = std::chrono::duration<double>(now - begun_at_).count();
  const auto done_bytes = static_cast<double>(total_bytes_ - left_bytes);
  const double rate = seconds > 0 ? done_bytes / seconds : 0;
  return fmt::format("writing back: {} of {} bytes are left, {}/s", left_bytes, total_bytes_,
                     approximate_size(static_cast<std::uint64_t>(rate)));
}

}  // namespace nbdstack
