#include "common/io/file_window.hpp"

#include <fmt/format.h>
#include <setjmp.h>
#include <sys/mman.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <mutex>

#include "common/error.hpp"

namespace nbdstack {
namespace {

// The place where this thread's copy continues after SIGBUS; null while it makes no copy.
//
// Only the handler reads it, and no compiler sees it called: without `volatile` and the fences
// around the copy, an optimiser takes the first of the two assignments for a dead one.
thread_local sigjmp_buf* volatile copying = nullptr;

struct sigaction handled_before {};

void on_bus_error(int signal, siginfo_t* info, void* context) {
  if (copying != nullptr) siglongjmp(*copying, 1);
  if ((handled_before.sa_flags & SA_SIGINFO) != 0) {
    handled_before.sa_sigaction(signal, info, context);
  } else if (handled_before.sa_handler != SIG_DFL && handled_before.sa_handler != SIG_IGN) {
    handled_before.sa_handler(signal);
  } else {
    // As if nothing had handled it: the access is repeated and ends the process.
    ::sigaction(SIGBUS, &handled_before, nullptr);
  }
}

void handle_bus_errors() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;  // siglongjmp leaves without restoring the mask
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &handled_before);
  });
}

}  // namespace

FileWindow::FileWindow(const File& file, std::uint64_t length) : file_(file) {
  if (length == 0) return;
  void* memory = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                        file.descriptor(), 0);
  if (memory == MAP_FAILED) return;
  handle_bus_errors();
  memory_ = static_cast<std::byte*>(memory);
  length_ = length;
}

FileWindow::~FileWindow() {
  if (memory_ != nullptr) ::munmap(memory_, length_);
}

void FileWindow::write_at(std::span<const std::byte> buffer, std::uint64_t offset) const {
  sigjmp_buf failed;
  if (sigsetjmp(failed, 0) != 0) {
    copying = nullptr;
    throw Error(EIO, fmt::format("write {} at {}: the file has been cut off, or its disk fails",
                                 file_.path(), offset));
  }
  copying = &failed;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(memory_ + offset, buffer.data(), buffer.size());
  std::atomic_signal_fence(std::memory_order_seq_cst);
  copying = nullptr;
}

}  // namespace nbdstack
