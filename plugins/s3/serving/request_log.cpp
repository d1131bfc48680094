#include "plugins/s3/serving/request_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <exception>
#include <utility>

#include "common/block/forwarding_layer.hpp"
#include "common/error.hpp"
#include "common/quoted_name.hpp"
#include "common/sync/request_trace.hpp"
#include "common/utc_text.hpp"

namespace nbdstack {
namespace {

using std::chrono::duration;
using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::steady_clock;
using std::chrono::system_clock;

std::string now_text() {
  const auto since_1970 = system_clock::now().time_since_epoch();
  const auto whole = duration_cast<std::chrono::seconds>(since_1970);
  std::string text = utc_text(whole.count());
  text.pop_back();
  return fmt::format("{}.{:06}Z", text, duration_cast<microseconds>(since_1970 - whole).count());
}

class LoggedLayer final : public ForwardingLayer {
 public:
  LoggedLayer(std::unique_ptr<Layer> below, RequestLog& log, const std::string& export_name)
      : ForwardingLayer(std::move(below)), log_(log), export_name_(quoted_name(export_name)) {}

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    logged("read", {offset, buffer.size()}, [&] { below().pread(buffer, offset); });
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    logged("write", {offset, buffer.size()}, [&] { below().pwrite(buffer, offset, durability); });
  }
  void flush() override {
    logged("flush", {}, [&] { below().flush(); });
  }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    logged("zero", {offset, length}, [&] { below().zero(length, offset, options); });
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    logged("trim", {offset, length}, [&] { below().trim(length, offset, durability); });
  }
  void cache(std::uint64_t length, std::uint64_t offset) override {
    logged("cache", {offset, length}, [&] { below().cache(length, offset); });
  }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& found) override {
    logged("extents", {offset, length}, [&] { below().extents(length, offset, only_one, found); });
  }

 private:
  template <typename Request>
  void logged(const char* kind, const Range& range, Request&& request) {
    RequestTrace trace;
    const auto begin = steady_clock::now();
    try {
      const RequestTrace::Scope scope(&trace);
      request();
    } catch (const Error& error) {
      write(kind, range, steady_clock::now() - begin, error.code(), trace);
      throw;
    }
    write(kind, range, steady_clock::now() - begin, 0, trace);
  }

  // A request does not fail because there is no memory for its line.
  void write(const char* kind, const Range& range, steady_clock::duration took, int result,
             RequestTrace& trace) noexcept {
    try {
      log_.write(fmt::format(
          "{} export={} kind={} offset={} length={} ms={:.3f} result={} s3=[{}]\n", now_text(),
          export_name_, kind, range.offset, range.length,
          duration<double, std::milli>(took).count(), result, fmt::join(trace.notes(), ", ")));
    } catch (const std::exception&) {
      log_.write("a request has no line: out of memory\n");
    }
  }

  RequestLog& log_;
  const std::string export_name_;
};

}  // namespace

RequestLog::RequestLog(const std::string& path)
    : file_(File::open(path, O_WRONLY | O_CREAT | O_APPEND, 0600)) {}

void RequestLog::write(const std::string& line) noexcept {
  const ssize_t written = ::write(file_.descriptor(), line.data(), line.size());
  if (written == static_cast<ssize_t>(line.size())) {
    fault_.succeeded();
  } else {
    fault_.failed("request-log: write to {}: {}", file_.path(),
                  written == -1 ? std::generic_category().message(errno) : "no room for a line");
  }
}

std::unique_ptr<Layer> logged(std::unique_ptr<Layer> below, RequestLog& log,
                              const std::string& export_name) {
  return std::make_unique<LoggedLayer>(std::move(below), log, export_name);
}

}  // namespace nbdstack
